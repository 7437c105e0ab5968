//! What users type first: a name, a thread, a command without dashes, a report without a file.

use std::fs;
use std::time::Duration;

use profiler_tests::harness::{Live, directory};
use profiler_tests::report::{Report, check_closed};
use profiler_tests::running::{Running, run, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// The kernel's name of a thread of a process, and its id.
fn thread_called(pid: u32, comm: &str) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut tids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    tids.find(|tid| {
        fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).is_ok_and(|text| text.trim_end() == comm)
    })
}

#[test]
fn a_thread_is_recorded_alone() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let tid = thread_called(workload.pid(), "sleeper").expect("the workload's thread");
    let report = live.record(&["-t", &tid.to_string(), "-d", "1"]);
    check_closed(&report);
    let threads: Vec<_> = report.threads().map(|thread| (thread.tgid(), thread.tid())).collect();
    assert_eq!(threads, [(workload.pid(), tid)]);
}

/// A program with a name that nobody else has, found by it; with a child, which belongs to it.
#[test]
fn a_running_program_is_found_by_its_name_and_brings_its_children() {
    let Some(live) = Live::start() else { return };
    let name = format!("prf-{}", std::process::id());
    let program = live.path(&name);
    fs::copy("/bin/sh", &program).expect("a copy of the shell");
    let mut command = std::process::Command::new(&program);
    let shell = Running::start({
        command.args(["-c", "sleep 60; true"]);
        command
    });
    let shell = shell.expect("the copy runs");
    wait_until("the child", SOON, || {
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.pid()))
            .is_ok_and(|text| !text.trim().is_empty())
    })
    .expect("the shell starts its child");
    let finished = live.run(&["record", "-d", "1", "-o", &live.path("out.json").to_string_lossy(), &name]);
    let report = Report::read(&live.path("out.json"));
    check_closed(&report);
    assert!(
        report.has_process(shell.pid()) && report.has_process_named("sleep"),
        "{:#}",
        report.0["processes"]
    );
    assert!(finished.stderr.contains(&format!("recording the running `{name}`")), "{finished:?}");
}

#[test]
fn a_command_needs_no_dashes_and_keeps_its_options() {
    let Some(live) = Live::start() else { return };
    let program = directory().join("spin").to_string_lossy().into_owned();
    let report = live.record(&[&program, "1", "0.3"]);
    check_closed(&report);
    assert!(report.has_process_named("spin"), "{:#}", report.0["processes"]);
}

/// Where the report is not on stdout, the verdict is on stderr; and `report` alone finds the capture.
#[test]
fn the_verdict_is_said_and_the_newest_capture_is_found() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["1"]);
    let json = live.path("out.json").to_string_lossy().into_owned();
    let pid = workload.pid().to_string();
    let capture = live.path("profiler-newest.prof").to_string_lossy().into_owned();
    let finished = live.run(&["record", "-p", &pid, "-d", "1", "-o", &json, "-o", &capture]);
    let report = Report::read(&live.path("out.json"));
    let verdict = report.0["verdict"]["id"].as_str().expect("a verdict").to_owned();
    assert!(finished.stderr.contains(&format!("profiler: {verdict} (")), "{finished:?}");

    let of = |arguments: &[&str]| {
        let mut command = live.profiler(arguments);
        command.current_dir(live.path(""));
        run(command, SOON).expect("profiler ends")
    };
    fs::write(live.path("profiler-older.prof"), "not a capture").expect("a file");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let older = fs::File::options().write(true).open(live.path("profiler-older.prof")).expect("the file");
    older.set_modified(long_ago).expect("an old file");
    let (newest, named) = (of(&["report"]), of(&["report", "profiler-newest.prof"]));
    assert!(newest.status.success(), "{newest:?}");
    assert!(newest.stderr.contains("profiler-newest.prof"), "{newest:?}");
    assert_eq!(newest.stdout, named.stdout);
}
