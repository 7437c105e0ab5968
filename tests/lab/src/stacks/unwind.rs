//! The time that unwinding a snapshot takes in userspace, as the criterion benchmark `unwind` of the crate `profiler`
//! measures it over recorded snapshots of postgres.
//!
//! In: `cargo bench`, and what criterion leaves under target/criterion. Out: a table of medians.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde_json::Value;

use profiler_tests::command::{self, cargo, repository, target_directory};

const BENCH: &str = "profiler/benches/unwind.rs";

/// Runs the benchmark and tells its medians.
pub fn unwind() -> Result<String> {
    if !repository().join(BENCH).exists() {
        return Ok(format!("**Not measured**: there is no {BENCH}.\n"));
    }
    let results = target_directory(&repository().join("Cargo.toml"))?.join("criterion");
    let started = SystemTime::now();
    command::run(&mut cargo(["bench", "--package", "profiler", "--bench", "unwind"]))?;
    let mut found = Vec::new();
    find(&results, started, &mut found)?;
    found.sort();
    let medians = found.iter().map(|folder| median(folder)).collect::<Result<Vec<_>>>()?;
    Ok(told(&medians))
}

fn told(medians: &[(String, f64)]) -> String {
    let mut text = "| unwinding in userspace, µs a sample | median |\n|---|---|\n".to_owned();
    if !medians.iter().any(|(name, _)| name.contains("postgres")) {
        text.push_str("| postgres | **not measured**: it is not installed |\n");
    }
    for (name, microseconds) in medians {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {microseconds:.2} |");
    }
    text + "\nGoal: at most 3 µs.\n"
}

/// Folders `new`, in which criterion keeps its last results, of this run: benchmarks that are no more leave theirs.
fn find(folder: &Path, started: SystemTime, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("no results in {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if !path.ends_with("new") {
            find(&path, started, found)?;
        } else if fs::metadata(path.join("estimates.json"))?.modified()? >= started {
            found.push(path);
        }
    }
    Ok(())
}

/// A benchmark's name and its median in microseconds. One iteration unwinds as many samples as its throughput says.
fn median(folder: &Path) -> Result<(String, f64)> {
    let read =
        |name: &str| -> Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(folder.join(name))?)?) };
    let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
    let ns = estimates["median"]["point_estimate"].as_f64().context("criterion tells no median")?;
    let samples = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    let name = benchmark["full_id"].as_str().context("criterion tells no name")?;
    Ok((name.to_owned(), ns / samples / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_a_sample_and_in_microseconds() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("benchmark.json", r#"{"full_id": "postgres", "throughput": {"Elements": 4}}"#);
        write("estimates.json", r#"{"median": {"point_estimate": 10000.0}}"#);
        assert_eq!(median(folder.path()).unwrap(), ("postgres".to_owned(), 2.5));
    }

    #[test]
    fn postgres_that_is_missing_is_told() {
        assert!(told(&[("saved snapshots".to_owned(), 1.5)]).contains("| postgres | **not measured**"));
        assert!(!told(&[("postgres under pgbench".to_owned(), 1.5)]).contains("not measured"));
    }
}
