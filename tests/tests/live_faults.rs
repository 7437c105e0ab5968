//! Faults of processes: the profiler or its target is killed or stopped at any moment.
//!
//! Those of files are in `live_files`, those of memory in `live_losses`, those of disks in `live_failures`.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::counters::Watch;
use profiler_tests::harness::Live;
use profiler_tests::leftovers::Before;
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::running::{Running, wait_until};
use profiler_tests::workload::Scatter;

const SOON: Duration = Duration::from_secs(20);

/// Whenever the profiler is killed (while it attaches, records, looks for names or writes): the kernel lets go of everything, the target goes on,
/// and a result is there whole or not at all.
#[test]
fn a_profiler_that_is_killed_at_any_moment_leaves_nothing_behind() {
    let Some(live) = Live::start() else { return };
    kill_at_moments(&live, 20);
}

/// The same so often that a moment of a hundredth of its life is met.
#[test]
#[ignore = "takes a minute or more: `cargo xtask nightly long`"]
fn a_profiler_that_is_killed_at_a_hundred_moments_leaves_nothing_behind() {
    let Some(live) = Live::start() else { return };
    kill_at_moments(&live, 100);
}

#[track_caller]
fn kill_at_moments(live: &Live, kills: u64) {
    let mut workload = live.workload("duty_cycle", &[]);
    let pid = workload.pid().to_string();
    let recording = live.start_recording(&["-p", &pid]);
    let before = Before::with(recording.pid());
    recording.signal(libc::SIGINT);
    check_closed(&live.finish_recording(recording));
    fs::remove_file(live.path("out.json")).expect("a report");

    // How long a recording takes here, from its start to its results.
    let life = (0..3).map(|_| length_of_a_life(live, &pid)).min().expect("three lives");
    let mut moments = Scatter::seeded();
    let killed = (0..kills).filter(|_| {
        let moment = Duration::from_micros(moments.below(life.as_micros() as u64));
        let was_killed = kill_after(live, &pid, moment);
        assert!(workload.is_running() && is_unharmed(workload.pid()), "the target, after {moment:?}");
        check_results(live);
        was_killed
    });
    let killed = killed.count();
    assert!(2 * killed as u64 > kills, "only {killed} recordings were still running when they were killed");

    let is_clean = || before.left().is_empty();
    wait_until("the kernel has let go", Duration::from_secs(5), is_clean)
        .unwrap_or_else(|error| panic!("{error}: {:?}", before.left()));
    // What would still be attached would be seen in its times.
    let watch = Watch::start(vec![workload.pid()]);
    let report = live.record(&["-p", &pid, "-d", "2"]);
    check_closed(&report);
    watch.stop().check_blocked(&report, workload.pid(), "timer");
}

/// A short recording with two results.
#[track_caller]
fn start(live: &Live, pid: &str) -> Running {
    let [capture, json] = ["out.prof", "out.json"].map(|name| live.path(name).to_string_lossy().into_owned());
    let command = live.profiler(&["record", "-q", "-p", pid, "-d", "100ms", "-o", &capture, "-o", &json]);
    Running::start(command).expect("profiler starts")
}

#[track_caller]
fn length_of_a_life(live: &Live, pid: &str) -> Duration {
    let started = Instant::now();
    start(live, pid).finish(SOON).expect("it ends");
    let life = started.elapsed();
    check_results(live);
    life
}

/// Whether it was still running.
#[track_caller]
fn kill_after(live: &Live, pid: &str, moment: Duration) -> bool {
    let recording = start(live, pid);
    thread::sleep(moment);
    recording.signal(libc::SIGKILL);
    let finished = recording.finish(SOON).expect("nobody outlives SIGKILL");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    finished.status.signal() == Some(libc::SIGKILL)
}

/// Neither stopped nor traced: it waits, runs or is ready.
fn is_unharmed(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with(['R', 'S', 'D']))
}

/// What is there is whole, and is then taken away.
#[track_caller]
fn check_results(live: &Live) {
    let [capture, json] = ["out.prof", "out.json"].map(|name| live.path(name));
    if capture.exists() {
        let again = live.path("again.json");
        let finished = live.run(&["report", &capture.to_string_lossy(), "-o", &again.to_string_lossy()]);
        // No stack may have come in 100 ms.
        assert!(matches!(finished.status.code(), Some(0 | 4)), "{finished:?}");
        check_books(&Report::read(&again));
        fs::remove_file(&capture).expect("it is there");
    }
    if json.exists() {
        check_books(&Report::read(&json));
        fs::remove_file(&json).expect("it is there");
    }
}

#[track_caller]
fn check_books(report: &Report) {
    assert!(report.number("/ledger/residual_ratio") <= 0.01, "{:#}", report.0["ledger"]);
    assert!(report.number("/ledger/thread_seconds") > 0.0, "{:#}", report.0["ledger"]);
}

/// A thousand threads that end at once, by SIGKILL: the recording ends with them, and each has its account up to there.
#[test]
fn a_target_that_is_killed_is_reported_up_to_its_end() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("many_threads", &["1000", "50"]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "30"]);
    thread::sleep(Duration::from_millis(1500));
    workload.signal(libc::SIGKILL);
    let report = live.finish_recording(recording);
    check_closed(&report);
    assert!((1.0..10.0).contains(&report.elapsed()), "length: {}", report.elapsed());
    check_near("threads", report.threads().count() as f64, 1001.0, 0.0);
    let alive: Vec<_> = report.threads().filter(|thread| thread.0["ended_inside"] != true).collect();
    assert!(alive.is_empty(), "{alive:#?}");
    check_near("accounts that were lost", report.number("/quality/counts/ends_dropped"), 0.0, 0.0);
}

/// A target that is stopped is told to be stopped for as long as the kernel counts it neither as running nor as ready, and is what it was
/// before and after it.
#[test]
fn a_target_that_is_stopped_is_told_to_be() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["1"]);
    let watch = Watch::start(vec![workload.pid()]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "4"]);
    thread::sleep(Duration::from_millis(1500));
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

/// A recording that is killed after more than ten seconds is there up to a moment that is at most ten seconds and a little before: its books
/// are closed, and it says what it is. One that comes to its end leaves nothing of that behind.
#[test]
fn a_recording_that_is_killed_is_saved_up_to_some_seconds_before() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let (pid, capture) = (workload.pid().to_string(), live.path("out.prof"));
    let capture = capture.to_string_lossy();
    let partial = live.path("out.prof.partial");
    let watch = Watch::start(vec![workload.pid()]);
    let recording = live.start_recording(&["-p", &pid, "-o", &capture]);
    wait_until("a first save", SOON, || partial.exists()).expect("after ten seconds");
    thread::sleep(Duration::from_secs(1));
    recording.signal(libc::SIGKILL);
    recording.finish(SOON).expect("nobody outlives SIGKILL");

    let json = live.path("partial.json");
    let finished = live.run(&["report", &partial.to_string_lossy(), "-o", &json.to_string_lossy()]);
    assert!(finished.status.success(), "{finished:?}");
    let report = Report::read(&json);
    check_closed(&report);
    check_near("length", report.elapsed(), 10.0, 1.0);
    watch.stop().check_blocked(&report, workload.pid(), "timer");
    let skipped = report.0["quality"]["skipped"].to_string();
    assert!(skipped.contains("the recording is incomplete"), "{skipped}");

    fs::remove_file(&partial).expect("it is there");
    let recording = live.start_recording(&["-p", &pid, "-o", &capture]);
    wait_until("a first save", SOON, || partial.exists()).expect("after ten seconds");
    recording.signal(libc::SIGINT);
    check_closed(&live.finish_recording(recording));
    assert!(!partial.exists(), "the whole recording is there");
}
