//! A fixed amount of work for the CPU: what sampling at 99 Hz adds to it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::running::{last_json_line, run};

use super::Bench;
use super::rounds::{Series, in_turn, table};

/// Some seconds of work.
const MILLION_STEPS: &str = "1500";
const LIMIT: Duration = Duration::from_secs(120);

/// What the work's time gains by the profiler and by `perf record`, both at 99 Hz with stacks.
pub fn cpu(bench: &Bench) -> Result<String> {
    let compute = bench.directory.join("compute");
    let with_work = |mut command: Command| {
        command.arg("--").arg(&compute).arg(MILLION_STEPS);
        seconds(command)
    };
    let (report, data) = (bench.path("cpu.json"), bench.path("perf.data"));
    let profiler = || with_work(bench.profiler(&["record", "-q", "-F", "99", "-o", &report]));
    let perf = || {
        let mut command = Command::new("perf");
        command.args(["record", "-q", "-F", "99", "-g", "-o", &data]);
        with_work(command)
    };
    let alone = || {
        let mut command = Command::new(&compute);
        command.arg(MILLION_STEPS);
        seconds(command)
    };
    let variants: Vec<super::rounds::Variant> = vec![
        ("no tool", Box::new(alone)),
        ("profiler record -F 99", Box::new(profiler)),
        ("perf record -F 99 -g", Box::new(perf)),
    ];
    let all = in_turn(bench.rounds, variants)?;
    let loss = |tool: usize| {
        let pairs = all[tool].values.iter().zip(&all[0].values);
        Series::new(all[tool].name, pairs.map(|(with, without)| (with / without - 1.0) * 100.0))
    };
    let losses = table("loss against no tool, %", 2, &[loss(1), loss(2)]);
    Ok(format!(
        "{}\n{losses}\nGoal: the profiler's loss is no more than perf's, within the spread.\n",
        table("the work, seconds", 3, &all)
    ))
}

/// The work's time by its own clock.
fn seconds(command: Command) -> Result<f64> {
    let finished = run(command, LIMIT)?;
    ensure!(finished.status.success(), "it failed: {finished:?}");
    let truth: Vec<_> = finished.stdout.lines().filter(|line| line.starts_with("{\"seconds\"")).collect();
    last_json_line(&truth.join("\n"))?["seconds"].as_f64().context("the work does not tell its time")
}
