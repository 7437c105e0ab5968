//! The workloads do what they claim, by the kernel's own counters: a live test is worth as much as its truth.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use profiler_tests::counters::Watch;
use profiler_tests::harness::directory;
use profiler_tests::report::check_near;
use profiler_tests::running::Workload;

#[track_caller]
fn start(name: &str, arguments: &[&str]) -> Workload {
    Workload::start(directory(), name, arguments).expect("the workload gets ready")
}

/// Names of a process's threads by their ids.
fn threads(pid: u32) -> BTreeMap<u32, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the workload runs").flatten();
    let named = tasks.map(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).expect("a thread's name");
        let tid = task.file_name().to_string_lossy().parse().expect("a number");
        (tid, comm.trim_end().to_owned())
    });
    named.collect()
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos() as u64
}

/// Each thread of `waits` is named after a state that exists, and none of them runs once it has come to its wait, for which it is given
/// a moment.
#[test]
fn waits_do_not_run_and_bear_names_of_states() {
    let workload = start("waits", &[]);
    thread::sleep(Duration::from_millis(200));
    let watch = Watch::start(vec![workload.pid()]);
    let from = unix_ns();
    thread::sleep(Duration::from_millis(300));
    let counted = watch.stop().between((from, unix_ns()));
    for (tid, name) in threads(workload.pid()) {
        check_near(&name, counted[&tid].run_seconds, 0.0, 0.0);
        let state = name.split('.').next().unwrap_or_default();
        let known = profiler_common::state::ALL.iter().any(|known| known.name == state);
        assert!(known || tid == workload.pid(), "no state `{state}`");
    }
}

/// Three threads on one CPU: run time and run-queue time of each make up all of its time, but for what the counters are uncertain of.
#[test]
fn spinning_threads_run_or_wait_for_their_cpu() {
    let workload = start("spin", &["3", "60", "0"]);
    let watch = Watch::start(vec![workload.pid()]);
    let from = unix_ns();
    thread::sleep(Duration::from_secs(1));
    let to = unix_ns();
    let counted = watch.stop().between((from, to));
    for (tid, name) in threads(workload.pid()).into_iter().filter(|(_, name)| name.starts_with("spin-")) {
        let blocked = counted[&tid].blocked_seconds((to - from) as f64 / 1e9);
        check_near(&name, blocked, 0.0, counted[&tid].tolerance());
    }
}

/// What a workload says at its end is about the time that it was asked for (and one batch of round trips).
#[test]
fn a_workload_tells_its_truth_at_its_end() {
    let truth = start("pipe_pingpong", &["0", "0.5"]).truth().expect("a line of JSON");
    let (count, time) = (truth["round_trips"].as_f64(), truth["ns_per_round_trip"].as_f64());
    check_near("seconds of all round trips", count.unwrap_or(0.0) * time.unwrap_or(0.0) / 1e9, 0.5, 0.05);
}
