//! The time that unwinding a snapshot takes in userspace, as the criterion benchmark `unwind` of the crate `profiler`
//! measures it over recorded snapshots of postgres.
//!
//! In: `cargo bench`, and what criterion leaves under target/criterion. Out: a table of medians.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{self, cargo, repository};
use crate::run::target_directory;

const BENCH: &str = "profiler/benches/unwind.rs";

/// Runs the benchmark and tells its medians.
pub fn unwind() -> Result<String> {
    if !repository().join(BENCH).exists() {
        return Ok(format!("**Not measured**: there is no {BENCH}.\n"));
    }
    let results = target_directory(&repository().join("Cargo.toml"))?.join("criterion");
    command::run(&mut cargo(["bench", "--package", "profiler", "--bench", "unwind"]))?;
    let mut text = "| unwinding in userspace, µs a sample | median |\n|---|---|\n".to_owned();
    let mut found = Vec::new();
    find(&results, &mut found)?;
    found.sort();
    for folder in found {
        let (name, microseconds) = median(&folder)?;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {microseconds:.2} |");
    }
    Ok(format!("{text}\nGoal: at most 3 µs.\n"))
}

/// Folders `new`, in which criterion keeps its last results.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("no results in {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if path.ends_with("new") { found.push(path) } else { find(&path, found)? }
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
