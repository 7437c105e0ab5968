//! Bad input and bad luck: a clear error that says what to do, nothing lost, nothing left behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::harness::{Live, attached_programs};
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::running::{Finished, run, wait_until};

/// Time for what should take a moment.
const SOON: Duration = Duration::from_secs(20);

/// The command failed with this code, and its message has these words.
#[track_caller]
fn check_failure(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    for word in words {
        assert!(finished.stderr.contains(word), "no `{word}` in the message: {finished:?}");
    }
}

#[test]
fn no_such_process_is_an_error_that_names_it() {
    let Some(live) = Live::start() else { return };
    // Above the largest number that a kernel gives.
    let finished = live.record_any(&["-p", "99999999", "-d", "1"]);
    check_failure(&finished, 1, &["99999999"]);
    assert!(!live.path("out.json").exists(), "a report of nothing");
}

#[test]
fn wrong_usage_has_its_own_code() {
    let Some(live) = Live::start() else { return };
    check_failure(&live.record_any(&["-p", "1", "--no-such-option"]), 2, &["--no-such-option"]);
    check_failure(&live.record_any(&["-p", "1", "-d", "soon"]), 2, &["soon"]);
    check_failure(&live.record_any(&["-d", "1"]), 2, &["-p"]);
}

/// Another user has none of the privileges: the message names the capability and the line that mends it.
#[test]
fn missing_privilege_is_named_with_its_remedy() {
    let Some(live) = Live::start() else { return };
    // The directories above cargo's may be closed to others.
    let copy = live.path("profiler");
    fs::copy(live.profiler_path(), &copy).expect("a copy");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    command.args(["record", "-p", &std::process::id().to_string(), "-d", "1"]).current_dir("/");
    let finished = run(command, SOON).expect("profiler ends");
    check_failure(&finished, 77, &["cap_bpf", "try: sudo", "setcap"]);
}

/// A target that ends is the end of the recording, which tells what was seen: a process that spins was on a
/// CPU or ready for one until its end (±2 % for the end itself).
#[test]
fn target_that_ends_is_reported_up_to_its_end() {
    let Some(live) = Live::start() else { return };
    // On an emulated CPU it takes some 5 s to attach.
    let workload = live.workload("spin", &["1", "10"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "40"]);
    check_closed(&report);
    assert!(report.elapsed() < 15.0, "the recording ends with its target: {}", report.elapsed());
    let spinning = report.thread_named("spin-0");
    assert_eq!(spinning.0["ended_inside"], true);
    check_near("busy", spinning.busy_share(), 1.0, 0.02);
}

/// A signal makes the kernel give up the check of a program that is being loaded (`EAGAIN`): it is then loaded again.
#[test]
fn being_stopped_while_attaching_is_no_error() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let recording = live.start_attaching(&["-p", &workload.pid().to_string()]);
    recording.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(100));
    recording.signal(libc::SIGCONT);
    live.wait_until_attached(&recording);
    thread::sleep(Duration::from_secs(1));
    recording.signal(libc::SIGINT);
    check_closed(&live.finish_recording(recording));
}

/// A storm of signals while the programs are loaded: each of them would make the kernel give up, and none is refused for it.
#[test]
fn signals_while_attaching_disturb_nothing() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let recording = live.start_attaching(&["-p", &workload.pid().to_string()]);
    let maps = format!("/proc/{}/maps", recording.pid());
    let started = Instant::now();
    // What is attached last are perf's rings.
    while !fs::read_to_string(&maps).expect("it runs").contains("[perf_event]") {
        recording.signal(libc::SIGTERM);
        thread::sleep(Duration::from_millis(1));
        assert!(started.elapsed() < SOON, "still attaching");
    }
    let finished = recording.finish(SOON).expect("it ends");
    // 4: it ended before its first sample.
    assert!(matches!(finished.status.code(), Some(0 | 4)), "{finished:?}");
    let skipped = live.report().0["quality"]["skipped"].to_string();
    assert!(!skipped.contains("temporarily unavailable") && !skipped.contains("No space left"), "{skipped}");
}

/// Both signals that ask a program to end make it write what there is.
#[test]
fn interrupted_recording_writes_its_result() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let recording = live.start_recording(&["-p", &workload.pid().to_string()]);
        thread::sleep(Duration::from_millis(1500));
        recording.signal(signal);
        let report = live.finish_recording(recording);
        check_closed(&report);
        assert!((1.0..3.0).contains(&report.elapsed()), "length: {}", report.elapsed());
        fs::remove_file(live.path("out.json")).expect("each recording writes its own");
    }
}

/// The kernel lets go of everything when the profiler is killed: its links belong to its descriptors.
#[test]
fn killed_profiler_leaves_nothing_attached() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["1"]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string()]);
    thread::sleep(Duration::from_millis(500));
    let programs = attached_programs(recording.pid());
    assert!(programs.len() >= 3, "at least the hooks for switches, wake-ups and forks: {programs:?}");
    assert!(programs.iter().all(|id| is_loaded(*id)), "bpftool sees them: {programs:?}");

    recording.signal(libc::SIGKILL);
    recording.finish(SOON).expect("nobody outlives SIGKILL");
    let gone = || programs.iter().all(|id| !is_loaded(*id));
    wait_until("the kernel has unloaded the programs", Duration::from_secs(5), gone).expect("nothing stays");
    assert!(!live.path("out.json").exists(), "a partial report under the final name");
}

/// Whether the kernel has a program with this identifier.
fn is_loaded(program: u32) -> bool {
    let mut command = Command::new("bpftool");
    command.args(["prog", "show", "id", &program.to_string()]);
    run(command, SOON).expect("bpftool is installed (`cargo xtask setup --tests`)").status.success()
}

#[test]
fn missing_directory_is_told_before_anything_is_recorded() {
    let Some(live) = Live::start() else { return };
    let started = Instant::now();
    let path = live.path("missing/out.json");
    let pid = std::process::id().to_string();
    let finished = live.run(&["record", "-q", "-p", &pid, "-d", "10", "-o", &path.to_string_lossy()]);
    check_failure(&finished, 1, &["missing"]);
    assert!(started.elapsed() < Duration::from_secs(5), "it recorded first: {:?}", started.elapsed());
}

/// A disk that fills up is an error, and leaves neither a partial file under the final name nor a temporary one. The recording
/// is kept elsewhere, and the message says where.
#[test]
fn full_disk_leaves_no_partial_file_and_loses_nothing() {
    let Some(live) = Live::start() else { return };
    let disk = TinyDisk::mount(live.path("tiny"));
    let workload = live.workload("deep_stack", &[]);
    let elsewhere = live.path("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    for name in ["out.prof", "out.json"] {
        let finished = record_to(&live, workload.pid(), &disk.0.join(name), &elsewhere);
        check_failure(&finished, 1, &["No space left on device", name, "saved the recording as"]);
        assert_eq!(names_in(&disk.0), [""; 0], "files that were left");
        check_saved(&live, &elsewhere, &finished);
    }
    let device = live.path("device.json");
    symlink("/dev/full", &device).expect("a link");
    let finished = record_to(&live, workload.pid(), &device, &elsewhere);
    check_failure(&finished, 1, &["No space left on device", "device.json", "saved the recording as"]);
    check_saved(&live, &elsewhere, &finished);
}

/// Where it can be saved nowhere, what a person can read is on standard output.
#[test]
fn a_recording_that_can_be_saved_nowhere_is_printed() {
    let Some(live) = Live::start() else { return };
    let disk = TinyDisk::mount(live.path("tiny"));
    let workload = live.workload("waits", &[]);
    let finished = record_to(&live, workload.pid(), &disk.0.join("out.json"), &disk.0);
    check_failure(&finished, 1, &["out.json", "the recording could not be saved", "No space left on device"]);
    assert!(finished.stdout.contains("of thread time went"), "{finished:?}");
    assert_eq!(names_in(&disk.0), [""; 0], "files that were left");
}

/// Records for a second, with another directory for temporary files.
#[track_caller]
fn record_to(live: &Live, pid: u32, path: &Path, temporary: &Path) -> Finished {
    let path = path.to_string_lossy();
    let mut command = live.profiler(&["record", "-q", "-p", &pid.to_string(), "-d", "1", "-o", &path]);
    command.env("TMPDIR", temporary);
    run(command, SOON).expect("profiler ends")
}

/// The one file in the directory is the capture that the message names. It is read, and taken away.
#[track_caller]
fn check_saved(live: &Live, directory: &Path, finished: &Finished) {
    let names = names_in(directory);
    assert_eq!(names.len(), 1, "{names:?}");
    let path = directory.join(&names[0]);
    let path = path.to_string_lossy();
    assert!(finished.stderr.contains(&format!("try: profiler report `{path}`")), "{finished:?}");
    let json = live.path("saved.json");
    let read = live.run(&["report", &path, "-o", &json.to_string_lossy()]);
    assert!(read.status.success(), "{read:?}");
    check_closed(&Report::read(&json));
    fs::remove_file(&*path).expect("it is there");
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A file system in memory with room for one page.
struct TinyDisk(PathBuf);

impl TinyDisk {
    #[track_caller]
    fn mount(path: PathBuf) -> Self {
        fs::create_dir(&path).expect("a directory to mount at");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(&path);
        let finished = run(command, SOON).expect("mount ends");
        assert!(finished.status.success(), "{finished:?}");
        Self(path)
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        command.arg(&self.0);
        // A mount that stays is seen when the test's directory cannot be removed.
        let _ = run(command, SOON);
    }
}

/// A capture that is cut short or changed is refused with its name, by a failure and not by a wrong report.
#[test]
fn damaged_captures_are_refused() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let capture = live.path("whole.prof");
    let pid = workload.pid().to_string();
    let finished = live.run(&["record", "-q", "-p", &pid, "-d", "1", "-o", &capture.to_string_lossy()]);
    assert!(finished.status.success(), "{finished:?}");
    let whole = fs::read(&capture).expect("a capture");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    check_refused(&live, "cut.prof", &whole[..whole.len() - 1]);
    check_refused(&live, "half.prof", &whole[..whole.len() / 2]);
    check_refused(&live, "changed.prof", &changed);
    check_refused(&live, "empty.prof", &[]);
    check_refused(&live, "other.prof", b"this is the text of another program");
}

#[track_caller]
fn check_refused(live: &Live, name: &str, content: &[u8]) {
    let path = live.path(name);
    fs::write(&path, content).expect("a file");
    check_failure(&live.run(&["report", &path.to_string_lossy()]), 1, &[name]);
}

/// A directory in which nobody but its owner may write is told as such; root may, so another user has to try.
#[test]
fn report_into_a_closed_directory_fails() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let capture = live.path("a.prof");
    let pid = workload.pid().to_string();
    let finished = live.run(&["record", "-q", "-p", &pid, "-d", "1", "-o", &capture.to_string_lossy()]);
    assert!(finished.status.success(), "{finished:?}");
    let copy = live.path("profiler");
    fs::copy(live.profiler_path(), &copy).expect("a copy");
    for path in [&capture, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).arg("report").arg(&capture);
    command.arg("-o").arg(live.path("out.json")).current_dir(Path::new("/"));
    check_failure(&run(command, SOON).expect("profiler ends"), 1, &["out.json"]);
}
