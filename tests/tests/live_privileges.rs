//! Who may record, what a recording profiler can still do, and whose its results are.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use profiler_tests::harness::{Live, directory};
use profiler_tests::report::{Report, check_closed};
use profiler_tests::running::{Finished, run, wait_until};
use profiler_tests::setting::Setting;

const SOON: Duration = Duration::from_secs(40);
/// Nobody, who owns no process and no file.
const USER: u32 = 65534;
/// What recording needs, and no more.
const NEEDED: &str = "bpf,perfmon,sys_ptrace,dac_read_search";
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_BPF: u64 = 1 << 39;
/// `cap_dac_read_search`, `cap_sys_ptrace` and `cap_checkpoint_restore`.
const READING: u64 = 1 << 2 | 1 << 19 | 1 << 40;

/// A copy of the profiler that another user can run, and a directory of that user's for the results.
struct Other {
    profiler: PathBuf,
    results: PathBuf,
    _paranoia: Setting,
}

impl Other {
    #[track_caller]
    fn new(live: &Live) -> Self {
        // The directories above cargo's may be closed to others.
        let (profiler, results) = (live.path("profiler"), live.path("results"));
        fs::copy(live.profiler_path(), &profiler).expect("a copy");
        fs::create_dir(&results).expect("a directory");
        fs::set_permissions(&results, fs::Permissions::from_mode(0o700)).expect("it is ours");
        chown(&results, Some(USER), Some(USER)).expect("root may");
        // Above 2 Debian's kernels let only those with cap_sys_admin have perf events, whatever cap_perfmon is for.
        let paranoia = Setting::change("/proc/sys/kernel/perf_event_paranoid", "2");
        Self { profiler, results, _paranoia: paranoia }
    }

    fn json(&self) -> PathBuf {
        self.results.join("out.json")
    }

    /// `profiler` as that user with these capabilities.
    fn command(&self, capabilities: &str) -> Command {
        let list = format!(",+{}", capabilities.replace(',', ",+"));
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()]);
        command.args([format!("--inh-caps=-all{list}"), format!("--ambient-caps=-all{list}")]);
        command.arg(&self.profiler).current_dir("/");
        without_limit_of_locked_memory(&mut command);
        command
    }

    /// Records as that user.
    #[track_caller]
    fn record(&self, capabilities: &str, arguments: &[&str]) -> (Report, Finished) {
        let mut command = self.command(capabilities);
        command.args(["record", "-o", "-", "-o"]).arg(self.json()).args(arguments);
        self.finish(command)
    }

    #[track_caller]
    fn finish(&self, command: Command) -> (Report, Finished) {
        let finished = run(command, SOON).expect("profiler ends");
        assert!(finished.status.success(), "{finished:?}");
        check_owner(&self.json(), USER);
        (Report::read(&self.json()), finished)
    }
}

/// A file for this user's eyes alone.
#[track_caller]
fn check_owner(path: &Path, uid: u32) {
    let metadata = fs::metadata(path).expect("the result");
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (uid, 0o600), "{}", path.display());
}

#[track_caller]
fn check_skipped(report: &Report, part: &str, expected: bool) {
    let skipped = report.0["quality"]["skipped"].to_string();
    assert_eq!(skipped.contains(part), expected, "`{part}` in {skipped}");
}

/// Names of all functions of the stacks.
fn functions(report: &Report) -> Vec<String> {
    let lists = ["/stacks/on_cpu", "/stacks/off_cpu"].map(|list| report.0.pointer(list));
    let stacks = lists.into_iter().flatten().filter_map(|list| list.as_array()).flatten();
    let frames = stacks.filter_map(|stack| stack["frames"].as_array()).flatten();
    frames.filter_map(|frame| frame.as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn check_has_function(report: &Report, part: &str) {
    let functions = functions(report);
    assert!(functions.iter().any(|name| name.contains(part)), "no `{part}` in {functions:#?}");
}

/// Five capabilities, and root's process: stacks with names, kernel functions too. What is missing is told.
#[test]
fn a_user_with_five_capabilities_records_another_users_process() {
    let Some(live) = Live::start() else { return };
    let (other, workload) = (Other::new(&live), live.workload("deep_stack", &[]));
    let capabilities = format!("{NEEDED},syslog");
    let (report, finished) = other.record(&capabilities, &["-p", &workload.pid().to_string(), "-d", "2"]);
    check_closed(&report);
    check_has_function(&report, "bottom_spin");
    check_has_function(&report, "bottom_sleep");
    check_has_function(&report, "nanosleep");
    check_skipped(&report, "cap_sys_admin", true);
    check_skipped(&report, "cap_checkpoint_restore", true);
    check_skipped(&report, "kernel functions have no names", false);
    check_skipped(&report, "mappings are only read from /proc", false);
    check_skipped(&report, "system calls are not restricted", false);
    let why = "Kernel programs: not measured (this process lacks cap_sys_admin)";
    assert!(finished.stdout.contains(why), "{}", finished.stdout);
}

/// Where the kernel measures all programs anyway, it takes no capability to tell what ours cost. Only what is measured in bursts
/// counts: of two seconds at 99 ticks, few.
#[test]
fn run_times_that_the_machine_measures_anyway_are_told() {
    let Some(live) = Live::start() else { return };
    let _measured = Setting::change("/proc/sys/kernel/bpf_stats_enabled", "1");
    let (other, workload) = (Other::new(&live), live.workload("spin", &["1"]));
    let (report, _) = other.record(NEEDED, &["-p", &workload.pid().to_string(), "-d", "2"]);
    check_skipped(&report, "cap_sys_admin", false);
    let programs = report.0["cost"]["programs"].as_array().expect("a list");
    let ticks = programs.iter().find(|program| program["name"] == "on_cpu_tick").expect("it ran");
    let runs = ticks["runs"].as_u64().expect("a number");
    // Two bursts of 40 ms, on each CPU that the target may use.
    assert!((2..60).contains(&runs), "{ticks}");
}

/// The same by capabilities of the file, as `setcap` gives them.
#[test]
fn the_line_that_is_printed_for_setcap_is_enough() {
    let Some(live) = Live::start() else { return };
    let (other, workload) = (Other::new(&live), live.workload("deep_stack", &[]));
    let mut denied = Command::new("setpriv");
    denied
        .args([&format!("--reuid={USER}"), "--clear-groups"])
        .arg(&other.profiler)
        .args(["record", "-a", "-o"]);
    denied.arg(other.json()).current_dir("/");
    let stderr = run(denied, SOON).expect("profiler ends").stderr;
    let line = stderr.lines().find_map(|line| line.split_once("sudo setcap ")).expect("the line").1;
    let setcap = run(command("setcap", &line.split(' ').collect::<Vec<_>>()), SOON).expect("setcap ends");
    assert!(setcap.status.success(), "{setcap:?}");
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
    command.arg(&other.profiler).args(["record", "-d", "2", "-p", &workload.pid().to_string(), "-o"]);
    without_limit_of_locked_memory(&mut command);
    command.arg(other.json()).current_dir("/");
    let (report, _) = other.finish(command);
    check_has_function(&report, "bottom_spin");
    check_skipped(&report, "cap_checkpoint_restore", false);
}

/// Before Linux 5.11 maps count as locked memory, of which only root may have more than it was given.
fn without_limit_of_locked_memory(command: &mut Command) {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: one system call, which is safe after a fork, and reads one `rlimit` from a valid place.
    unsafe {
        command.pre_exec(move || {
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited);
            Ok(())
        });
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Without the sixth, kernel functions have no names where the kernel hides its addresses, and the report says so.
#[test]
fn without_syslog_kernel_functions_may_have_no_names() {
    let Some(live) = Live::start() else { return };
    let (other, workload) = (Other::new(&live), live.workload("deep_stack", &[]));
    let setting = Setting::change("/proc/sys/kernel/kptr_restrict", "1");
    let pid = workload.pid().to_string();
    let without = other.record(NEEDED, &["-p", &pid, "-d", "1"]).0;
    let with = other.record(&format!("{NEEDED},syslog"), &["-p", &pid, "-d", "1"]).0;
    drop(setting);
    check_skipped(&without, "kernel functions have no names", true);
    check_skipped(&with, "kernel functions have no names", false);
    check_has_function(&with, "nanosleep");
}

/// Each kind of target, behind the filter and with nothing but what is needed.
#[test]
fn every_kind_of_target_is_recorded_without_root() {
    let Some(live) = Live::start() else { return };
    let (other, workload) = (Other::new(&live), live.workload("deep_stack", &[]));
    let pid = workload.pid().to_string();
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
    let group = group.lines().find_map(|line| line.strip_prefix("0::")).expect("version 2").to_owned();
    for target in
        [vec!["-p", &pid, "--children"], vec!["-a"], vec!["--comm", "deep_stack"], vec!["--cgroup", &group]]
    {
        let (report, _) = other.record(NEEDED, &[&target[..], &["-d", "1"]].concat());
        // Not how much was lost: what else runs on the machine is recorded too.
        assert!(report.number("/ledger/residual_ratio") <= 0.01, "{:#}", report.0["ledger"]);
        assert!(report.has_process(workload.pid()), "{target:?}: {:#}", report.0["processes"]);
        check_has_function(&report, "bottom_spin");
    }
}

/// A program that is deleted while it runs has its names without `cap_checkpoint_restore`, too.
#[test]
fn a_program_that_was_deleted_has_names_without_root() {
    let Some(live) = Live::start() else { return };
    let program = live.path("gone");
    fs::copy(directory().join("deep_stack"), &program).expect("a copy");
    let workload =
        profiler_tests::running::Workload::start(live.scratch.path(), "gone", &[]).expect("it runs");
    let other = Other::new(&live);
    fs::remove_file(&program).expect("it is ours");
    let (report, _) = other.record(NEEDED, &["-p", &workload.pid().to_string(), "-d", "1"]);
    check_has_function(&report, "bottom_spin");
}

/// A line of `/proc/PID/task/TID/status`.
fn status_line(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no `{name}` in {status}")).trim().to_owned()
}

fn capabilities(status: &str, set: &str) -> u64 {
    u64::from_str_radix(&status_line(status, set), 16).expect("a number")
}

/// Before 5.19 a kernel with `unprivileged_bpf_disabled` lets nobody use maps without the capability.
fn maps_need_cap_bpf() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let disabled = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    version < (5, 19) && disabled.is_ok_and(|value| value.trim() != "0")
}

/// Once it records, no thread can do more than read its targets; the one that switches the kernel's statistics on can do
/// nothing else.
#[test]
fn a_recording_profiler_has_given_up_what_it_does_not_need() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &[]);
    let recording = live.start_recording(&["-p", &workload.pid().to_string()]);
    let task = format!("/proc/{}/task", recording.pid());
    let statuses = || -> Vec<String> {
        let threads = fs::read_dir(&task).expect("its threads").flatten();
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).collect()
    };
    let confined = |status: &String| status_line(status, "Seccomp") == "2";
    wait_until("confined", SOON, || statuses().iter().all(confined)).expect("all threads are");
    std::thread::sleep(Duration::from_secs(1));
    let statuses = statuses();
    let reading = if maps_need_cap_bpf() { READING | CAP_BPF } else { READING };
    for status in &statuses {
        let is_keeper = status_line(status, "Name") == "run-time-stats";
        let (allowed, filters) = if is_keeper { (CAP_SYS_ADMIN, "3") } else { (reading, "2") };
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(capabilities(status, set) & !allowed, 0, "{set} in {status}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(capabilities(status, set), 0, "{set} in {status}");
        }
        assert_eq!(status_line(status, "NoNewPrivs"), "1");
        assert_eq!(status_line(status, "Seccomp_filters"), filters, "{status}");
    }
    assert_eq!(statuses.len(), 2, "{statuses:#?}");
    recording.signal(libc::SIGINT);
    let report = live.finish_recording(recording);
    check_skipped(&report, "cap_sys_admin", false);
    let runs = |program: &serde_json::Value| program["runs"].as_f64() > Some(0.0);
    assert!(report.0["cost"]["programs"].as_array().expect("a list").iter().any(runs), "none was measured");
}

/// A command gets none of the profiler's privileges, and none of its restrictions: a setuid program works in it.
#[test]
fn a_command_is_neither_privileged_nor_confined() {
    let Some(live) = Live::start() else { return };
    let other = Other::new(&live);
    let (secret, cat) = (live.path("secret"), live.path("cat"));
    fs::write(&secret, "root's alone\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::copy("/bin/cat", &cat).expect("a copy");
    fs::set_permissions(&cat, fs::Permissions::from_mode(0o4755)).expect("it is ours");
    let script = format!("cat /proc/self/status; {} {}; sleep 0.3", cat.display(), secret.display());
    let mut command = other.command(NEEDED);
    command.args(["record", "-q", "-o"]).arg(other.json()).args(["--", "sh", "-c", &script]);
    let (_, finished) = other.finish(command);
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(capabilities(&finished.stdout, set), 0, "{}", finished.stdout);
    }
    assert_eq!(status_line(&finished.stdout, "NoNewPrivs"), "0");
    assert_eq!(status_line(&finished.stdout, "Seccomp"), "0");
    assert!(finished.stdout.contains("root's alone"), "{}", finished.stdout);
}

/// Under sudo: results in the user's directory and in a shared one are the user's, those where only root may write are
/// written too.
#[test]
fn results_under_sudo_belong_to_the_user() {
    let Some(live) = Live::start() else { return };
    let (other, workload) = (Other::new(&live), live.workload("deep_stack", &[]));
    let shared = live.path("shared");
    fs::create_dir(&shared).expect("a directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("it is ours");
    let record = |paths: &[&Path]| {
        let mut command = live.profiler(&["record", "-q", "-d", "1", "-p", &workload.pid().to_string()]);
        command.args(paths.iter().flat_map(|path| [Path::new("-o"), path]));
        command.envs([("SUDO_UID", USER.to_string()), ("SUDO_GID", USER.to_string())]);
        command.env("SUDO_USER", "nobody").current_dir("/");
        let finished = run(command, SOON).expect("profiler ends");
        assert!(finished.status.success(), "{finished:?}");
    };
    record(&[&other.json(), &shared.join("out.prof")]);
    check_owner(&other.json(), USER);
    check_owner(&shared.join("out.prof"), USER);
    let roots = live.path("roots");
    fs::create_dir(&roots).expect("a directory");
    record(&[&roots.join("out.prof")]);
    let mode = fs::metadata(roots.join("out.prof")).expect("the result").mode();
    assert_eq!(mode & 0o7777, 0o600);
    // A file of root's that a link in the shared directory leads to is not written, nor given away.
    let (precious, link) = (live.path("precious"), shared.join("link.json"));
    fs::write(&precious, "root's").expect("a file");
    std::os::unix::fs::symlink(&precious, &link).expect("a link");
    chown_link(&link);
    record(&[&link]);
    assert_eq!(fs::read_to_string(&precious).expect("there"), "root's");
    assert_eq!(fs::metadata(&precious).expect("there").uid(), 0);
    check_owner(&link, USER);
}

fn chown_link(link: &Path) {
    std::os::unix::fs::lchown(link, Some(USER), Some(USER)).expect("root may");
}

/// Root, in a directory that belongs to a user who did not call sudo: written as before.
#[test]
fn root_writes_into_anybodys_directory() {
    let Some(live) = Live::start() else { return };
    let (other, workload) = (Other::new(&live), live.workload("deep_stack", &[]));
    let json = other.json();
    let arguments =
        ["record", "-q", "-d", "1", "-p", &workload.pid().to_string(), "-o", &json.to_string_lossy()];
    let finished = live.run(&arguments);
    assert!(finished.status.success(), "{finished:?}");
    check_owner(&json, 0);
}

/// SIGTERM reaches a command that runs as another user, though the profiler may signal nobody else.
#[test]
fn a_command_of_another_user_is_ended_with_the_recording() {
    let Some(live) = Live::start() else { return };
    let other = Other::new(&live);
    let mut command = live.profiler(&["record", "-q", "-o"]);
    command.arg(other.json()).args(["--", "sleep", "60"]);
    command.envs([("SUDO_UID", USER.to_string()), ("SUDO_GID", USER.to_string())]).current_dir("/");
    let recording = profiler_tests::running::Running::start(command).expect("profiler starts");
    let attached = || !profiler_tests::harness::attached_programs(recording.pid()).is_empty();
    wait_until("attached", SOON, attached).expect("it attaches");
    std::thread::sleep(Duration::from_secs(1));
    recording.signal(libc::SIGTERM);
    let finished = recording.finish(SOON).expect("it ends");
    assert_eq!(finished.status.code(), Some(128 + libc::SIGTERM), "{finished:?}");
    check_owner(&other.json(), USER);
}
