//! Names: what functions are called in a recording, where their debug information or their runtime tells it.
//!
//! Each program here is built or started for its test, and its functions' names are known from its source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use profiler_tests::harness::Live;
use profiler_tests::report::Report;

/// Frames of all stacks of a report, each with its place.
fn frames(report: &Report) -> Vec<(String, Option<String>)> {
    let stacks = ["/stacks/on_cpu", "/stacks/off_cpu"].map(|list| report.0.pointer(list).expect("a list"));
    let stacks = stacks.iter().flat_map(|list| list.as_array().expect("a list"));
    let each = |stack: &serde_json::Value| {
        let frames = stack["frames"].as_array().expect("frames").clone();
        let places = stack["places"].as_array().expect("places").clone();
        assert_eq!(frames.len(), places.len());
        frames.into_iter().zip(places).collect::<Vec<_>>()
    };
    stacks
        .flat_map(each)
        .map(|(frame, place)| (frame.as_str().expect("a name").to_owned(), place.as_str().map(str::to_owned)))
        .collect()
}

#[track_caller]
fn check_has(report: &Report, expected: &str) {
    let frames = frames(report);
    assert!(frames.iter().any(|(frame, _)| frame.contains(expected)), "`{expected}` is not in {frames:#?}");
}

/// Takes away the maps that the recorded processes left behind.
fn remove_perf_maps(report: &Report) {
    for process in report.0["processes"].as_array().expect("processes") {
        // Most have none.
        let _ = fs::remove_file(format!("/tmp/perf-{}.map", process["tgid"]));
    }
}

/// Is a program there? Says so if not.
fn is_there(program: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: there is no `{program}`");
    }
    there
}

/// A node that uses the CPU in one function of its own, for a second and a half.
const JAVASCRIPT: &str = "
function spinInJavaScript(n) { let x = 0; for (let i = 0; i < n; i++) { x = (x * 31 + i) % 1000003; } return x; }
const end = Date.now() + 1500; let sum = 0;
while (Date.now() < end) { sum += spinInJavaScript(100000); }
console.log(sum);
";

/// Without a log of its own, which node would leave in the present directory.
const NODE_FLAGS: &[&str] = &["--perf-basic-prof", "--no-logfile-per-isolate", "--logfile=/dev/null"];

#[test]
fn functions_of_node_have_their_names_after_it_has_ended() {
    let Some(live) = Live::start() else { return };
    if !is_there("node") {
        return;
    }
    let report = live.record(&[&["--", "node"], NODE_FLAGS, &["-e", JAVASCRIPT]].concat());
    remove_perf_maps(&report);
    check_has(&report, "spinInJavaScript");
}

/// In a mount namespace of its own, whose `/tmp` is gone with its last process: only a map that was opened before is
/// still there. That is how containers look from outside.
#[test]
fn functions_of_node_in_a_mount_namespace_that_is_gone_have_their_names() {
    let Some(live) = Live::start() else { return };
    if !is_there("node") || !is_there("unshare") {
        return;
    }
    let inside = format!("mount -t tmpfs none /tmp && exec node {} -e \"$0\"", NODE_FLAGS.join(" "));
    let report = live.record(&["--", "unshare", "-m", "sh", "-c", &inside, JAVASCRIPT]);
    check_has(&report, "spinInJavaScript");
}

const PYTHON: &str = "
import time
def spin_in_python(n):
    x = 0
    for i in range(n): x = (x * 31 + i) % 1000003
    return x
end = time.time() + 1.5
while time.time() < end: spin_in_python(10000)
";

/// A Python that knows `-X perf`: 3.12 or later.
fn python_with_perf_support() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let candidates = ["python3", "python3.12", "python3.13", "python3.14"].map(PathBuf::from);
    let candidates = candidates.into_iter().chain(pyenv.map(|version| version.path().join("bin/python3")));
    let asks = "import sys; sys.exit(not getattr(sys, 'is_stack_trampoline_active', lambda: False)())";
    let can = |python: &PathBuf| {
        let child = Command::new(python).args(["-X", "perf", "-c", asks]).stderr(Stdio::null()).spawn();
        let Ok(mut child) = child else { return false };
        let can = child.wait().is_ok_and(|status| status.success());
        // It has written one already.
        let _ = fs::remove_file(format!("/tmp/perf-{}.map", child.id()));
        can
    };
    candidates.into_iter().find(can)
}

#[test]
fn functions_of_python_have_their_names() {
    let Some(live) = Live::start() else { return };
    let Some(python) = python_with_perf_support() else {
        eprintln!("skipped: there is no Python 3.12 or later with support for perf");
        return;
    };
    let python = python.to_str().expect("a plain path");
    let report = live.record(&["--", python, "-X", "perf", "-c", PYTHON]);
    remove_perf_maps(&report);
    check_has(&report, "py::spin_in_python:");
}

/// Builds a C program in the test's directory.
#[track_caller]
fn cc(live: &Live, source: &str, flags: &[&str]) -> PathBuf {
    let program = live.path("program");
    fs::write(live.path("program.c"), source).expect("write");
    let mut command = Command::new("cc");
    command.args(flags).arg("-o").arg(&program).arg("program.c").current_dir(live.scratch.path());
    assert!(command.status().expect("cc starts").success());
    program
}

/// Line 3 is inlined into line 7.
const C: &str = r"#include <time.h>
volatile unsigned long sink;
static inline __attribute__((always_inline)) void inner(void) { for (int i = 0; i < 1000; i++) sink = sink * 3 + 1; }
__attribute__((noinline)) void outer(void)
{
  time_t end = time(0) + 2;
  while (time(0) < end) inner();
}
int main(void) { outer(); return 0; }
";

#[test]
fn the_report_has_files_and_lines_and_marks_what_is_inlined() {
    let Some(live) = Live::start() else { return };
    let program = cc(&live, C, &["-g", "-O1"]);
    let report = live.record(&["--", program.to_str().expect("a plain path")]);
    let stacks = report.0.pointer("/stacks/on_cpu").and_then(|list| list.as_array()).expect("stacks");
    let stack =
        stacks.iter().find(|stack| stack["frames"].as_array().is_some_and(|f| f.contains(&"inner".into())));
    let stack = stack.expect("a stack in `inner`");
    let at = stack["frames"].as_array().expect("frames").iter().position(|f| f == "inner").expect("inner");
    let place = |at: usize| stack["places"][at].as_str().expect("a place").to_owned();
    assert!(place(at).ends_with("program.c:3"), "{}", place(at));
    assert!(place(at - 1).ends_with("program.c:7"), "{}", place(at - 1));
    assert_eq!((&stack["inlined"][at], &stack["inlined"][at - 1]), (&true.into(), &false.into()));
}

#[test]
fn a_function_without_a_name_is_told_by_its_offset_in_the_file() {
    let Some(live) = Live::start() else { return };
    let program = cc(&live, C, &["-s", "-O1"]);
    let report = live.record(&["--", program.to_str().expect("a plain path")]);
    let frames = frames(&report);
    let offsets = frames.iter().filter_map(|(frame, _)| frame.strip_prefix("[program+0x")?.strip_suffix(']'));
    let offsets: Vec<u64> = offsets.map(|hex| u64::from_str_radix(hex, 16).expect("an offset")).collect();
    let length = fs::metadata(&program).expect("the program").len();
    assert!(!offsets.is_empty() && offsets.iter().all(|&offset| offset < length), "{frames:#?}");
}

/// Puts a sysctl back when dropped.
struct Restored(&'static str, String);

impl Restored {
    fn set(path: &'static str, value: &str) -> Self {
        let before = fs::read_to_string(path).expect("read the sysctl");
        fs::write(path, value).expect("write the sysctl");
        Self(path, before)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = fs::write(self.0, self.1.trim());
    }
}

#[test]
fn hidden_kernel_addresses_stay_addresses_and_the_report_names_the_sysctl() {
    let Some(live) = Live::start() else { return };
    let restored = Restored::set("/proc/sys/kernel/kptr_restrict", "2");
    let report = live.record(&["-a", "-d", "1"]);
    drop(restored);
    check_has(&report, "[kernel+0xffff");
    let skipped = report.0["quality"]["skipped"].to_string();
    assert!(skipped.contains("sysctl kernel.kptr_restrict=1"), "{skipped}");
}

/// What `perf script` calls the kernel functions of its own samples is what they are called here: both read `kallsyms`.
#[test]
fn kernel_functions_have_the_names_that_kallsyms_gives() {
    let Some(live) = Live::start() else { return };
    let report = live.record(&["-a", "-d", "1"]);
    let list = fs::read_to_string("/proc/kallsyms").expect("kallsyms");
    let known: std::collections::HashSet<&str> =
        list.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    let mut kernel = 0;
    for stack in report.0.pointer("/stacks/off_cpu").and_then(|list| list.as_array()).expect("stacks") {
        let frames = stack["frames"].as_array().expect("frames");
        let from = frames.len() - stack["kernel_frames"].as_u64().expect("a number") as usize;
        for frame in &frames[from..] {
            let name = frame.as_str().expect("a name").split(' ').next().unwrap_or_default();
            assert!(known.contains(name), "`{name}` is not in kallsyms");
            kernel += 1;
        }
    }
    assert!(kernel > 20, "{kernel} kernel frames");
}

/// Half a gigabyte of debug information, with samples all over it: at most 300 MB of memory, and no more work, the recording included,
/// than two fifths of what `addr2line` has with one function of each unit, which it has to read whole. The work is measured and not the time: it gives way to everything else on the
/// machine; and beside that of a program that reads the same, because machines differ in speed, and one and the same from hour to hour.
#[test]
#[ignore = "takes a minute or more: `cargo xtask nightly long`"]
fn a_program_of_half_a_gigabyte_is_named_in_bounded_memory() {
    let Some(live) = Live::start() else { return };
    let directory = std::env::temp_dir().join("profiler-big-program");
    fs::create_dir_all(&directory).expect("a directory");
    let program = profiler_tests::big_program::build(&directory).expect("the program is built");
    assert!(fs::metadata(&program).expect("the program").len() > 500_000_000);
    let functions = a_function_of_each_unit(&program);
    let (report, usage) = record_big(&live, &program);
    let frames = frames(&report);
    let work: Vec<_> = frames.iter().filter(|(frame, _)| frame.starts_with("work_u")).collect();
    assert!(!work.is_empty(), "{frames:#?}");
    for (frame, place) in &work {
        let unit = &frame["work_".len()..][.."u0000".len()];
        let place = place.as_deref().unwrap_or_default();
        assert!(place.contains(&format!("unit_{unit}.c:")), "{frame} is said to be at {place}");
    }
    assert!(usage.resident_bytes <= 300 << 20, "{usage:?}");
    let other = cpu_seconds_of_addr2line(&program, &functions);
    assert!(usage.cpu_seconds <= 0.4 * other, "{usage:?}, and {other} s of addr2line");
}

/// Addresses, in hexadecimal.
fn a_function_of_each_unit(program: &Path) -> Vec<String> {
    let listed = Command::new("nm").arg(program).output().expect("nm (package binutils) runs").stdout;
    let lines = String::from_utf8(listed).expect("the names are plain");
    let symbols = lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_unit = symbols.filter(|symbol| symbol.last().is_some_and(|name| is_first_function(name)));
    let addresses: Vec<String> = of_unit.map(|symbol| symbol[0].to_owned()).collect();
    assert!(addresses.len() > 200, "{addresses:?}");
    addresses
}

/// `work_u0007_1`
fn is_first_function(name: &str) -> bool {
    name.strip_prefix("work_u")
        .is_some_and(|rest| rest.split_once('_').is_some_and(|(_, number)| number == "1"))
}

/// CPU time that `addr2line` takes for the names and places of these addresses, with as many of them at once as there are CPUs: the naming
/// that it is compared with keeps all of them busy too, and two CPUs of one core slow each other down.
#[track_caller]
fn cpu_seconds_of_addr2line(program: &Path, addresses: &[String]) -> f64 {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let start = |_| {
        let mut command = Command::new("addr2line");
        command.args(["-f", "-i", "-e"]).arg(program).args(addresses).stdout(Stdio::null());
        command.spawn().expect("addr2line (package binutils) starts")
    };
    let others: Vec<_> = (0..cpus).map(start).collect();
    others.into_iter().map(|other| usage_of(&other).cpu_seconds).sum::<f64>() / cpus as f64
}

#[derive(Debug)]
struct Usage {
    resident_bytes: u64,
    /// Of the whole run: of the profiler's, the recording included.
    cpu_seconds: f64,
}

/// Records five seconds, and tells what that took, as `wait4` says.
#[track_caller]
#[allow(clippy::zombie_processes, reason = "`wait4` takes it, and tells more than `wait`")]
fn record_big(live: &Live, program: &Path) -> (Report, Usage) {
    // Not as the profiler's command, whose work would count as its own.
    let mut big = Command::new(program).arg("8").spawn().expect("the program starts");
    let pid = big.id().to_string();
    let mut command = live.profiler(&["record", "-q", "-d", "5", "-p", &pid, "-o"]);
    let child = command.arg(live.path("out.json")).spawn().expect("profiler starts");
    let usage = usage_of(&child);
    big.kill().and_then(|()| big.wait()).expect("the program ends");
    (live.report(), usage)
}

/// Waits for the successful end of a child that nobody else waits for, and tells what it took.
#[track_caller]
fn usage_of(child: &Child) -> Usage {
    let mut status = 0;
    // SAFETY: `rusage` is made of integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live through the call; the child is ours and not waited for elsewhere.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    assert_eq!((waited, status), (child.id() as i32, 0));
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        resident_bytes: usage.ru_maxrss as u64 * 1024,
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
    }
}
