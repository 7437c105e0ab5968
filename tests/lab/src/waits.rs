//! Waits for a CPU beside `perf sched timehist` and `runqlat`, of the same threads at the same time.
//!
//! perf has each wait, from the wake-up to the switch, so its quantiles are exact; runqlat has a histogram of powers of
//! two, so each of its quantiles is one of its rows. perf says nothing of how long a thread waits that was preempted, and
//! the other two count that: so threads sleep here, and work for less than a slice. All of them are on the first CPU: of
//! another CPU, perf 6.1 on Linux 6.18 had no switches from its idle thread, and so a third of the waits less.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::report::Report;
use profiler_tests::running::Running;

use super::Bench;
use super::rounds::Series;

/// Threads, and how many of them work for 1 ms in every 100 ms.
const WORKLOAD: [&str; 2] = ["40", "40"];
const SECONDS: &str = "6";
const TO_END: Duration = Duration::from_secs(90);
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// One quantile of one round, in microseconds.
struct Found {
    ours: f64,
    perf: f64,
    /// From and to of runqlat's row.
    row: (f64, f64),
}

/// Ours divided by perf's, and whether ours is in runqlat's row.
pub fn waits(bench: &Bench) -> Result<String> {
    let mut all: Vec<Vec<Found>> = QUANTILES.iter().map(|_| vec![]).collect();
    for round in 1..=bench.rounds {
        let once = compare(bench).with_context(|| format!("round {round}"))?;
        for (found, (series, (name, _))) in once.into_iter().zip(all.iter_mut().zip(QUANTILES)) {
            let Found { ours, perf, row: (from, to) } = &found;
            eprintln!(
                "round {round}, {name}: ours {ours:.1} µs, perf {perf:.1} µs, runqlat {from} to {to} µs"
            );
            series.push(found);
        }
    }
    let mut text =
        "| waits for a CPU | by perf sched timehist, µs | ours / perf's | rounds in runqlat's row |\n\
                    |---|---|---|---|\n"
            .to_owned();
    for (found, (name, _)) in all.iter().zip(QUANTILES) {
        let perf = Series::new(name, found.iter().map(|one| one.perf));
        let ratio = Series::new(name, found.iter().map(|one| one.ours / one.perf));
        let (least, most) = ratio.spread();
        let inside = found.iter().filter(|one| (one.row.0..=one.row.1).contains(&one.ours)).count();
        let (perf, ratio, rounds) = (perf.median(), ratio.median(), found.len());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {perf:.1} | {ratio:.3} ({least:.3}–{most:.3}) | {inside} of {rounds} |"
        );
    }
    Ok(text)
}

fn compare(bench: &Bench) -> Result<Vec<Found>> {
    let workload = bench.workload("many_threads", &WORKLOAD)?;
    let (pid, json, data) = (workload.pid().to_string(), bench.path("waits.json"), bench.path("sched.data"));
    let start = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments);
        Running::start(command)
    };
    let pinned = start("taskset", &["--all-tasks", "--cpu-list", "--pid", "0", &pid])?.finish(TO_END)?;
    ensure!(pinned.status.success(), "the threads cannot be pinned: {pinned:?}");
    let runqlat = start("runqlat", &["-p", &pid, SECONDS, "1"])?;
    let perf = start("perf", &["sched", "record", "-q", "-o", &data, "sleep", SECONDS])?;
    let ours = Running::start(bench.profiler(&["record", "-q", "-p", &pid, "-d", SECONDS, "-o", &json]))?;
    for running in [ours, perf] {
        let finished = running.finish(TO_END)?;
        ensure!(finished.status.success(), "a recording failed: {finished:?}");
    }
    let rows = rows(&runqlat.finish(TO_END)?.stdout);
    ensure!(!rows.is_empty(), "runqlat has no rows");
    let history = start("perf", &["sched", "timehist", "-i", &data, "--pid", &pid])?.finish(TO_END)?;
    let mut delays = delays(&history.stdout);
    ensure!(delays.len() > 1000, "perf has only {} waits: {}", delays.len(), history.stderr);
    delays.sort_by(f64::total_cmp);
    let report = Report::read(json.as_ref());
    let groups = report.0["wait_times"].as_array().context("no histograms")?;
    let group = groups.iter().find(|group| group["group"] == "run_queue").context("no waits for a CPU")?;
    let quantile = |(name, part): (&str, f64)| {
        let seconds = group[format!("{name}_seconds")].as_f64().context("a quantile is missing")?;
        let perf = delays[((delays.len() as f64 * part) as usize).min(delays.len() - 1)];
        Ok(Found { ours: seconds * 1e6, perf, row: row_of(&rows, part) })
    };
    QUANTILES.into_iter().map(quantile).collect()
}

/// `     16 -> 31         : 123      |****    |`: from and to in microseconds, and how many.
fn rows(text: &str) -> Vec<(f64, f64, f64)> {
    let row = |line: &str| {
        let (range, rest) = line.split_once(" : ")?;
        let (from, to) = range.split_once("->")?;
        let count = rest.split_whitespace().next()?;
        // A row ends before the next number begins.
        Some((from.trim().parse().ok()?, to.trim().parse::<f64>().ok()? + 1.0, count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

fn row_of(rows: &[(f64, f64, f64)], part: f64) -> (f64, f64) {
    let all: f64 = rows.iter().map(|row| row.2).sum();
    let mut seen = 0.0;
    let reached = rows.iter().find(|row| {
        seen += row.2;
        seen >= all * part
    });
    reached.map_or((0.0, 0.0), |row| (row.0, row.1))
}

/// The column `sch delay`, the last but one, in microseconds; perf prints milliseconds. Zero stands for no wake-up.
fn delays(text: &str) -> Vec<f64> {
    let delay = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [.., wait, delay, run] = fields.as_slice() else { return None };
        let (_, delay, _): (f64, f64, f64) = (wait.parse().ok()?, delay.parse().ok()?, run.parse().ok()?);
        (delay > 0.0).then_some(delay * 1e3)
    };
    text.lines().filter_map(delay).collect()
}

#[cfg(test)]
mod tests {
    use super::{delays, row_of, rows};

    #[test]
    fn rows_of_runqlat_have_their_bounds_and_the_quantile_its_row() {
        let text = "     usecs               : count    distribution\n         0 -> 1          : 3        |**      |\n         2 -> 3          : 7        |********|\n";
        let rows = rows(text);
        assert_eq!(rows, [(0.0, 2.0, 3.0), (2.0, 4.0, 7.0)]);
        assert_eq!((row_of(&rows, 0.3), row_of(&rows, 0.5)), ((0.0, 2.0), (2.0, 4.0)));
    }

    #[test]
    fn delays_of_perf_are_microseconds_and_what_was_not_woken_is_left_out() {
        let text = "    8453.1 [0001]  sleeper-3[4711/4700]   98.953      0.021      1.020 \n\
                        8453.2 [0001]  sleeper-3[4711/4700]    0.100      0.000      1.020 \n";
        assert_eq!(delays(text), [21.0]);
    }
}
