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
use steps::STEPS;

#[derive(clap::Args)]
pub struct Args {
    /// Which steps, by name; without it all
    steps: Vec<String>,
}

/// Sets up, runs the steps, prints the summary. Its last line is the count.
pub fn test(args: &Args) -> Result<ExitCode> {
    if let Some(unknown) = args.steps.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`\n  try: {}", names.join(", "));
    }
    setup::setup(setup::Wanted { tests: true, ..Default::default() })?;
    let mut summary = Summary::default();
    let is_wanted = |step: &&steps::Step| {
        let is_named = args.steps.iter().any(|name| name == step.name);
        is_named || args.steps.is_empty()
    };
    for step in STEPS.iter().filter(is_wanted) {
        eprintln!("\n== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)().unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            Outcome::FAILED
        });
        summary.add(step.name, outcome, start.elapsed());
    }
    println!("\n{summary}");
    Ok(if summary.is_failure() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
