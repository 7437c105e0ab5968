//! Flamegraphs of small recordings whose numbers can be checked on paper, and of random ones.

use proptest::prelude::*;

use super::*;
use crate::recording::{Broken, Frame, Method, Module, Name, Process, Sample, StackEnd, Thread, ThreadId};

const SECOND: u64 = 1_000_000_000;

/// A process `db (7)` with two threads, 10 s each.
///
/// `main/7`: 4 s on the CPU in two stacks of weights 3 and 1, 5 s `disk_read` in one stack that was cut, and 1 s of
/// residual. `io/8`: 10 s `timer`, which no sample hit.
pub(crate) fn small_recording() -> Span {
    let mut main = thread_row("main", 7);
    main.state_ns[state::ON_CPU as usize] = 4 * SECOND;
    main.state_ns[state::DISK_READ as usize] = 5 * SECOND;
    let mut io = thread_row("io", 8);
    io.state_ns[state::TIMER as usize] = 10 * SECOND;
    let user = |file_offset| Frame::User { module: 0, file_offset };
    let sample = |state, stack, weight| Sample { thread: 0, state, stack, lock: None, weight, count: 1 };
    Span {
        processes: vec![Process { tgid: 7, comm: "db".to_owned(), ..Process::default() }],
        threads: vec![main, io],
        modules: vec![Module { path: "/usr/bin/db".to_owned(), ..Module::default() }],
        frames: vec![user(0x10), user(0x20), user(0x30), Frame::Kernel { address: 0x40 }],
        names: vec![
            vec![name("main", false)],
            vec![name("parse", true), name("query", false)],
            vec![],
            vec![name("io_schedule", false)],
        ],
        stacks: vec![
            Stack { kernel: vec![], user: vec![1, 0], end: StackEnd::Complete, method: Method::Tables },
            Stack { kernel: vec![], user: vec![2, 0], end: StackEnd::Complete, method: Method::Tables },
            Stack { kernel: vec![3], user: vec![2], end: StackEnd::Cut, method: Method::Tables },
        ],
        samples: vec![
            sample(state::ON_CPU, 0, 3.0),
            sample(state::ON_CPU, 1, 1.0),
            sample(state::DISK_READ, 2, 20.0),
        ],
        ..Span::default()
    }
}

fn thread_row(comm: &str, tid: u32) -> ThreadSum {
    let state_ns = vec![0; state::SLOTS];
    let thread = Thread { comm: comm.to_owned(), tid, ..Thread::default() };
    ThreadSum { thread, is_present: true, elapsed_ns: 10 * SECOND, state_ns, ..ThreadSum::default() }
}

fn name(function: &str, inlined: bool) -> Name {
    Name { function: function.to_owned(), inlined, ..Name::default() }
}

/// The paths with `/` between the frames, and their seconds.
fn paths(flame: &Flame) -> Vec<(String, f64)> {
    let path = |stack: &FlameStack| {
        let frames = stack.path.iter().map(|&id| &flame.frames[id as usize]);
        frames.map(|frame| format!("{}{}", frame.text, frame.suffix())).collect::<Vec<_>>().join(" > ")
    };
    flame.stacks.iter().map(|stack| (path(stack), stack.ns as f64 / SECOND as f64)).collect()
}

#[track_caller]
fn check(recording: &Span, view: View, expected: &[(&str, f64)]) {
    let paths = paths(&Flame::new(recording, view));
    let paths: Vec<_> = paths.iter().map(|(path, seconds)| (path.as_str(), *seconds)).collect();
    assert_eq!(paths, expected);
}

const ON_CPU: [(&str, f64); 2] = [
    ("db (7) > main/7 > on_cpu > main > [db+0x30]", 1.0),
    ("db (7) > main/7 > on_cpu > main > query > parse_[i]", 3.0),
];

#[test]
fn the_cpu_view_shares_the_time_on_the_cpu_by_weight() {
    check(&small_recording(), View::Cpu, &ON_CPU);
}

const OFF_CPU: [(&str, f64); 3] = [
    ("db (7) > io/8 > timer (idle) > [not sampled]", 10.0),
    ("db (7) > main/7 > [residual]", 1.0),
    ("db (7) > main/7 > disk_read (disk) > [cut] > [db+0x30] > io_schedule_[k]", 5.0),
];

#[test]
fn the_offcpu_view_has_the_waits_and_what_is_missing() {
    check(&small_recording(), View::OffCpu, &OFF_CPU);
}

#[test]
fn the_wall_view_has_both() {
    check(&small_recording(), View::Wall, &[&OFF_CPU[..], &ON_CPU[..]].concat());
}

#[test]
fn threads_of_one_path_are_merged() {
    let mut recording = small_recording();
    recording.threads = vec![recording.threads[1].clone(); 65];
    check(&recording, View::Wall, &[("db (7) > io ×65 > timer (idle) > [not sampled]", 650.0)]);
}

#[test]
fn a_stack_that_broke_says_why_at_its_root() {
    let mut recording = small_recording();
    recording.stacks[2].end = StackEnd::Broken(Broken::NoUnwindInfo);
    let paths = paths(&Flame::new(&recording, View::OffCpu));
    assert!(paths[2].0.contains("disk_read (disk) > [broken: no unwind table] > [db+0x30]"), "{paths:?}");
}

#[test]
fn a_state_of_a_later_version_has_its_code() {
    let mut recording = small_recording();
    recording.threads.truncate(1);
    recording.threads[0].state_ns = vec![0; 60];
    recording.threads[0].state_ns[59] = 10 * SECOND;
    check(&recording, View::Wall, &[("db (7) > main/7 > state 59 > [not sampled]", 10.0)]);
}

#[test]
fn states_that_exceed_the_elapsed_time_are_all_shown() {
    let mut recording = small_recording();
    recording.threads[1].elapsed_ns = SECOND;
    assert_eq!(Flame::new(&recording, View::Wall).total_ns(), 20 * SECOND);
}

#[test]
fn absurd_totals_do_not_overflow() {
    let mut recording = small_recording();
    recording.threads[0].state_ns.fill(u64::MAX);
    assert_eq!(Flame::new(&recording, View::Wall).total_ns(), u64::MAX);
}

#[test]
fn microseconds_add_up_to_those_of_the_total() {
    let stack = |id, ns| FlameStack { path: vec![id], ns };
    let stacks = vec![stack(0, 1600), stack(1, 600), stack(2, 300), stack(3, 600)];
    let flame = Flame { view: View::Wall, frames: vec![], stacks };
    let seen: Vec<_> = flame.microseconds().map(|(path, microseconds)| (path[0], microseconds)).collect();
    assert_eq!(seen, [(0, 1), (1, 1), (3, 1)]);
}

/// Threads with random times in random states, random samples with any weight, and a residual.
fn any_recording() -> impl Strategy<Value = Span> {
    let times = proptest::collection::vec(prop_oneof![Just(0), 0u64..1 << 40], state::SLOTS);
    let threads = proptest::collection::vec((times, 0u64..1 << 40), 1..80);
    let samples =
        proptest::collection::vec((any::<prop::sample::Index>(), 0u32..50, 0u32..3, any::<f64>()), 0..200);
    (threads, samples).prop_map(|(threads, samples)| {
        let mut recording = small_recording();
        let thread = |((state_ns, residual_ns), tid): ((Vec<u64>, u64), u32)| {
            let elapsed_ns = state_ns.iter().sum::<u64>() + residual_ns;
            ThreadSum { elapsed_ns, state_ns, ..thread_row(&format!("t{}", tid % 7), tid) }
        };
        recording.threads = threads.into_iter().zip(0..).map(thread).collect();
        let count = recording.threads.len();
        let sample = |(thread, state, stack, weight): (prop::sample::Index, u32, u32, f64)| {
            let thread = thread.index(count) as ThreadId;
            Sample { thread, state, stack, lock: None, weight, count: 1 }
        };
        recording.samples = samples.into_iter().map(sample).collect();
        recording
    })
}

proptest! {
    #[test]
    fn the_wall_view_is_the_elapsed_time_and_the_two_others_make_it_up(recording in any_recording()) {
        let [wall, cpu, offcpu] =
            [View::Wall, View::Cpu, View::OffCpu].map(|view| Flame::new(&recording, view).total_ns());
        let elapsed: u64 = recording.threads.iter().map(|thread| thread.elapsed_ns).sum();
        prop_assert_eq!(wall, elapsed);
        prop_assert_eq!(cpu + offcpu, wall);
        let on_cpu: u64 = recording.threads.iter().map(|thread| thread.state_ns[state::ON_CPU as usize]).sum();
        prop_assert_eq!(cpu, on_cpu);
    }
}
