//! What the kernel programs say of themselves with `-vv`.

use std::fs;

use profiler_tests::harness::Live;
use profiler_tests::running::Workload;

/// What a recording of a workload says on standard error.
#[track_caller]
fn said(live: &Live, workload: &Workload, options: &[&str]) -> String {
    let pid = workload.pid().to_string();
    let json = live.path("out.json");
    let arguments = ["record", "-d", "1", "-p", &pid, "-o", json.to_str().expect("a plain path")];
    let finished = live.run(&[&arguments, options].concat());
    assert!(finished.status.success(), "{finished:?}");
    finished.stderr
}

/// Ids of its threads.
#[track_caller]
fn threads(workload: &Workload) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", workload.pid())).expect("it runs");
    tasks.flatten().map(|task| task.file_name().to_string_lossy().parse().expect("a number")).collect()
}

/// Each thread of the target gets its account from the pass over all tasks, and the line names both and the
/// thread.
#[test]
fn the_log_tells_of_each_account_that_is_opened_and_why() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["3", "60"]);
    let said = said(&live, &workload, &["-vv"]);
    for tid in threads(&workload) {
        let head =
            format!("profiler: kernel: account of thread {tid} of process {}: it was there", workload.pid());
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with(&head)).collect();
        assert!(matches!(lines[..], [line] if line.contains(" `spin")), "{head}: {said}");
    }
}

/// Whoever does not ask for it hears nothing of it.
#[test]
fn without_two_vs_the_kernel_programs_say_nothing() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["1", "60"]);
    let said = said(&live, &workload, &["-v"]);
    assert!(said.contains("profiler: started in"), "{said}");
    assert!(!said.contains("profiler: kernel:"), "{said}");
}
