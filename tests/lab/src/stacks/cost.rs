//! What stacks cost: the kernel programs by the kernel's own measure (`bpf_stats`), and all of the profiler beside two busy
//! CPUs.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::harness::attached_programs;
use profiler_tests::report::Report;
use profiler_tests::running::{Running, wait_until};
use profiler_tests::servers::{Postgres, process_and_children};

use serde_json::Value;

use crate::Bench;
use crate::rounds::{Series, table};
use crate::usage::run_ns;

/// Time over which the profiler's own CPU time is measured.
const WINDOW: Duration = Duration::from_secs(10);
/// Programs that are not the ledger's. The profiler's process runs the last two itself: its own CPU time has theirs.
const SAMPLERS: [&str; 3] = ["on_cpu_tick", "sample_off_cpu", "seed_threads"];

/// One recording.
struct Cost {
    /// Percent of one CPU that the profiler's process used after its start, by the scheduler's account.
    process: f64,
    /// Percent of one CPU in the on-CPU sampler, which runs in others' time.
    on_cpu: f64,
    /// The same of the ledger's programs.
    ledger: f64,
    /// Microseconds a run of the on-CPU sampler.
    on_cpu_us: Option<f64>,
    /// Microseconds a stack of the off-CPU sampler, with what it spends on the threads that it passes over.
    off_cpu_us: Option<f64>,
}

/// The tables.
pub fn cost(bench: &Bench) -> Result<String> {
    let (mut busy, mut postgres) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let spin = bench.workload("spin", &["2", "120"])?;
        busy.push(recorded(bench, &spin.pid_list())?);
    }
    let server = Postgres::start(bench.path("cost-postgres").into());
    let load = server.load("600");
    thread::sleep(Duration::from_secs(1));
    let pids: Vec<_> = process_and_children(server.pid()).iter().map(u32::to_string).collect();
    for _ in 0..bench.rounds {
        postgres.push(recorded(bench, &pids.join(","))?);
    }
    drop(load);
    server.stop();
    let of = |name, all: &[Cost], value: fn(&Cost) -> f64| Series::new(name, all.iter().map(value));
    let some =
        |name, all: &[Cost], value: fn(&Cost) -> Option<f64>| Series::new(name, all.iter().filter_map(value));
    let busy_table = [
        of("the profiler's process", &busy, |one| one.process),
        of("the on-CPU sampler", &busy, |one| one.on_cpu),
        of("the ledger, at all switches and wake-ups of the machine", &busy, |one| one.ledger),
        of("all", &busy, |one| one.process + one.on_cpu + one.ledger),
    ];
    let kernel = [
        some("on-CPU sample, two busy CPUs", &busy, |one| one.on_cpu_us),
        some("run of the on-CPU sampler, postgres", &postgres, |one| one.on_cpu_us),
        some("off-CPU sample, postgres", &postgres, |one| one.off_cpu_us),
    ];
    let kernel: Vec<_> = kernel.into_iter().filter(|series| !series.values.is_empty()).collect();
    Ok(format!(
        "{}\nGoal: at most 0.5 % for all.\n\n{}\nGoal: at most 10 µs.\n",
        table("two threads that never wait, 99 Hz; % of one CPU", 3, &busy_table),
        table("in the kernel, µs", 2, &kernel)
    ))
}

fn recorded(bench: &Bench, pids: &str) -> Result<Cost> {
    let path = bench.path("cost.json");
    let profiler = Running::start(bench.profiler(&["record", "-q", "-F", "99", "-p", pids, "-o", &path]))?;
    wait_until("attached", WINDOW, || !attached_programs(profiler.pid()).is_empty())?;
    // What follows the attaching belongs to the start.
    thread::sleep(Duration::from_secs(1));
    let (before, from) = (run_ns(profiler.pid())?, Instant::now());
    thread::sleep(WINDOW);
    let process = (run_ns(profiler.pid())? - before) / from.elapsed().as_nanos() as f64;
    profiler.signal(libc::SIGINT);
    let finished = profiler.finish(Duration::from_secs(60))?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    cost_of(&Report::read(path.as_ref()), process)
}

/// The programs run all the time and are measured in a part of it, which the report tells by their share of one CPU.
fn cost_of(report: &Report, process: f64) -> Result<Cost> {
    let programs = report.0["cost"]["programs"].as_array().context("the report has no programs")?;
    let name = |program: &Value| program["name"].as_str().unwrap_or_default().to_owned();
    let seconds = |program: &Value| program["run_seconds"].as_f64().unwrap_or(0.0);
    let all: f64 = programs.iter().map(seconds).sum();
    let measured_seconds = all / report.number("/cost/programs_cpu_ratio");
    let find = |wanted: &str| programs.iter().find(|one| name(one) == wanted);
    let percent = |seconds: f64| seconds / measured_seconds * 100.0;
    let is_ledger = |one: &&Value| !SAMPLERS.contains(&name(one).as_str());
    let samples_a_second = report.number("/quality/counts/offcpu_samples") / report.elapsed();
    let off_cpu = find("sample_off_cpu").map_or(0.0, seconds) / measured_seconds / samples_a_second;
    Ok(Cost {
        process: process * 100.0,
        on_cpu: percent(find("on_cpu_tick").map_or(0.0, seconds)),
        ledger: percent(programs.iter().filter(is_ledger).map(seconds).sum()),
        on_cpu_us: find("on_cpu_tick").and_then(|one| one["ns_per_run"].as_f64()).map(|ns| ns / 1e3),
        off_cpu_us: off_cpu.is_finite().then_some(off_cpu * 1e6),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_measured_in_bursts_is_told_for_the_whole() {
        // 0.1 s of bursts in 10 s, in which the programs take 1.5 % of a CPU.
        let report = Report(json!({
            "elapsed_seconds": 10.0,
            "cost": {
                "programs_cpu_ratio": 0.015,
                "programs": [
                    {"name": "on_cpu_tick", "run_seconds": 0.0008, "runs": 100, "ns_per_run": 8000.0},
                    {"name": "sched_switch", "run_seconds": 0.0005, "runs": 1000, "ns_per_run": 500.0},
                    {"name": "sample_off_cpu", "run_seconds": 0.0002, "runs": 300, "ns_per_run": 667.0},
                ],
            },
            "quality": {"counts": {"offcpu_samples": 2000}},
        }));
        let cost = cost_of(&report, 0.002).unwrap();
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        near(cost.process, 0.2);
        near(cost.on_cpu, 0.8);
        near(cost.ledger, 0.5);
        near(cost.on_cpu_us.unwrap(), 8.0);
        // 2 ms a second for 200 samples a second.
        near(cost.off_cpu_us.unwrap(), 10.0);
    }
}
