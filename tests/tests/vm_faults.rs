//! Faults of the machine: its clock is set, and a CPU is taken away. Only inside the guests of `cargo xtask vm`, which are nobody's.

use std::fs;
use std::io::Write;
use std::mem;
use std::thread;
use std::time::Duration;

use profiler_tests::harness::Live;
use profiler_tests::report::{check_closed, check_near, check_share};

/// What the guests' plan sets.
const GUEST: &str = "PROFILER_TESTS_GUEST";

/// None outside of a guest: then it has said so, and the test is over.
fn start() -> Option<Live> {
    if std::env::var_os(GUEST).is_none() {
        // Past the test runner, which hides what tests that succeed print.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: it changes the machine: only in a guest of `cargo xtask vm`"
        );
        return None;
    }
    Live::start()
}

/// Moves the clock of the day.
#[track_caller]
fn step_clock(seconds: i64) {
    // SAFETY: a `timespec` is made of integers, for which zero is valid; both calls are given one that lives through them.
    let result = unsafe {
        let mut time: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time);
        time.tv_sec += seconds;
        libc::clock_settime(libc::CLOCK_REALTIME, &raw const time)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Forwards by an hour, and backwards by two: times are those of a clock that nobody can set, and the recording began when the clock said so.
#[test]
fn a_clock_that_is_set_changes_nothing() {
    let Some(live) = start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a date").as_secs_f64();
    let before = now();
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "6"]);
    thread::sleep(Duration::from_millis(1500));
    let began_before = now();
    for step in [3600, -7200, 3600] {
        step_clock(step);
        thread::sleep(Duration::from_secs(1));
    }
    let report = live.finish_recording(recording);
    check_closed(&report);
    check_near("length", report.elapsed(), 6.0, 0.3);
    check_share(report.thread(workload.pid()), "timer", 0.5, 0.03);
    check_share(report.thread_named("sleeper"), "timer", 1.0, 0.001);
    let began = report.interval_unix_ns().0 as f64 / 1e9;
    assert!((before..began_before).contains(&began), "{began}, from {before} to {began_before}");
}

/// Two threads have one CPU for a while, and two again: the books close, and what the sampler cannot see is told.
#[test]
fn a_cpu_that_is_taken_away_and_given_back_leaves_the_books_closed() {
    let Some(live) = start() else { return };
    let workload = live.workload("spin", &["2"]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "8"]);
    for state in ["0", "1"] {
        thread::sleep(Duration::from_secs(2));
        fs::write("/sys/devices/system/cpu/cpu1/online", state).expect("the CPU can be taken away");
    }
    thread::sleep(Duration::from_secs(5));
    // Names are looked up at the lowest priority: beside two threads that spin, that takes minutes here.
    drop(workload);
    let report = live.finish_recording(recording);
    check_closed(&report);
    check_near("length", report.elapsed(), 8.0, 0.3);
    for name in ["spin-0", "spin-1"] {
        check_near(name, report.thread_named(name).busy_share(), 1.0, 0.02);
    }
    let skipped = report.0["quality"]["skipped"].to_string();
    assert!(skipped.contains("online: 2, then 1, then 2"), "{skipped}");
    // Of both CPUs for 2 s, then of one.
    let expected = 99.0 * (2.0 * 2.0 + 6.0);
    check_near("samples", report.number("/quality/counts/oncpu_samples"), expected, 0.1 * expected);
}
