//! `profiler doctor` on this machine, with less privileges than it wants, and with settings that it warns of.

use std::fs;
use std::io;
use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
use std::process::Command;
use std::time::Duration;

use profiler_tests::harness::Live;
use profiler_tests::running::{Finished, run};
use profiler_tests::setting::Setting;
use serde_json::Value;

/// The doctor attaches everything once.
const LIMIT: Duration = Duration::from_secs(20);

/// Each check.
const NAMES: &[&str] = &[
    "kernel",
    "BTF",
    "lockdown",
    "perf_event_paranoid",
    "perf_event_max_sample_rate",
    "unprivileged_bpf_disabled",
    "bpf_jit_enable",
    "kptr_restrict",
    "schedstat",
    "tracefs",
    "capabilities",
    "wanted capabilities",
    "user namespace",
    "seccomp",
    "container",
    "PID namespace",
    "cgroup version 2",
    "memory",
    "locked memory",
    "kernel programs",
    "scheduler events",
    "task iterator",
    "on-CPU sampler",
    "hardware counters",
    "off-CPU sampler",
    "block events",
    "contention events",
    "mapping events",
    "run-time statistics",
];

/// Verdict and name of each line that has one: the columns of the text are fixed.
fn lines(text: &str) -> Vec<(String, String)> {
    let columns =
        |line: &str| Some((line.get(2..12)?.trim().to_owned(), line.get(14..41)?.trim().to_owned()));
    let is_verdict =
        |(verdict, _): &(String, String)| ["works", "degraded", "impossible"].contains(&verdict.as_str());
    text.lines().filter(|line| line.starts_with("  ")).filter_map(columns).filter(is_verdict).collect()
}

/// The text with each sentence on one line.
fn unwrapped(text: &str) -> String {
    let continues = format!("\n{:44}", "");
    text.replace(&continues, " ")
}

/// The doctor ended with this code, and its text has these words.
#[track_caller]
fn check_told(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.status.code(), Some(code), "{finished:?}");
    let text = unwrapped(&finished.stdout);
    for word in words {
        assert!(text.contains(word), "no `{word}` in {finished:?}");
    }
}

#[track_caller]
fn check_verdict(text: &str, name: &str, verdict: &str) {
    let found = lines(text).into_iter().find(|(_, of)| of == name);
    assert_eq!(found.map(|(verdict, _)| verdict).as_deref(), Some(verdict), "{name} in\n{text}");
}

#[track_caller]
fn doctor(live: &Live, wrapper: &[&str], arguments: &[&str]) -> Finished {
    // The directories above cargo's may be closed to others.
    let copy = live.path("profiler");
    fs::copy(live.profiler_path(), &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (program, before) = wrapper.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(before).arg(&copy).arg("doctor").args(arguments).current_dir("/");
    run(command, LIMIT).expect("profiler ends")
}

/// This machine records in all the other live tests, so the doctor must not call it unable.
#[test]
fn each_check_is_told_and_a_machine_that_records_can() {
    let Some(live) = Live::start() else { return };
    let finished = live.run(&["doctor"]);
    let told = lines(&finished.stdout);
    let names: Vec<&str> = told.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, NAMES, "{finished:?}");
    for name in ["capabilities", "BTF", "scheduler events", "on-CPU sampler", "task iterator"] {
        check_verdict(&finished.stdout, name, "works");
    }
    let cpus = fs::read_to_string("/proc/cpuinfo").expect("/proc is mounted");
    if cpus.contains(" hypervisor") {
        // By design: a machine that lacks nothing else is ready.
        check_verdict(&finished.stdout, "hardware counters", "works");
    }
    let is_ready = told.iter().all(|(verdict, _)| verdict == "works");
    assert_eq!(finished.status.code(), Some(i32::from(!is_ready)), "{finished:?}");
    assert!(finished.stdout.is_ascii(), "{finished:?}");
    assert!(finished.stdout.lines().all(|line| line.len() <= 120), "{finished:?}");
}

#[test]
fn json_has_the_same_verdicts_as_the_text() {
    let Some(live) = Live::start() else { return };
    let (text, json) = (live.run(&["doctor"]), live.run(&["doctor", "--json"]));
    let document: Value = serde_json::from_str(&json.stdout).expect("one JSON object");
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["exit_code"].as_i64(), json.status.code().map(i64::from));
    assert_eq!(text.status.code(), json.status.code());
    let findings = document["findings"].as_array().expect("a list");
    let word = |finding: &Value, key: &str| finding[key].as_str().expect("text").to_owned();
    let told: Vec<_> =
        findings.iter().map(|finding| (word(finding, "verdict"), word(finding, "name"))).collect();
    assert_eq!(told, lines(&text.stdout));
}

#[test]
fn without_privileges_the_capability_and_the_line_that_mends_it_are_named() {
    let Some(live) = Live::start() else { return };
    let finished = doctor(&live, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &[]);
    let words =
        ["cannot run", "lacks cap_bpf, cap_perfmon", "fix: sudo /", "fix: sudo setcap cap_bpf,cap_perfmon,"];
    check_told(&finished, 2, &words);
    check_verdict(&finished.stdout, "scheduler events", "impossible");
    check_told(&finished, 2, &["not tried: needs cap_bpf and cap_perfmon"]);
}

#[test]
fn one_missing_capability_is_told_alone() {
    let Some(live) = Live::start() else { return };
    let finished = doctor(&live, &["setpriv", "--bounding-set=-bpf"], &[]);
    check_told(&finished, 2, &["lacks cap_bpf\n", "not tried: needs cap_bpf\n"]);
}

/// The doctor and a recording name the same line; the recording does so before it begins, and only where it matters.
#[test]
fn hidden_kernel_symbols_are_degraded_and_the_sysctl_is_named() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let pid = workload.pid().to_string();
    let out = live.path("out.json").to_string_lossy().into_owned();
    let arguments = ["record", "-p", &pid, "-d", "1", "-o", &out];
    let (hidden, told) = {
        let _setting = Setting::change("/proc/sys/kernel/kptr_restrict", "2");
        (live.run(&["doctor"]), live.run(&arguments))
    };
    check_told(&hidden, 1, &["fix: sudo sysctl kernel.kptr_restrict=1\n"]);
    check_verdict(&hidden.stdout, "kptr_restrict", "degraded");
    let warning = "profiler: kptr_restrict is degraded: 2; lost: the names of kernel functions\n  \
                   try: sudo sysctl kernel.kptr_restrict=1\n";
    assert!(told.stderr.contains(warning), "{told:?}");
    assert_eq!(told.stderr.matches("kptr_restrict is").count(), 1, "{told:?}");
    let shown = live.run(&arguments);
    assert!(shown.status.success(), "{shown:?}");
    assert!(!shown.stderr.contains("kptr_restrict") && !shown.stderr.contains("hardware"), "{shown:?}");
}

#[test]
fn a_nested_pid_namespace_is_degraded() {
    let Some(live) = Live::start() else { return };
    let finished = doctor(&live, &["unshare", "--pid", "--fork", "--mount-proc"], &[]);
    check_verdict(&finished.stdout, "PID namespace", "degraded");
    check_told(&finished, 1, &["fix: Docker: docker run --pid=host"]);
}

/// A filter that kills who calls bpf(2): the doctor outlives it, and does not try the probes.
#[test]
fn a_seccomp_filter_is_told_and_survived() {
    let Some(live) = Live::start() else { return };
    let mut command = live.profiler(&["doctor"]);
    // SAFETY: one system call, which is safe after a fork.
    unsafe { command.pre_exec(kill_at_bpf) };
    let finished = run(command, LIMIT).expect("profiler ends");
    check_told(&finished, 2, &["it refuses bpf\n", "seccomp=unconfined", "not tried: a seccomp filter"]);
    check_verdict(&finished.stdout, "seccomp", "impossible");
}

fn kill_at_bpf() -> io::Result<()> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K; the number of the call is at offset 0.
    let mut filter = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, libc::SYS_bpf as u32),
        step(0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the filter, whose length is true; root needs no `no_new_privs`.
    let failed =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}
