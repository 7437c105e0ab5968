//! What does not fit is counted, shown beside the numbers that it affects, and past a bound the report says of itself that
//! it is not reliable.

use std::thread;
use std::time::Duration;

use profiler_tests::counters::run_seconds;
use profiler_tests::harness::{Live, directory};
use profiler_tests::report::Report;
use profiler_tests::running::{Workload, wait_until};

/// The report says that it is not reliable, in both of its forms.
#[track_caller]
fn check_unreliable(live: &Live, report: &Report) {
    assert!(report.number("/quality/lost_ratio") > 0.01, "{:#}", report.0["quality"]);
    assert_eq!(report.0["quality"]["reliable"], false, "{:#}", report.0["quality"]);
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let text = live.run(&["report", &capture]).stdout;
    assert!(text.to_lowercase().contains("not reliable"), "{text}");
}

/// A thread that spins deep in a recursion gives 1,000 samples of 48 KiB for each second that it runs. While the profiler stands still
/// nobody empties the ring, which holds 32 MiB at the most, that is 0.7 s: what comes after that is lost, and said to be. Times are not
/// samples, and stay whole.
#[test]
fn a_full_ring_is_told() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-F", "1000", "-o", &capture]);
    // To the recording's begin.
    thread::sleep(Duration::from_millis(500));
    recording.signal(libc::SIGSTOP);
    let full = run_seconds(workload.pid()) + 2.0;
    let has_run = || run_seconds(workload.pid()) > full;
    wait_until("the ring is full", Duration::from_secs(30), has_run).expect("the thread runs");
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

/// The least that a recording may have in the kernel, on two CPUs some 600 accounts and a ring of 256 KiB.
const TINY: [&str; 2] = ["--kernel-memory", "2m"];

/// Some text of a report that has the numbers of a loss beside those that it affects.
#[track_caller]
fn check_told(live: &Live, words: &[&str]) {
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let text = live.run(&["report", &capture]).stdout;
    // Lines are broken for a terminal.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn a_tiny_ring_is_told() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let (pid, capture) = (workload.pid().to_string(), live.path("out.prof").to_string_lossy().into_owned());
    let options = ["-F", "1000", "--stack-bytes", "64k", "-d", "2", "-o", &capture, "-p", &pid];
    let recording = live.start_recording(&[&TINY[..], &options].concat());
    // A profiler that is late once in a while, as on a busy machine.
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(200));
        recording.signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(200));
        recording.signal(libc::SIGCONT);
    }
    let report = live.finish_recording(recording);
    assert!(report.number("/quality/counts/oncpu_dropped") > 0.0, "{:#}", report.0["quality"]);
    assert!(report.number("/ledger/residual_ratio") < 0.01, "{:#}", report.0["ledger"]);
    check_unreliable(&live, &report);
    check_told(&live, &["of the samples ("]);
}

/// Of 2,000 threads most have no account.
#[test]
fn a_tiny_table_of_accounts_is_told() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("many_threads", &["2000", "20"]);
    let (pid, capture) = (workload.pid().to_string(), live.path("out.prof").to_string_lossy().into_owned());
    let report = live.record(&[&TINY[..], &["-d", "1", "-o", &capture, "-p", &pid]].concat());
    assert!(report.number("/quality/counts/threads_full") > 1000.0, "{:#}", report.0["quality"]);
    assert!(report.number("/quality/threads_unseen") > 1000.0, "{:#}", report.0["quality"]);
    check_unreliable(&live, &report);
    check_told(&live, &["of the thread accounts (", "fit into 2 MiB of kernel memory (--kernel-memory)"]);
}

/// Processes come and go while nobody empties the ring: each of them is counted that was not told, at its start or its end. So is what
/// perf could not tell of their mappings.
#[test]
fn births_and_ends_that_are_not_told_are_told_to_be_missing() {
    let Some(live) = Live::start() else { return };
    let capture = live.path("out.prof").to_string_lossy().into_owned();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "echo ready $$; while :; do /bin/true; done"]);
    let workload = Workload::start_command(shell).expect("the shell gets ready");
    let pid = workload.pid().to_string();
    let recording = live.start_recording(&[&TINY[..], &["--children", "-o", &capture, "-p", &pid]].concat());
    thread::sleep(Duration::from_millis(500));
    recording.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_secs(3));
    recording.signal(libc::SIGCONT);
    thread::sleep(Duration::from_millis(500));
    recording.signal(libc::SIGINT);
    let report = live.finish_recording(recording);
    assert!(report.number("/quality/counts/ends_dropped") > 0.0, "{:#}", report.0["quality"]);
    assert!(report.number("/quality/counts/process_events_dropped") > 0.0, "{:#}", report.0["quality"]);
    check_unreliable(&live, &report);
    check_told(&live, &["of the thread accounts (", "mapping events lost (ring full)"]);
}
