//! What does not fit is counted, shown beside the numbers that it affects, and past a bound the report says of itself that
//! it is not reliable.

use std::thread;
use std::time::Duration;

use profiler_tests::harness::{Live, directory};
use profiler_tests::report::Report;

/// The report says that it is not reliable, in both of its forms.
#[track_caller]
fn check_unreliable(live: &Live, report: &Report) {
    assert!(report.number("/quality/lost_ratio") > 0.01, "{:#}", report.0["quality"]);
    assert_eq!(report.0["quality"]["reliable"], false, "{:#}", report.0["quality"]);
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let text = live.run(&["report", &capture]).stdout;
    assert!(text.to_lowercase().contains("not reliable"), "{text}");
}

/// A thread that spins deep in a recursion gives up to 1,000 samples of 48 KiB a second. While the profiler stands still for
/// 3 s nobody empties the ring, which holds 32 MiB at the most: what comes after that is lost, and said to be. Times are not samples, and
/// stay whole.
#[test]
fn a_full_ring_is_told() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-F", "1000", "-o", &capture]);
    // To the recording's begin.
    thread::sleep(Duration::from_millis(500));
    recording.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_secs(3));
    recording.signal(libc::SIGCONT);
    thread::sleep(Duration::from_millis(200));
    recording.signal(libc::SIGINT);
    let report = live.finish_recording(recording);
    assert!(report.number("/quality/counts/oncpu_dropped") > 0.0, "{:#}", report.0["quality"]);
    assert!(report.number("/ledger/residual_ratio") < 0.01, "{:#}", report.0["ledger"]);
    check_unreliable(&live, &report);
}

/// A command has room for 8,192 accounts; of its 12,000 threads some have none, and their time is missing.
#[test]
fn threads_without_an_account_are_told() {
    let Some(live) = Live::start() else { return };
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let command = directory().join("many_threads").to_string_lossy().into_owned();
    let recording = live.start_recording(&["-o", &capture, "--", &command, "12000"]);
    thread::sleep(Duration::from_secs(4));
    // Ends the command too, whose exit code is then the profiler's: 128 + SIGTERM.
    recording.signal(libc::SIGTERM);
    let finished = recording.finish(Duration::from_secs(30)).expect("profiler ends");
    assert_eq!(finished.status.code(), Some(143), "{finished:?}");
    let report = live.report();
    assert!(report.number("/quality/counts/threads_full") > 1000.0, "{:#}", report.0["quality"]);
    check_unreliable(&live, &report);
}
