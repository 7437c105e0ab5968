//! `cargo xtask bench overhead`: how much slower workloads get under the profiler, under other tools, and under nothing but the
//! hooks.
//!
//! In: the release builds, the workloads of [`workloads`], the tools of [`tools`]. Out: the tables of docs/overhead.md. Each
//! workload runs under each tool once a round; a ratio is that of a run to the run of the same round without a tool.

mod workloads;
mod commands;
mod servers;
mod held;
mod outputs;
mod tools;
mod empty;
mod tables;

pub use self::outputs::pgbench_rate;
pub use self::servers::UnderPgbench;

use anyhow::{Context, Result};

use self::outputs::Measured;
use self::tools::{DISK_TOOLS, FUTEX_TOOLS, NO_TOOL, TOOLS, Tool};
use self::workloads::{DISK_LOADS, FUTEX_LOADS, Load, WORKLOADS, Workload};
use super::rounds::Series;
use super::{Bench, Section, machine};

/// The packages whose programs are measured or compared with.
const PACKAGES: &[&str] = &[
    "linux-perf",
    "libbpf-tools",
    "bpftrace",
    "fio",
    "redis-server",
    "postgresql-15",
    "nginx",
    "wrk",
    "g++",
];

/// So often a tool may fail on a workload before it is left out: some need minutes to fail.
const PATIENCE: usize = 2;

/// A workload, or why it was not measured.
struct Row {
    workload: &'static Workload,
    measured: Result<Vec<UnderTool>, String>,
}

/// One workload under one tool.
struct UnderTool {
    tool: &'static Tool,
    /// Why there are no numbers, or not of all rounds.
    failures: Vec<String>,
    /// With the round, from 0.
    runs: Vec<(usize, Measured)>,
}

/// Everything that docs/overhead.md tells of workloads under tools.
pub fn overhead(bench: &Bench) -> Vec<Section> {
    let machine = format!("{}\n\nWith {}.\n", machine::machine(), machine::packages(PACKAGES));
    let rows = rows(bench, WORKLOADS, TOOLS);
    vec![
        ("overhead-machine", machine),
        ("overhead-summary", tables::summary(&rows, TOOLS, bench.rounds)),
        ("overhead-workloads", tables::workloads(&rows)),
    ]
}

/// What following requests to disks costs, beside biolatency.
pub fn disks(bench: &Bench) -> Section {
    let rows = rows(bench, DISK_LOADS, DISK_TOOLS);
    let losses = ["profiler io", "profiler record -p"].map(|ours| tables::loss_of(&rows, ours, "biolatency"));
    ("overhead-disks", tables::workloads(&rows) + &losses.concat())
}

/// What looking at locks costs, beside a look at each call of `futex`.
pub fn futexes(bench: &Bench) -> Section {
    let rows = rows(bench, FUTEX_LOADS, FUTEX_TOOLS);
    let losses = tables::loss_of(&rows, "profiler record -p", "bpftrace, calls of futex");
    ("overhead-futexes", tables::workloads(&rows) + &losses)
}

fn rows(bench: &Bench, workloads: &'static [Workload], tools: &'static [Tool]) -> Vec<Row> {
    let is_wanted =
        |workload: &&Workload| bench.only.as_ref().is_none_or(|part| workload.name.contains(part));
    workloads.iter().filter(is_wanted).map(|workload| row(bench, workload, tools)).collect()
}

/// A workload that cannot be measured has a row that says why, and the others go on.
fn row(bench: &Bench, workload: &'static Workload, tools: &'static [Tool]) -> Row {
    eprintln!("overhead: {}", workload.name);
    let measured = workload.missing().map_or_else(
        || measured(bench, workload, tools).map_err(|error| format!("{error:#}").replace('\n', " ")),
        Err,
    );
    if let Err(reason) = &measured {
        eprintln!("overhead: {} is NOT measured: {reason}", workload.name);
    }
    Row { workload, measured }
}

fn measured(bench: &Bench, workload: &Workload, tools: &'static [Tool]) -> Result<Vec<UnderTool>> {
    let mut load = (workload.start)(bench)?;
    let mut all: Vec<_> = tools.iter().map(UnderTool::new).collect();
    // The first run of all finds cold caches and a server that has just started.
    once(bench, &mut *load, &tools[0]).context("the first run, which does not count")?;
    for round in 0..usize::from(bench.rounds) {
        for place in turns(all.len(), round, bench.rounds.into()) {
            let UnderTool { tool, failures, runs } = &mut all[place];
            if tool.missing().is_some() || failures.len() == PATIENCE {
                continue;
            }
            match once(bench, &mut *load, tool) {
                Ok(measured) => {
                    eprintln!("round {} of {}, {}: {measured:?}", round + 1, bench.rounds, tool.name);
                    runs.push((round, measured));
                }
                Err(error) if tool.name == NO_TOOL => return Err(error.context("without a tool")),
                Err(error) => {
                    eprintln!("round {}, {} FAILED: {error:#}", round + 1, tool.name);
                    failures.push(format!("round {}: {error:#}", round + 1));
                }
            }
        }
    }
    Ok(all)
}

/// The order of a round: the first round begins with the first, and each later one further on, so that over all rounds each
/// tool has its turn early and late.
fn turns(tools: usize, round: usize, rounds: usize) -> impl Iterator<Item = usize> {
    let first = round * tools / rounds;
    (0..tools).map(move |place| (first + place) % tools)
}

fn once(bench: &Bench, load: &mut dyn Load, tool: &Tool) -> Result<Measured> {
    let ready = load.ready()?;
    let attached = tool.attach(bench, &ready.pids)?;
    let measured = (ready.go)()?;
    attached.stop()?;
    Ok(measured)
}

impl UnderTool {
    fn new(tool: &'static Tool) -> Self {
        let missing = tool.missing().map(|program| format!("`{program}` is missing"));
        Self { tool, failures: missing.into_iter().collect(), runs: Vec::new() }
    }

    /// A number of each run.
    fn series(&self, number: fn(&Measured) -> Option<f64>) -> Series {
        Series::new(self.tool.name, self.runs.iter().filter_map(|(_, run)| number(run)))
    }

    /// The number divided by that of the run without a tool in the same round.
    fn ratios(&self, no_tool: &Self, number: fn(&Measured) -> Option<f64>) -> Series {
        let ratio = |(round, run): &(usize, Measured)| {
            let (_, without) = no_tool.runs.iter().find(|(same, _)| same == round)?;
            Some(number(run)? / number(without)?)
        };
        Series::new(self.tool.name, self.runs.iter().filter_map(ratio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_tool() {
        let orders: Vec<Vec<usize>> = (0..2).map(|round| turns(4, round, 2).collect()).collect();
        assert_eq!(orders, [[0, 1, 2, 3], [2, 3, 0, 1]]);
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let run = |rate| Measured { rate, p99_ms: None };
        let under = |tool, runs: &[(usize, f64)]| UnderTool {
            tool,
            failures: Vec::new(),
            runs: runs.iter().map(|(round, rate)| (*round, run(*rate))).collect(),
        };
        let no_tool = under(&TOOLS[0], &[(0, 10.0), (1, 20.0), (2, 40.0)]);
        let tool = under(&TOOLS[1], &[(0, 5.0), (2, 30.0)]);
        assert_eq!(tool.ratios(&no_tool, |run| Some(run.rate)).values, [0.5, 0.75]);
        assert!(tool.ratios(&no_tool, |run| run.p99_ms).values.is_empty());
    }
}
