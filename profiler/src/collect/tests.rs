//! Records by hand, and what the recording must say of them.

use profiler_common::{
    event_kind,
    ledger::{HISTORY, ThreadEnd, ThreadRecord, flags},
    process::ProcessEvent,
    sample::{KERNEL_FRAMES, SampleHeader, SampledWait},
    state,
};

use super::*;
use profiler_report::recording::{Frame, Method, Sample, Span, Stack};

/// Every stack has one frame: the instruction pointer, in image 0.
#[derive(Default)]
struct FakeWorld {
    forks: Vec<(u32, u32)>,
    ends: Vec<u32>,
}

impl World for FakeWorld {
    fn unwind(&mut self, _: u32, captured: Captured<'_>, _: u64, out: &mut Vec<Location>) -> Unwound {
        out.push(Location::File { image: 0, file_offset: captured.registers.ip });
        Unwound { end: StackEnd::Complete, method: Method::Tables, met_unmapped: false, goroutines: None }
    }
    fn forked(&mut self, parent: u32, child: u32, _: u64) {
        self.forks.push((parent, child));
    }
    fn replaced(&mut self, _: u32, _: u64) {}
    fn ended(&mut self, tgid: u32) {
        self.ends.push(tgid);
    }
    fn lock_place(&mut self, _: u32, address: u64) -> Place {
        if address < 0x1000 { Place::Unknown } else { Place::Heap }
    }

    fn file_path(&mut self, seen: &FileSeen) -> Option<String> {
        Some(format!("/file/{}", seen.descriptor))
    }

    fn command_line(&mut self, tgid: u32) -> String {
        format!("/bin/p{tgid}")
    }
    fn thread_comm(&mut self, _: u32, tid: u32) -> Option<String> {
        Some(format!("t{tid}"))
    }
}

fn bytes_of<T>(value: &T) -> Vec<u8> {
    // SAFETY: only for the record types of the kernel border, which have no padding.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }.to_vec()
}

pub fn account(tid: u32) -> ThreadRecord {
    ThreadRecord {
        task: 1,
        since_ns: 1000,
        opened_ns: 1000,
        ended_ns: 0,
        tid,
        tgid: 10,
        ns_tid: tid,
        ns_tgid: 10,
        state: state::TIMER,
        flags: 0,
        wait_seq: 1,
        sampled_seq: 0,
        repeats: 0,
        preemptions: 0,
        file_at_ns: 0,
        file_descriptor: 0,
        file_kind: 0,
        untold_ns: 0,
        kernel_lock: 0,
        kernel_lock_since_ns: 0,
        spin_lock: 0,
        spin_lock_since_ns: 0,
        kernel_lock_kind: 0,
        spin_lock_kind: 0,
        own_tid: tid,
        changes: 0,
        history: [0; HISTORY],
        comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
        state_ns: [0; state::SLOTS],
        state_count: [0; state::SLOTS],
    }
}

fn sample(kind: u32, tid: u32, ip: u64) -> SampleHeader {
    SampleHeader {
        kind,
        tid,
        ns_tgid: 10,
        state: if kind == event_kind::ON_CPU_SAMPLE { state::ON_CPU } else { state::TIMER },
        at_ns: 0,
        ip,
        sp: 0x7000,
        fp: 0,
        lr: 0,
        kernel_bytes: 0,
        stack_bytes: 0,
        threshold: u32::MAX,
        own: [0; 3],
        lock: 0,
    }
}

fn with_stack(header: &SampleHeader) -> Vec<u8> {
    let mut record = bytes_of(header);
    record.extend([0; 8 * KERNEL_FRAMES]);
    record
}

/// A recording from 900 to 5000, seeded up to 1500, added up.
fn finish(collector: Collector, accounts: Vec<ThreadRecord>) -> Span {
    let ending = Ending { ended_at_ns: 5000, modules: vec![Module::default()], ..Ending::default() };
    let last = Cut { at_ns: 5000, accounts, ..Cut::default() };
    let recording = collector.finish(last, &ending, &mut FakeWorld::default());
    recording.validate().expect("the tables fit together");
    recording.whole()
}

fn new() -> (Collector, FakeWorld) {
    (Collector::new(900, 1500), FakeWorld::default())
}

fn take_all(records: &[Vec<u8>]) -> Collector {
    let (mut collector, mut world) = new();
    for record in records {
        collector.take(record, &mut world);
    }
    collector
}

#[test]
fn a_wait_that_outlasts_the_recording_counts_up_to_its_end() {
    let recording = finish(take_all(&[]), vec![account(10)]);
    let thread = &recording.threads[0];
    assert_eq!((thread.from_ns, thread.to_ns), (900, 5000));
    assert_eq!(thread.state_ns[state::TIMER as usize], 4000);
    assert_eq!((&*thread.comm, &*recording.processes[0].command_line), ("t10", "/bin/p10"));
}

#[test]
fn a_code_that_is_no_state_counts_nowhere() {
    for code in [state::ALL.len() as u32, state::SLOTS as u32, u32::MAX] {
        let recording = finish(take_all(&[]), vec![ThreadRecord { state: code, ..account(10) }]);
        assert!(recording.threads[0].state_ns.iter().all(|&ns| ns == 0));
    }
}

#[test]
fn totals_that_would_overflow_stay_at_their_limit() {
    let full = ThreadRecord {
        state_ns: [u64::MAX; state::SLOTS],
        state_count: [u32::MAX; state::SLOTS],
        ..account(10)
    };
    let thread = &finish(take_all(&[]), vec![full]).threads[0];
    assert_eq!(thread.state_ns[state::TIMER as usize], u64::MAX);
    assert_eq!(thread.state_count[state::TIMER as usize], u32::MAX);
}

#[test]
fn an_account_opened_after_the_seeding_counts_from_its_opening() {
    let recording =
        finish(take_all(&[]), vec![ThreadRecord { opened_ns: 2000, since_ns: 2000, ..account(10) }]);
    assert_eq!(recording.threads[0].from_ns, 2000);
}

#[test]
fn a_tid_that_is_used_again_is_another_thread() {
    let end = |opened_ns: u64, ended_ns: u64| {
        let record = ThreadRecord { opened_ns, ended_ns, flags: flags::BORN_INSIDE, ..account(11) };
        bytes_of(&ThreadEnd { kind: event_kind::THREAD_END, reserved: 0, record })
    };
    let recording = finish(take_all(&[end(1000, 2000), end(3000, 3500)]), vec![]);
    let lives: Vec<_> =
        recording.threads.iter().map(|thread| (thread.tid, thread.from_ns, thread.to_ns)).collect();
    assert_eq!(lives, [(11, 1000, 2000), (11, 3000, 3500)]);
}

#[test]
fn a_process_ends_with_its_leader_and_the_last_of_its_threads() {
    let (mut collector, mut world) = new();
    for tid in [11, 12] {
        collector.take(&with_stack(&sample(event_kind::ON_CPU_SAMPLE, tid, 0x10)), &mut world);
    }
    let mut end = |tid| -> Vec<u32> {
        let end = ThreadEnd { kind: event_kind::THREAD_END, reserved: 0, record: account(tid) };
        collector.take(&bytes_of(&end), &mut world);
        world.ends.clone()
    };
    assert!(end(11).is_empty());
    assert!(end(10).is_empty(), "the leader, while thread 12 lives");
    assert_eq!(end(12), [10]);
}

#[test]
fn threads_beyond_the_table_add_up_in_one_row() {
    let (mut collector, mut world) = new();
    for tid in 1..=20_003 {
        let mut record =
            ThreadRecord { opened_ns: 2000, ended_ns: 2010, flags: flags::BORN_INSIDE, ..account(tid) };
        record.state_ns[state::TIMER as usize] = 10;
        record.state_count[state::TIMER as usize] = 1;
        collector
            .take(&bytes_of(&ThreadEnd { kind: event_kind::THREAD_END, reserved: 0, record }), &mut world);
    }
    let recording = finish(collector, vec![]);
    assert_eq!((recording.threads.len(), recording.processes.len()), (20_001, 2));
    let rest = &recording.threads[20_000];
    assert_eq!((&*rest.comm, rest.from_ns, rest.to_ns, rest.elapsed_ns), ("[3 more threads]", 0, 30, 30));
    assert_eq!((rest.state_ns[state::TIMER as usize], rest.state_count[state::TIMER as usize]), (30, 3));
}

#[test]
fn equal_stacks_add_up_and_repeats_add_weight_to_the_wait_that_they_belong_to() {
    let off = |seq, repeated_seq, repeats| {
        with_stack(&SampleHeader {
            own: SampledWait { seq, repeated_seq, repeats }.own(),
            ..sample(event_kind::OFF_CPU_SAMPLE, 11, 0x20)
        })
    };
    let on = with_stack(&sample(event_kind::ON_CPU_SAMPLE, 11, 0x10));
    // The second wait's sample tells of 5 more ticks in the first, and the account at the end of 2 more in the second.
    let collector = take_all(&[off(1, 0, 0), off(2, 1, 5), on.clone(), on]);
    let recording = finish(collector, vec![ThreadRecord { sampled_seq: 2, repeats: 2, ..account(11) }]);
    let weights: Vec<_> =
        recording.samples.iter().map(|sample: &Sample| (sample.state, sample.weight, sample.count)).collect();
    assert_eq!(weights, [(state::TIMER, 9.0, 2), (state::ON_CPU, 2.0, 2)]);
    assert_eq!(recording.quality.repeats_without_sample, 0);
}

#[test]
fn repeats_count_in_the_window_in_which_they_were() {
    let off = with_stack(&SampleHeader { own: [1, 0, 0], ..sample(event_kind::OFF_CPU_SAMPLE, 11, 0x20) });
    let mut collector = take_all(&[off]);
    let waits = |repeats| ThreadRecord { sampled_seq: 1, repeats, ..account(11) };
    let cut = |at_ns, repeats| Cut { at_ns, accounts: vec![waits(repeats)], ..Cut::default() };
    let window = collector.cut(cut(2000, 3), &mut FakeWorld::default());
    collector.keep(window);
    let window = collector.cut(cut(3000, 7), &mut FakeWorld::default());
    collector.keep(window);
    let ending = Ending { ended_at_ns: 5000, modules: vec![Module::default()], ..Ending::default() };
    let recording = collector.finish(cut(5000, 9), &ending, &mut FakeWorld::default());
    let weight = |window: &profiler_report::recording::Window| -> f64 {
        window.samples.iter().map(|sample| sample.weight).sum()
    };
    // Windows of a microsecond are all short: the last one is part of its neighbour.
    assert_eq!(recording.windows.iter().map(weight).collect::<Vec<_>>(), [4.0, 6.0]);
    let whole = recording.whole();
    assert_eq!((whole.samples[0].weight, whole.samples[0].count), (10.0, 1));
    assert_eq!(whole.threads[0].state_ns[state::TIMER as usize], 4000);
}

#[test]
fn repeats_of_a_lost_sample_are_counted_as_such() {
    let recording = finish(take_all(&[]), vec![ThreadRecord { sampled_seq: 2, repeats: 7, ..account(11) }]);
    assert_eq!(recording.quality.repeats_without_sample, 7);
}

#[test]
fn a_sample_of_a_thread_whose_account_was_lost_leaves_a_row_without_time() {
    let recording = finish(take_all(&[with_stack(&sample(event_kind::ON_CPU_SAMPLE, 11, 0x10))]), vec![]);
    let thread = &recording.threads[0];
    assert_eq!((thread.tid, thread.to_ns - thread.from_ns), (11, 0));
}

#[test]
fn a_fork_hands_on_the_address_space() {
    let (mut collector, mut world) = new();
    let fork = ProcessEvent {
        kind: event_kind::FORK,
        tid: 12,
        ns_tgid: 12,
        parent_ns_tgid: 10,
        at_ns: 1,
        comm: [0; 16],
    };
    collector.take(&bytes_of(&fork), &mut world);
    assert_eq!(world.forks, [(10, 12)]);
}

#[test]
fn kernel_return_addresses_move_back_into_the_call() {
    let mut record = bytes_of(&SampleHeader { kernel_bytes: 16, ..sample(event_kind::ON_CPU_SAMPLE, 11, 0) });
    for address in [0xffff_0010_u64, 0xffff_0020] {
        record.extend(address.to_ne_bytes());
    }
    record.extend([0; 8 * (KERNEL_FRAMES - 2)]);
    let recording = finish(take_all(&[record]), vec![]);
    assert_eq!(
        recording.frames,
        [Frame::Kernel { address: 0xffff_0010 }, Frame::Kernel { address: 0xffff_001f }]
    );
    assert_eq!(
        recording.stacks,
        [Stack { kernel: vec![0, 1], user: vec![], end: StackEnd::NoUserStack, method: Method::None }]
    );
}

#[test]
fn garbage_is_counted() {
    let recording = finish(take_all(&[vec![9, 9], vec![]]), vec![]);
    assert_eq!(recording.quality.malformed_records, 2);
}
