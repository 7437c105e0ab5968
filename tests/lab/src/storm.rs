//! A switch storm: two processes on one CPU that do nothing but wake each other through pipes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::harness::attached_programs;
use profiler_tests::running::{Running, Workload, wait_until};

use super::rounds::{Series, in_turn, table};
use super::{Bench, profiler};

/// The storm's own arguments: CPU, seconds that count, seconds before in which the tool must get attached.
const STORM: [&str; 3] = ["0", "3", "3"];
const TIME_TO_ATTACH: Duration = Duration::from_millis(2500);

/// What a round trip gains by the profiler, as a part of what it gains by `offcputime`.
pub fn storm(bench: &Bench) -> Result<String> {
    let recorder = |storm: &Workload| storm_recorder(bench, &bench.profiler, storm);
    let all = in_turn(
        bench.rounds,
        vec![
            ("no tool", Box::new(|| round_trip(bench, |_| None))),
            ("profiler, both ends recorded", Box::new(|| round_trip(bench, |storm| Some(recorder(storm))))),
            (
                "offcputime without a filter",
                Box::new(|| round_trip(bench, |_| Some(Command::new("offcputime")))),
            ),
        ],
    )?;
    let gain =
        |tool: usize| all[tool].values.iter().zip(&all[0].values).map(|(with, without)| with - without);
    let ratio = Series::new(
        "slowdown by the profiler / by offcputime",
        gain(1).zip(gain(2)).map(|(ours, theirs)| ours / theirs),
    );
    let times = table("one round trip, nanoseconds", 0, &all);
    Ok(format!("{times}\n{}\nGoal: at most 0.15.\n", table("ratio, round by round", 3, &[ratio])))
}

/// A build of `profiler` that records both ends of the storm.
pub fn storm_recorder(bench: &Bench, program: &Path, storm: &Workload) -> Command {
    profiler(program, &["record", "-q", "-p", &storm.pid_list(), "-o", &bench.path("storm.json")])
}

/// Nanoseconds of a round trip, with a tool attached throughout.
pub fn round_trip(bench: &Bench, tool: impl FnOnce(&Workload) -> Option<Command>) -> Result<f64> {
    let storm = bench.workload("pipe_pingpong", &STORM)?;
    let tool = tool(&storm).map(Running::start).transpose()?;
    if let Some(tool) = &tool {
        wait_until("the tool is attached", TIME_TO_ATTACH, || !attached_programs(tool.pid()).is_empty())?;
    }
    let truth = storm.truth()?;
    if let Some(tool) = tool {
        tool.signal(libc::SIGINT);
        tool.finish(Duration::from_secs(30))?;
    }
    truth["ns_per_round_trip"].as_f64().context("the storm does not tell its round trips")
}
