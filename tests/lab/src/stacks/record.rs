//! Records a running program with the profiler and with perf at the same time.
//!
//! In: a running program. Out: the stacks of both, on the CPU and off it.
//!
//! perf has no sampler of waiting threads here (Debian's is built without `--off-cpu`). It takes a stack at some
//! of the switches at which a thread begins to wait. That says how a waiting thread's stack unwinds; shares of time it does not.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use profiler_tests::harness::attached_programs;
use profiler_tests::report::Report;
use profiler_tests::running::{Running, run, wait_until};

use super::programs::Started;
use super::sampled::Sampled;
use super::symbols::Symbols;
use super::{folded, perf_script};
use crate::Bench;

/// Length of a recording. perf writes 64 KiB a sample.
pub const SECONDS: &str = "10";
/// perf's stacks of waits a second of each thread. A period (`-c`) would not do: the kernel ignores it for tracepoints
/// whose samples carry their period, as perf's do.
const WAITS_A_SECOND: &str = "25";
const LIMIT: Duration = Duration::from_secs(120);

/// Both sides of one half of a thread's time.
pub struct Both {
    pub ours: Sampled,
    pub perf: Sampled,
}

/// What was recorded of a program.
pub struct Recorded {
    pub on_cpu: Both,
    pub off_cpu: Both,
    pub symbols: Symbols,
}

/// Records the program with both.
pub fn record(bench: &Bench, started: &Started) -> Result<Recorded> {
    let pids = started.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (capture, on_data, off_data) =
        (bench.path("stacks.prof"), bench.path("stacks.on.data"), bench.path("stacks.off.data"));
    let profiler =
        Running::start(bench.profiler(&["record", "-q", "-F", "99", "-p", &pids, "-o", &capture]))?;
    wait_until("attached", Duration::from_secs(10), || !attached_programs(profiler.pid()).is_empty())?;
    let on = Running::start(perf_record(&["-F", "99", "-e", "cpu-clock"], &pids, &on_data))?;
    let waits = ["-e", "sched:sched_switch", "--filter", "prev_state != 0", "-F", WAITS_A_SECOND];
    let off = Running::start(perf_record(&waits, &pids, &off_data))?;
    for perf in [on, off] {
        let finished = perf.finish(LIMIT)?;
        ensure!(finished.status.success(), "perf record failed: {finished:?}");
    }
    profiler.signal(libc::SIGINT);
    let finished = profiler.finish(LIMIT)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    // While the processes live: perf's map of node's code and the mapped files are theirs.
    let perf = [perf_stacks(&on_data)?, perf_stacks(&off_data)?];
    let symbols = Symbols::of(&started.pids)?;
    for file in [on_data, off_data] {
        fs::remove_file(file)?;
    }
    let report = report(bench, &capture)?;
    let [on_perf, off_perf] = perf;
    Ok(Recorded {
        on_cpu: Both { ours: our_stacks(bench, &capture, &report, "cpu", "oncpu")?, perf: on_perf },
        off_cpu: Both { ours: our_stacks(bench, &capture, &report, "offcpu", "offcpu")?, perf: off_perf },
        symbols,
    })
}

fn perf_record(event: &[&str], pids: &str, data: &str) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-m", "16M"]).args(event);
    perf.args(["--call-graph", "dwarf,65528", "-p", pids, "-o", data, "--", "sleep", SECONDS]);
    perf
}

fn perf_stacks(data: &str) -> Result<Sampled> {
    let mut script = Command::new("perf");
    script.args(["script", "-i", data, "--no-inline", "--show-lost-events", "-F", "tid,ip,sym,symoff,dso"]);
    let finished = run(script, LIMIT)?;
    ensure!(finished.status.success(), "perf script failed: {}", finished.stderr);
    Ok(perf_script::read(&finished.stdout))
}

fn report(bench: &Bench, capture: &str) -> Result<Report> {
    let path = bench.path("stacks.json");
    render(bench, &["report", capture, "-o", &path])?;
    Ok(Report::read(path.as_ref()))
}

fn our_stacks(bench: &Bench, capture: &str, report: &Report, view: &str, counter: &str) -> Result<Sampled> {
    let path = bench.path("stacks.folded");
    render(bench, &["report", capture, "--view", view, "-o", &path])?;
    let count = |what: &str| report.number(&format!("/quality/counts/{counter}_{what}")) as u64;
    folded::read(&fs::read_to_string(path)?, count("samples"), count("dropped"))
}

fn render(bench: &Bench, arguments: &[&str]) -> Result<()> {
    let finished = run(bench.profiler(arguments), LIMIT)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    Ok(())
}
