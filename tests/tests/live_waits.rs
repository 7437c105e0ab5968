//! Blocked time has the right reason.

use std::thread;
use std::time::Duration;

use profiler_tests::counters::Watch;
use profiler_tests::harness::Live;
use profiler_tests::report::{check_closed, check_main_reason, check_near, check_share};

/// Each thread of `waits` is blocked for ever in the state that its name tells: all of its time, within the recording's
/// first and last moments (1 %), is in that state. The waits began before the recording and outlast it.
#[test]
fn waits_without_end_are_whole_and_have_their_reason() {
    let Some(live) = Live::start() else { return };
    let waits = live.workload("waits", &[]);
    let report = live.record(&["-p", &waits.pid().to_string(), "-d", "2"]);
    check_closed(&report);
    let threads: Vec<_> = report.threads().filter(|thread| thread.tid() != waits.pid()).collect();
    assert!(threads.len() >= 36, "one thread for each wait: {}", threads.len());
    for thread in threads {
        let state = thread.comm().split('.').next().unwrap_or_default();
        check_near(
            "length of a thread's account",
            thread.elapsed(),
            report.elapsed(),
            0.01 * report.elapsed(),
        );
        check_share(thread, state, 1.0, 0.01);
    }
}

/// Truth of `changing_descriptor`: waits of 5 ms on a pipe and of 15 ms on a socket, by turns and by the same number. The
/// proportion is 1 : 3, and would be 3 : 1 if a wait had the reason of the one before. ±2 %: the writer's sleeps end late
/// by less than a tenth of a millisecond, which makes the shorter wait longer by more of itself.
#[test]
fn a_descriptor_is_what_it_is_now() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("changing_descriptor", &["5", "15"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
    check_closed(&report);
    let reader = report.thread_named("reader");
    let (pipe, socket) = (reader.seconds("pipe"), reader.seconds("unix_socket"));
    check_near("part of the pipe", pipe / (pipe + socket), 0.25, 0.02);
    check_near("waits", pipe + socket, reader.blocked_seconds(), 0.01 * reader.elapsed());
}

/// Truth of `duty_cycle`: 100 ms of sleep in each 200 ms. The time asleep is 100 ms for each sleep: +2 %, as a sleep on a busy machine
/// ends a little late, and less by up to one sleep, since the recording begins and ends within one. What is not sleep is what
/// the kernel's own counters have of the same interval, ±2 %. Its second thread sleeps all the time.
#[test]
fn half_a_sleep_is_half_timer() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &["200", "100"]);
    let watch = Watch::start(vec![workload.pid()]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "4"]);
    check_closed(&report);
    let counted = watch.stop().between(report.interval_unix_ns())[&workload.pid()];
    let main = report.thread(workload.pid());
    // The other thread's one sleep is open at the end.
    let (sleeps, asleep) = (report.count("timer") - 1.0, main.seconds("timer"));
    assert!((0.1 * (sleeps - 1.0)..=0.102 * sleeps).contains(&asleep), "{asleep} s in {sleeps} sleeps");
    check_near("sleeps", sleeps, main.elapsed() / 0.2, 2.0);
    let awake = counted.run_seconds + counted.run_queue_seconds;
    check_near("on a CPU or ready for one", main.busy_seconds(), awake, 0.02 * main.elapsed());
    check_share(report.thread_named("sleeper"), "timer", 1.0, 0.001);
}

/// Truth of `futex_pingpong`: two threads take turns of 10 ms. What the kernel counts of each neither as run time nor as
/// time on a run queue, it waits for its turn, and not for a lock. On a machine with other work the parts shift, so the
/// counters and not the turns are the truth. ±2 % of the time, and 20 ms: one reading of the counters at each edge.
#[test]
fn turns_by_futex_are_futex_wait_and_no_lock() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("futex_pingpong", &["10"]);
    let watch = Watch::start(vec![workload.pid()]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
    let kernel = watch.stop().between(report.interval_unix_ns());
    check_closed(&report);
    for name in ["ping", "pong"] {
        let thread = report.thread_named(name);
        let counted = &kernel[&thread.tid()];
        let blocked = thread.elapsed() - counted.run_seconds - counted.run_queue_seconds;
        check_near(name, thread.seconds("futex_wait"), blocked, 0.02 * thread.elapsed() + 0.02);
        check_share(thread, "futex_lock", 0.0, 0.001);
    }
}

/// `waiter` measures its own waits for a mutex: all but the few microseconds on both sides of each is `futex_lock`.
/// ±2 % and 10 ms: its clock runs while it is ready for a CPU, which the ledger keeps apart, and the test adds.
#[test]
fn contended_mutex_is_a_lock_for_as_long_as_the_waiter_says() {
    let Some(live) = Live::start() else { return };
    let truth_of_run = live.record_command("mutex_contended", &["3"]);
    let (report, truth) = (live.report(), truth_of_run["wait_seconds"].as_f64().expect("a truth"));
    check_closed(&report);
    let waiter = report.thread_named("waiter");
    let found = waiter.seconds("futex_lock");
    assert!(found <= truth + 0.01, "more than the waiter's own clock shows: {found} of {truth}");
    check_near("lock wait", found + waiter.seconds("runq_wake"), truth, 0.02 * truth + 0.01);
}

/// A thread that SIGSTOP stops is `stopped` for as long as the signals lie apart: the middle second of three.
/// ±3 %: the test's own sleeps end late.
#[test]
fn stopped_process_is_stopped() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["1"]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "3"]);
    thread::sleep(Duration::from_millis(800));
    workload.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_secs(1));
    workload.signal(libc::SIGCONT);
    let report = live.finish_recording(recording);
    check_closed(&report);
    check_near("stopped", report.thread_named("spin-0").seconds("stopped"), 1.0, 0.03);
}

/// In a switch storm, two processes that wait for each other's byte, the time off the CPU is waiting for the pipe or for
/// the CPU, and the books close at half a million switches a second.
#[test]
fn switch_storm_closes_and_waits_for_the_pipe() {
    let Some(live) = Live::start() else { return };
    let storm = live.workload("pipe_pingpong", &["1"]);
    let report = live.record(&["-p", &storm.pid_list(), "-d", "3"]);
    check_closed(&report);
    check_main_reason(&report, "pipe");
    let on_cpu: f64 = report.threads().map(|thread| thread.share("on_cpu")).sum();
    assert!(on_cpu <= 1.01, "two processes on one CPU cannot use more than it has: {on_cpu}");
    assert!(on_cpu >= 0.5, "the storm has one CPU nearly for itself: {on_cpu}");
}
