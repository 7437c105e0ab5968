//! What a process uses, as `/proc` tells it, and the profiler's kernel programs, as its report does.

use std::fs;

use anyhow::{Context, Result};
use profiler_tests::report::Report;
use serde_json::Value;

/// Nanoseconds that the threads of a process have run, by `/proc/PID/task/TID/schedstat`, whose first field it is.
pub fn run_ns(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let run = text.split(' ').next().context("an empty `schedstat`")?;
        sum += run.parse::<f64>().with_context(|| format!("no `schedstat`: `{text}`"))?;
    }
    Ok(sum)
}

/// The most that was resident of a process so far.
pub fn most_resident_bytes(pid: u32) -> Result<f64> {
    memory_bytes(pid, "VmHWM:")
}

/// What is resident now of a process's own memory: no files, and no rings that it shares with the kernel.
pub fn own_bytes(pid: u32) -> Result<f64> {
    memory_bytes(pid, "RssAnon:")
}

/// A line of a process's `status`, which is in KiB.
fn memory_bytes(pid: u32, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib: f64 = line
        .with_context(|| format!("no `{key}` in `status`"))?
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()?;
    Ok(kib * 1024.0)
}

/// Programs that run in the time of the profiler's process, which calls the iterator.
const IN_OWN_TIME: [&str; 2] = ["sample_off_cpu", "seed_threads"];

/// Percent of one CPU that the kernel programs took of others' time. The kernel measures them in a part of the recording, which the
/// report tells by their share of one CPU in it.
pub fn programs_percent(report: &Report) -> Result<f64> {
    let programs = report.0["cost"]["programs"].as_array().context("the report has no programs")?;
    let seconds = |program: &Value| program["run_seconds"].as_f64().unwrap_or(0.0);
    let is_others = |program: &&Value| !IN_OWN_TIME.iter().any(|name| program["name"] == *name);
    let all: f64 = programs.iter().map(seconds).sum();
    let others: f64 = programs.iter().filter(is_others).map(seconds).sum();
    Ok(others / all * report.number("/cost/programs_cpu_ratio") * 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_iterator_takes_no_time_of_others() {
        let report = Report(json!({"cost": {
            "programs_cpu_ratio": 0.04,
            "programs": [
                {"name": "sched_switch", "run_seconds": 0.003},
                {"name": "sample_off_cpu", "run_seconds": 0.001},
            ],
        }}));
        assert!((programs_percent(&report).unwrap() - 3.0).abs() < 1e-9);
    }
}
