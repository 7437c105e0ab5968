//! Recordings by hand, and the verdict that they must have.

use profiler_common::state;

use crate::analyze::{Confidence, Report, VerdictId};
use crate::recording::{
    CpuTime, Group, Held, Lock, Locks, Machine, Meta, Method, Module, OpenWait, Party, Place, Pressure,
    Process, Sample, Span, Stack, StackEnd, Thread, ThreadSum, Wake,
};
use crate::report::words::sentence;

const S: u64 = 1_000_000_000;

/// A thread of ten seconds with these shares of a second's tenth: (state, seconds, intervals).
fn thread(tid: u32, states: &[(u32, f64, u32)]) -> ThreadSum {
    let mut thread = ThreadSum {
        thread: Thread { tid, comm: format!("t{tid}"), to_ns: 10 * S, ..Thread::default() },
        is_present: true,
        elapsed_ns: 10 * S,
        state_ns: vec![0; state::SLOTS],
        state_count: vec![0; state::SLOTS],
        ..ThreadSum::default()
    };
    for &(code, seconds, count) in states {
        thread.state_ns[code as usize] = (seconds * 1e9) as u64;
        thread.state_count[code as usize] = count;
    }
    thread
}

/// Ten seconds on a machine of 4 CPUs that is otherwise idle.
fn recording(threads: Vec<ThreadSum>) -> Span {
    let on_cpu: u64 = threads.iter().map(|thread| thread.state_ns[state::ON_CPU as usize]).sum();
    Span {
        meta: Meta { ended_at_ns: 10 * S, cpus: 4, sample_hz: 99, ..Meta::default() },
        processes: vec![Process { tgid: 1, comm: "db".into(), ..Process::default() }],
        threads,
        stacks: vec![Stack { kernel: vec![], user: vec![], end: StackEnd::Complete, method: Method::Tables }],
        machine: Machine {
            cpu: Some(CpuTime {
                elapsed_ns: 10 * S,
                busy_ns: on_cpu,
                idle_ns: 40 * S - on_cpu.min(40 * S),
                ..CpuTime::default()
            }),
            pressure: Some(Pressure { elapsed_ns: 10 * S, ..Pressure::default() }),
            allowed_cpus: Some(4),
            ..Machine::default()
        },
        ..Span::default()
    }
}

#[track_caller]
fn check(recording: &Span, id: VerdictId, least: Confidence) {
    let report = Report::new(recording);
    let verdict = &report.verdict;
    assert_eq!(verdict.id, id, "{verdict:#?}");
    assert!(verdict.confidence >= least, "{verdict:#?}");
}

#[test]
fn threads_that_wait_for_work_are_idle() {
    let worker = |tid| thread(tid, &[(state::FUTEX_WAIT, 9.99, 20), (state::ON_CPU, 0.01, 20)]);
    check(&recording((1..9).map(worker).collect()), VerdictId::Idle, Confidence::High);
    let poller = |tid| thread(tid, &[(state::POLL, 9.99, 20), (state::ON_CPU, 0.01, 20)]);
    check(&recording((1..9).map(poller).collect()), VerdictId::Idle, Confidence::High);
}

#[test]
fn what_a_runtime_hides_may_not_be_idle() {
    let mut java = recording(vec![thread(1, &[(state::FUTEX_WAIT, 10.0, 100)])]);
    java.modules = vec![Module { path: "/usr/lib/jvm/lib/server/libjvm.so".into(), build_id: vec![] }];
    let verdict = Report::new(&java).verdict;
    assert_eq!((verdict.id, verdict.confidence), (VerdictId::Idle, Confidence::Medium), "{verdict:#?}");
    assert!(sentence(&verdict.counter_evidence[0]).starts_with("Java threads"), "{verdict:#?}");
}

#[test]
fn threads_of_such_a_runtime_that_wake_each_other_all_the_time_are_no_case_for_a_verdict() {
    let mut java = recording(vec![thread(1, &[(state::FUTEX_WAIT, 10.0, 2000)])]);
    check(&java, VerdictId::Idle, Confidence::High);
    java.modules = vec![Module { path: "/usr/lib/jvm/lib/server/libjvm.so".into(), build_id: vec![] }];
    check(&java, VerdictId::InsufficientData, Confidence::Low);
}

#[test]
fn a_thread_that_waits_for_ever_for_input_is_idle_too() {
    check(&recording(vec![thread(1, &[(state::PIPE, 10.0, 0)])]), VerdictId::Idle, Confidence::High);
    check(&recording(vec![thread(1, &[(state::NET_RECV, 10.0, 0)])]), VerdictId::Idle, Confidence::High);
}

#[test]
fn a_server_with_room_left_has_no_bottleneck() {
    let server = thread(1, &[(state::ON_CPU, 4.0, 9000), (state::POLL, 6.0, 9000)]);
    check(&recording(vec![server]), VerdictId::NoBottleneck, Confidence::High);
}

#[test]
fn threads_that_run_all_the_time_are_cpu_bound() {
    let busy = |tid| thread(tid, &[(state::ON_CPU, 9.9, 100), (state::RUNQ_PREEMPT, 0.1, 100)]);
    check(&recording(vec![busy(1), busy(2), busy(3)]), VerdictId::CpuBound, Confidence::Medium);
}

#[test]
fn one_that_runs_among_idle_cpus_is_a_single_thread() {
    let threads = vec![
        thread(1, &[(state::ON_CPU, 9.9, 100), (state::RUNQ_PREEMPT, 0.1, 100)]),
        thread(2, &[(state::FUTEX_WAIT, 10.0, 1)]),
    ];
    check(&recording(threads), VerdictId::CpuSingleThread, Confidence::Medium);
}

#[test]
fn a_thousand_idle_threads_do_not_hide_the_one_that_works() {
    let mut threads: Vec<ThreadSum> =
        (2..1002).map(|tid| thread(tid, &[(state::FUTEX_WAIT, 10.0, 1)])).collect();
    threads.push(thread(1, &[(state::FSYNC, 8.0, 800), (state::ON_CPU, 2.0, 800)]));
    check(&recording(threads), VerdictId::FsyncBound, Confidence::Low);
}

#[test]
fn ready_threads_on_a_busy_machine_are_saturation() {
    let half = |tid| thread(tid, &[(state::ON_CPU, 5.0, 1000), (state::RUNQ_PREEMPT, 5.0, 1000)]);
    let mut recording = recording((1..9).map(half).collect());
    recording.machine.pressure =
        Some(Pressure { elapsed_ns: 10 * S, cpu_some_ns: 9 * S, ..Pressure::default() });
    check(&recording, VerdictId::CpuSaturated, Confidence::High);
}

/// Half of four CPUs was idle: threads waited in bursts. On the two that they may use it would be more than that.
#[test]
fn ready_threads_beside_idle_cpus_are_no_sure_saturation() {
    let some = |tid| thread(tid, &[(state::ON_CPU, 5.0, 1000), (state::RUNQ_WAKE, 5.0, 1000)]);
    let mut recording = recording((1..5).map(some).collect());
    recording.machine.pressure =
        Some(Pressure { elapsed_ns: 10 * S, cpu_some_ns: 3 * S, ..Pressure::default() });
    let report = Report::new(&recording);
    assert_eq!((report.verdict.id, report.verdict.confidence), (VerdictId::CpuSaturated, Confidence::Low));
    assert!(
        sentence(&report.verdict.counter_evidence[0]).ends_with("were idle for 50.0 %"),
        "{:#?}",
        report.verdict
    );
    recording.machine.allowed_cpus = Some(2);
    recording.machine.allowed_cpu = Some(CpuTime { busy_ns: 19 * S, idle_ns: S, ..CpuTime::default() });
    check(&recording, VerdictId::CpuSaturated, Confidence::High);
}

/// Each runs for two thirds of its short life, one after the other, and together they use all CPUs.
#[test]
fn short_lives_that_use_all_cpus_are_bound_by_them() {
    let short = |tid| ThreadSum {
        elapsed_ns: 77_500_000,
        ..thread(tid, &[(state::ON_CPU, 0.0475, 3), (state::CHILD_WAIT, 0.03, 3)])
    };
    check(&recording((1..801).map(short).collect()), VerdictId::CpuBound, Confidence::High);
    // A shell's loop: one after another, on one of four CPUs.
    let one_cpu = recording((1..201).map(short).collect());
    let verdict = Report::new(&one_cpu).verdict;
    assert!(verdict.id == VerdictId::CpuBound && verdict.confidence < Confidence::High, "{verdict:#?}");
}

/// They have 3.2 of 4 CPUs, and others the rest: no room is left for them.
#[test]
fn threads_that_share_full_cpus_with_others_are_bound_by_them() {
    let some = |tid| {
        thread(
            tid,
            &[(state::ON_CPU, 4.0, 1000), (state::RUNQ_WAKE, 0.8, 1000), (state::FUTEX_WAIT, 5.2, 1000)],
        )
    };
    let mut recording = recording((1..9).map(some).collect());
    recording.machine.cpu = Some(CpuTime { busy_ns: 38 * S, idle_ns: 2 * S, ..CpuTime::default() });
    check(&recording, VerdictId::CpuBound, Confidence::Medium);
    recording.machine.cpu = Some(CpuTime { busy_ns: 32 * S, idle_ns: 8 * S, ..CpuTime::default() });
    check(&recording, VerdictId::NoBottleneck, Confidence::Medium);
}

#[test]
fn reads_and_writes_are_one_cause() {
    let both = |tid| {
        thread(
            tid,
            &[(state::DISK_READ, 4.0, 4000), (state::DISK_WRITE, 3.8, 3800), (state::ON_CPU, 2.2, 7800)],
        )
    };
    let recording = recording(vec![both(1)]);
    check(&recording, VerdictId::DiskReadBound, Confidence::Low);
    let sentence = sentence(&Report::new(&recording).verdict.sentence);
    assert!(
        sentence.contains("wait 40.0 % of their working time for disk reads and 38.0 % for writes"),
        "{sentence}"
    );
}

#[test]
fn a_throttled_group_is_a_quota_and_no_saturation() {
    let mut recording =
        recording(vec![thread(1, &[(state::ON_CPU, 5.0, 1000), (state::RUNQ_PREEMPT, 5.0, 1000)])]);
    recording.machine.groups = vec![Group {
        path: "/limited".into(),
        elapsed_ns: 10 * S,
        cpu_limit: Some(0.5),
        periods: 100,
        throttled_periods: 98,
        throttled_ns: 5 * S,
        ..Group::default()
    }];
    check(&recording, VerdictId::CpuQuota, Confidence::High);
    recording.machine.groups[0].cpu_limit = None;
    recording.machine.groups[0].throttled_periods = 0;
    recording.machine.groups[0].throttled_ns = 0;
    check(&recording, VerdictId::CpuSaturated, Confidence::Low);
}

/// Four threads that wait for one lock for 6 of 10 seconds each, and what the holder does meanwhile.
fn contended(state_of_holder: u32, observed: bool) -> Span {
    let worker = |tid| thread(tid, &[(state::FUTEX_LOCK, 6.0, 600), (state::ON_CPU, 4.0, 600)]);
    let mut recording = recording((1..5).map(worker).collect());
    let lock = Lock { process: Some(0), address: 0x1000, kind: 0, place: Place::Heap, name: String::new() };
    let sample = |thread| Sample {
        thread,
        state: state::FUTEX_LOCK,
        stack: 0,
        lock: Some(0),
        weight: 100.0,
        count: 100,
    };
    recording.samples = (0..4).map(sample).collect();
    let wake = |thread| Wake {
        waiter: thread,
        state: state::FUTEX_LOCK,
        lock: Some(0),
        waker: Party::Thread((thread + 1) % 4),
        interrupted: false,
        stack: 0,
        peer: None,
        weight_ns: 6 * S,
        waits: 600.0,
        count: 100,
        meanwhile: vec![(state_of_holder, 6 * S)],
    };
    let held = |waiter| Held {
        waiter,
        lock: 0,
        owner: Party::Thread((waiter + 1) % 4),
        owner_state: Some(state_of_holder),
        ticks: 100,
    };
    recording.locks = Locks {
        followed: true,
        kernel_followed: true,
        locks: vec![lock],
        wakes: (0..4).map(wake).collect(),
        held: if observed { (0..4).map(held).collect() } else { vec![] },
        ..Locks::default()
    };
    recording
}

#[test]
fn a_lock_whose_holder_runs_is_a_lock() {
    check(&contended(state::ON_CPU, true), VerdictId::LockUser, Confidence::High);
    check(&contended(state::ON_CPU, false), VerdictId::LockUser, Confidence::High);
}

#[test]
fn a_lock_whose_holder_waits_for_the_disk_is_told_with_that() {
    check(&contended(state::FSYNC, true), VerdictId::LockHeldAcrossIo, Confidence::High);
}

#[test]
fn a_lock_whose_holder_waits_for_a_cpu_is_no_lock_problem() {
    check(&contended(state::RUNQ_PREEMPT, true), VerdictId::CpuSaturated, Confidence::Low);
}

#[test]
fn the_same_waits_on_a_condition_variable_are_idle() {
    let mut recording = contended(state::ON_CPU, false);
    for thread in &mut recording.threads {
        thread.state_ns.swap(state::FUTEX_LOCK as usize, state::FUTEX_WAIT as usize);
        thread.state_ns[state::ON_CPU as usize] = S / 100;
        thread.state_ns[state::FUTEX_WAIT as usize] = 10 * S - S / 100;
    }
    for sample in &mut recording.samples {
        sample.state = state::FUTEX_WAIT;
    }
    for wake in &mut recording.locks.wakes {
        wake.state = state::FUTEX_WAIT;
    }
    check(&recording, VerdictId::Idle, Confidence::High);
}

#[test]
fn threads_in_a_circle_are_a_deadlock() {
    let stuck = |tid| thread(tid, &[(state::FUTEX_LOCK, 10.0, 1)]);
    let mut recording = recording(vec![stuck(1), stuck(2)]);
    let lock = |address| Lock { process: Some(0), address, kind: 0, place: Place::Heap, name: String::new() };
    let open = |waiter, lock, owner| OpenWait { waiter, lock, owner: Party::Thread(owner), since_ns: 0 };
    recording.locks = Locks {
        followed: true,
        locks: vec![lock(0x10), lock(0x20)],
        open: vec![open(0, 0, 1), open(1, 1, 0)],
        ..Locks::default()
    };
    check(&recording, VerdictId::Deadlock, Confidence::High);
}

#[test]
fn waiting_for_another_server_is_told_with_its_rate() {
    check(
        &recording(vec![thread(1, &[(state::NET_RECV, 9.0, 900), (state::ON_CPU, 1.0, 900)])]),
        VerdictId::DownstreamWait,
        Confidence::Low,
    );
}

#[test]
fn two_that_take_turns_by_pipe_wait_for_each_other() {
    let end = |tid| {
        thread(
            tid,
            &[(state::PIPE, 6.0, 90_000), (state::ON_CPU, 3.5, 90_000), (state::RUNQ_WAKE, 0.5, 90_000)],
        )
    };
    check(&recording(vec![end(1), end(2)]), VerdictId::IpcWait, Confidence::Low);
}

#[test]
fn reads_and_writes_of_a_disk_are_told_apart() {
    let reader = thread(1, &[(state::DISK_READ, 8.0, 8000), (state::ON_CPU, 2.0, 8000)]);
    check(&recording(vec![reader]), VerdictId::DiskReadBound, Confidence::Low);
    let writer = thread(1, &[(state::DISK_WRITE, 8.0, 8000), (state::ON_CPU, 2.0, 8000)]);
    check(&recording(vec![writer]), VerdictId::DiskWriteBound, Confidence::Low);
}

#[test]
fn equal_parts_are_a_mixture() {
    let both =
        thread(1, &[(state::DISK_READ, 4.8, 8000), (state::NET_RECV, 4.8, 8000), (state::ON_CPU, 0.4, 8000)]);
    check(&recording(vec![both]), VerdictId::Mixed, Confidence::Low);
}

#[test]
fn what_was_lost_or_is_too_short_is_not_judged() {
    let busy = thread(1, &[(state::ON_CPU, 10.0, 100)]);
    let mut lossy = recording(vec![busy.clone()]);
    lossy.quality.threads_unseen = 1;
    check(&lossy, VerdictId::InsufficientData, Confidence::Low);
    let mut short = recording(vec![busy]);
    short.meta.ended_at_ns = S / 2;
    check(&short, VerdictId::InsufficientData, Confidence::Low);
    check(&Span::default(), VerdictId::InsufficientData, Confidence::Low);
}

#[test]
fn time_without_a_reason_is_not_judged() {
    let lost = thread(1, &[(state::UNKNOWN, 9.0, 900), (state::ON_CPU, 1.0, 900)]);
    check(&recording(vec![lost]), VerdictId::InsufficientData, Confidence::Low);
}
