//! What is recorded: threads, children, names, control groups, commands, namespaces, the whole system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use profiler_tests::counters::Watch;
use profiler_tests::harness::{Live, directory};
use profiler_tests::report::{Report, check_closed, check_near, check_share};
use profiler_tests::running::{Finished, Workload, run};

/// A shell that starts one `spin` after the other. Without `--children` only the shell is recorded, which waits for as long as the
/// kernel counts it neither as running nor as ready. With it, a child lives while the shell waits, and for no longer than the recording
/// goes; the one that runs already when the recording begins is not new, and is missing. Their threads are on a CPU or ready for
/// one all their lives (±10 %: their ends).
#[test]
fn children_are_recorded_when_asked_for() {
    let Some(live) = Live::start() else { return };
    let shell =
        shell_of(&format!("echo ready $$; while :; do {} 1 0.1 >/dev/null; done", program("spin").display()));
    let pid = shell.pid().to_string();

    let watch = Watch::start(vec![shell.pid()]);
    let report = live.record(&["-p", &pid, "-d", "2"]);
    check_closed(&report);
    assert!(!report.has_process_named("spin"), "children were not asked for: {:#}", report.0["processes"]);
    watch.stop().check_blocked(&report, shell.pid(), "child_wait");

    let watch = Watch::start(vec![shell.pid()]);
    let report = live.record(&["-p", &pid, "--children", "-d", "2"]);
    let counted = watch.stop().between(report.interval_unix_ns())[&shell.pid()];
    check_closed(&report);
    let children =
        report.threads().filter(|thread| thread.tid() == thread.tgid() && thread.tgid() != shell.pid());
    let lives: Vec<_> = children.map(|thread| thread.elapsed()).collect();
    let (all, longest) = (lives.iter().sum::<f64>(), lives.iter().copied().fold(0.0, f64::max));
    let waited = counted.blocked_seconds(report.elapsed()) - counted.tolerance();
    assert!(
        all <= report.elapsed() && all + longest >= waited,
        "{lives:?} s of lives, waited for {waited} s"
    );
    let spinning = report.threads().filter(|thread| thread.comm().starts_with("spin-"));
    let (busy, whole) = spinning
        .fold((0.0, 0.0), |(busy, whole), thread| (busy + thread.busy_seconds(), whole + thread.elapsed()));
    // Programs of a tenth of a second: half of it would be too little even where each takes long to start.
    assert!(whole > 0.5 * all, "their threads live {whole} of {all} s");
    check_near("children's busy time", busy, whole, 0.1 * whole);
}

/// `--comm` takes a regular expression over process names.
#[test]
fn processes_are_found_by_name() {
    let Some(live) = Live::start() else { return };
    let wanted = live.workload("duty_cycle", &[]);
    let other = live.workload("spin", &["1"]);
    let report = live.record(&["--comm", "^duty_c.*e$", "-d", "2"]);
    check_closed(&report);
    assert!(
        report.has_process(wanted.pid()) && !report.has_process(other.pid()),
        "{:#}",
        report.0["processes"]
    );
    check_share(report.thread_named("sleeper"), "timer", 1.0, 0.001);
}

/// With `-a` the workload is one process among others, and its account is as exact as alone.
#[test]
fn whole_system_contains_the_workload() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &["200", "100"]);
    let watch = Watch::start(vec![workload.pid()]);
    let report = live.record(&["-a", "-d", "3"]);
    check_closed(&report);
    watch.stop().check_blocked(&report, workload.pid(), "timer");
    assert!(report.0["processes"].as_array().is_some_and(|all| all.len() > 2), "{:#}", report.0["processes"]);
}

/// A process that enters a group below the recorded one, made after the recording began, belongs to the recording; one
/// outside does not.
#[test]
fn control_group_means_everything_below_it() {
    let Some(live) = Live::start() else { return };
    let group = Group::new(cgroup2_mount().join(format!("profiler-tests-{}", std::process::id())));
    let before = live.workload("duty_cycle", &[]);
    group.add(before.pid());
    let outside = live.workload("spin", &["1"]);

    let recording = live.start_recording(&["--cgroup", &group.0.to_string_lossy(), "-d", "3"]);
    let inner = Group::new(group.0.join("inner"));
    let enter = format!("echo $$ > {}/cgroup.procs; exec {} 1", inner.0.display(), program("spin").display());
    let inside = shell_of(&enter);
    let report = live.finish_recording(recording);

    check_closed(&report);
    assert!(report.has_process(before.pid()), "the group's own process: {:#}", report.0["processes"]);
    assert!(!report.has_process(outside.pid()), "a process outside: {:#}", report.0["processes"]);
    let spinning = report.threads().find(|thread| thread.tgid() == inside.pid() && thread.comm() == "spin-0");
    let spinning =
        spinning.unwrap_or_else(|| panic!("no process of the inner group: {:#}", report.0["threads"]));
    check_near("busy", spinning.busy_share(), 1.0, 0.02);
}

/// The exit code of a command is ours, as a shell tells it; what cannot be started has the shell's codes too.
#[test]
fn exit_code_is_the_commands() {
    let Some(live) = Live::start() else { return };
    let not_executable = live.path("data");
    fs::write(&not_executable, "no program").expect("a file");
    let not_executable = not_executable.to_string_lossy();
    check_exit(&live, &["true"], 0);
    check_exit(&live, &["sh", "-c", "sleep 0.05; exit 7"], 7);
    check_exit(&live, &["sh", "-c", "kill -TERM $$"], 128 + libc::SIGTERM);
    check_exit(&live, &["/nonexistent/program"], 127);
    check_exit(&live, &[&not_executable], 126);
}

#[track_caller]
fn check_exit(live: &Live, command: &[&str], expected: i32) {
    let finished = live.record_any(&[&["--"], command].concat());
    assert_eq!(finished.status.code(), Some(expected), "{command:?}: {finished:?}");
}

/// The user `nobody`, on every Linux.
const NOBODY: u32 = 65534;

/// Under sudo the command runs as the user who called it, and the report's file is that user's.
#[test]
fn under_sudo_the_command_is_the_invoking_users() {
    let Some(live) = Live::start() else { return };
    let json = live.path("out.json");
    let mut command = live.profiler(&["record", "-q", "-o"]);
    command.arg(&json).args(["--", "sh", "-c", "sleep 0.1; echo ids $(id -u) $(id -g) $(id -G)"]);
    command
        .env("SUDO_UID", NOBODY.to_string())
        .env("SUDO_GID", NOBODY.to_string())
        .env("SUDO_USER", "nobody");
    let finished = run(command, Duration::from_secs(30)).expect("profiler ends");
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert!(finished.stdout.lines().any(|line| line == "ids 65534 65534 65534"), "{finished:?}");
    assert_eq!(fs::metadata(&json).expect("the report is there").uid(), NOBODY);
}

/// Inside a PID namespace the numbers are the namespace's: in the command line and in the report.
#[test]
fn pids_are_those_of_the_namespace() {
    let Some(live) = Live::start() else { return };
    let json = live.path("out.json");
    let script = "\"$SPIN\" 1 30 >/dev/null & sleep 0.3; echo inner $!; \
                  \"$PROFILER\" record -q -p $! -d 2 -o \"$JSON\"; code=$?; kill $!; exit $code";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]);
    command.env("SPIN", program("spin")).env("PROFILER", live.profiler_path()).env("JSON", &json);
    let finished = run(command, Duration::from_secs(30)).expect("the namespace ends");
    assert!(finished.status.success(), "{finished:?}");
    let inner = inner_pid(&finished);
    assert!(inner < 100, "the namespace counts from one: {inner}");
    let report = Report::read(&json);
    check_closed(&report);
    let spinning = report.thread_named("spin-0");
    assert_eq!(spinning.tgid(), inner);
    check_near("busy", spinning.busy_share(), 1.0, 0.02);
}

#[track_caller]
fn inner_pid(finished: &Finished) -> u32 {
    let pid =
        finished.stdout.lines().find_map(|line| line.strip_prefix("inner ")).and_then(|pid| pid.parse().ok());
    pid.unwrap_or_else(|| panic!("no pid in {finished:?}"))
}

/// A process that executes another image goes on with the same account: its thread id at the end is the process's, the
/// time before and after is one life, and both images only sleep. When another thread than the first executes, that
/// thread takes over the process's id; the books still close.
#[test]
fn exec_by_any_thread_keeps_the_books_closed() {
    let Some(live) = Live::start() else { return };
    for who in ["leader", "thread"] {
        let workload = live.workload("exec_late", &[who, "1.5"]);
        let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
        check_closed(&report);
        let of_leader = report.threads().filter(|thread| thread.tid() == workload.pid());
        let (elapsed, timer) = of_leader.fold((0.0, 0.0), |(elapsed, timer), thread| {
            (elapsed + thread.elapsed(), timer + thread.seconds("timer"))
        });
        check_near(
            "life of the process's first thread id",
            elapsed,
            report.elapsed(),
            0.02 * report.elapsed(),
        );
        // Loading the second image takes a few milliseconds.
        check_near("asleep", timer, report.elapsed(), 0.02 * report.elapsed());
    }
}

/// Ten thousand threads that all wait: each has an account of the recording's whole length, and none is missing.
#[test]
fn ten_thousand_threads_have_an_account_each() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("many_threads", &["10000", "20"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
    check_closed(&report);
    // The threads and the main thread.
    check_near("threads", report.number("/processes/0/threads"), 10_001.0, 0.0);
    let whole = 10_001.0 * report.elapsed();
    check_near("thread-seconds", report.number("/ledger/thread_seconds"), whole, 0.01 * whole);
    check_near("threads that were not seen", report.number("/quality/threads_unseen"), 0.0, 0.0);
}

/// A thousand children a second, each shorter than a millisecond: the books close, losses are counted and below 1 %,
/// and nearly every child is in the account (±2 %: children at the edges).
#[test]
fn fork_storm_is_accounted_for() {
    let Some(live) = Live::start() else { return };
    let truth = live.record_command_with(&["--children"], "fork_storm", &["1000", "3"]);
    let report = live.report();
    check_closed(&report);
    let children = truth["children"].as_f64().expect("a truth");
    assert!(children >= 2500.0, "the storm is one: {children} children");
    let found: f64 = report.0["processes"].as_array().map_or(0.0, |all| all.len() as f64);
    check_near("processes", found, children + 1.0, 0.02 * children);
}

fn program(name: &str) -> PathBuf {
    directory().join(name)
}

/// A shell whose script prints `ready PID`, or ends in a program that does.
#[track_caller]
fn shell_of(script: &str) -> Workload {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg0("sh");
    Workload::start_command(command).expect("the shell gets ready")
}

/// Where the unified hierarchy is mounted; on a machine with the old one beside it, not at the usual place.
#[track_caller]
fn cgroup2_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount =
        fields.find(|fields| fields.get(2) == Some(&"cgroup2")).expect("cgroup2 is mounted somewhere");
    PathBuf::from(mount[1])
}

/// A control group that is removed at the end: its processes go to the group above first.
struct Group(PathBuf);

impl Group {
    fn new(path: PathBuf) -> Self {
        fs::create_dir(&path).expect("a control group");
        Self(path)
    }

    fn add(&self, pid: u32) {
        move_to(&self.0, &pid.to_string()).expect("the process enters the group");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let members = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            // A process that has just ended cannot be moved, and does not need to be.
            let _ = self.0.parent().map(|parent| move_to(parent, pid));
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn move_to(group: &Path, pid: &str) -> std::io::Result<()> {
    fs::write(group.join("cgroup.procs"), pid)
}
