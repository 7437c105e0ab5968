//! Blocked time has the right reason.

use std::thread;
use std::time::Duration;

use profiler_tests::counters::{Watch, stolen_seconds, stolen_since};
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

/// Truth of `changing_descriptor`: how long its reader was blocked on a pipe and on a socket, by turns and by the same number, by its
/// own clock. They would change places if a wait had the reason of the one before. ±1 %, for what passes between two readings of counters.
#[test]
fn a_descriptor_is_what_it_is_now() {
    let Some(live) = Live::start() else { return };
    let truth = live.record_command("changing_descriptor", &["5", "15", "3"]);
    let report = live.report();
    check_closed(&report);
    let reader = report.thread_named("reader");
    let [pipe, socket] = ["pipe_seconds", "socket_seconds"].map(|key| truth[key].as_f64().expect("a truth"));
    assert!(pipe > 0.0 && socket > 1.5 * pipe, "the waits differ: {truth}");
    check_near("pipe", reader.seconds("pipe"), pipe, 0.01 * (pipe + socket));
    check_near("socket", reader.seconds("unix_socket"), socket, 0.01 * (pipe + socket));
}

/// Truth of `duty_cycle`: 100 ms of sleep in each 200 ms. The time asleep is no less than 100 ms for each sleep, but for one, since the
/// recording begins and ends within one. It is no more than 100 ms for each either, and for the one that is open at the end: a sleep
/// is over when its timer goes off, however long the thread then waits for a CPU. Timers are late by what a hypervisor took, and
/// by a hundredth of the time at most. Its second thread sleeps all the time.
#[test]
fn half_a_sleep_is_half_timer() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &["200", "100"]);
    let stolen_before = stolen_seconds();
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "4"]);
    let late = stolen_since(stolen_before) + 0.01 * report.elapsed();
    check_closed(&report);
    // The other thread's one sleep is open at the end.
    let (sleeps, asleep) = (report.count("timer") - 1.0, report.thread(workload.pid()).seconds("timer"));
    assert!(sleeps > 5.0 && asleep >= 0.1 * (sleeps - 1.0), "{asleep} s in {sleeps} sleeps");
    assert!(asleep <= 0.1 * (sleeps + 1.0) + late, "{asleep} s in {sleeps} sleeps");
    check_share(report.thread_named("sleeper"), "timer", 1.0, 0.001);
}

/// Truth of `futex_pingpong`: two threads take turns of 10 ms. What the kernel counts of each neither as run time nor as
/// time on a run queue, it waits for its turn, and not for a lock. On a machine with other work the parts shift, so the
/// counters and not the turns are the truth. ±1 % of the time, and what the counters are uncertain of.
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
        let blocked = counted.blocked_seconds(thread.elapsed());
        check_near(
            name,
            thread.seconds("futex_wait"),
            blocked,
            0.01 * thread.elapsed() + counted.tolerance(),
        );
        check_share(thread, "futex_lock", 0.0, 0.001);
    }
}

/// `waiter` measures its own waits for a mutex, without the time that the kernel counts as on a CPU or ready for one: all of it is
/// `futex_lock`. ±1 %, for what passes between two readings of counters.
#[test]
fn contended_mutex_is_a_lock_for_as_long_as_the_waiter_says() {
    let Some(live) = Live::start() else { return };
    let truth_of_run = live.record_command("mutex_contended", &["3"]);
    let (report, truth) = (live.report(), truth_of_run["wait_seconds"].as_f64().expect("a truth"));
    check_closed(&report);
    check_near("lock wait", report.thread_named("waiter").seconds("futex_lock"), truth, 0.01 * truth);
}

/// A thread that spins is blocked only while SIGSTOP stops it: `stopped` is what the kernel counts neither as run time nor as time on a
/// run queue.
#[test]
fn stopped_process_is_stopped() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["1"]);
    let watch = Watch::start(vec![workload.pid()]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "3"]);
    thread::sleep(Duration::from_millis(800));
    workload.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_secs(1));
    workload.signal(libc::SIGCONT);
    let report = live.finish_recording(recording);
    check_closed(&report);
    let spinning = report.thread_named("spin-0");
    // Neither signal comes early.
    assert!(spinning.seconds("stopped") > 0.9, "it was stopped: {:#}", spinning.0);
    watch.stop().check_blocked(&report, spinning.tid(), "stopped");
}

/// In a switch storm, two processes that wait for each other's byte, the time off the CPU is waiting for the pipe or for
/// the CPU, and the books close at half a million switches a second. The time on the CPU is what the kernel counts: ±8 %, since it
/// dates a switch to the wake-up before it, where that preempts (tests/servers.rs has the source).
#[test]
fn switch_storm_closes_and_waits_for_the_pipe() {
    let Some(live) = Live::start() else { return };
    let storm = live.workload("pipe_pingpong", &["1"]);
    let watch = Watch::start(storm.pids().to_vec());
    let report = live.record(&["-p", &storm.pid_list(), "-d", "3"]);
    let counted = watch.stop().sum_between(report.interval_unix_ns());
    check_closed(&report);
    check_main_reason(&report, "pipe");
    let on_cpu: f64 = report.threads().map(|thread| thread.seconds("on_cpu")).sum();
    assert!(
        on_cpu <= 1.01 * report.elapsed(),
        "two processes on one CPU cannot use more than it has: {on_cpu}"
    );
    counted.check_on_cpu(on_cpu, 0.08 * counted.run_seconds + counted.tolerance());
}
