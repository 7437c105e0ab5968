//! `cargo xtask test`: every check that a change must pass, in one command.
//!
//! A step that fails does not stop the others, so that one run shows all there is to mend. Debug builds serve lints,
//! documentation and all tests, so that the dependencies are compiled once; only the fuzzer's are compiled again.

mod outcome;
mod steps;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::setup;
pub use outcome::Outcome;
use outcome::Summary;
pub use steps::{Step, build_tests, live_tests, step};

#[derive(clap::Args)]
pub struct Args {
    /// Which steps, by name; without it all
    steps: Vec<String>,
}

/// Sets up, runs the steps, prints the summary. Its last line is the count.
pub fn test(args: &Args) -> Result<ExitCode> {
    run(&steps::steps(), &args.steps)
}

/// The same for any list of steps: those that are named, or all.
pub fn run(steps: &[Step], names: &[String]) -> Result<ExitCode> {
    if let Some(unknown) = names.iter().find(|name| steps.iter().all(|step| step.name != **name)) {
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`\n  try: {}", names.join(", "));
    }
    let mut summary = Summary::default();
    let start = Instant::now();
    setup::setup(setup::Wanted { tests: true, ..Default::default() })?;
    summary.add("setup", Outcome::Ran { passed: 0, failed: 0 }, start.elapsed());
    let is_wanted = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    for step in steps.iter().filter(is_wanted) {
        eprintln!("\n== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)(&mut summary.durations).unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            Outcome::FAILED
        });
        summary.add(step.name, outcome, start.elapsed());
    }
    println!("\n{summary}");
    Ok(if summary.is_failure() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
