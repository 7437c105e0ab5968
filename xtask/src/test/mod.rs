//! `cargo xtask test`: every check that a change must pass, in one command.
//!
//! A step that fails does not stop the others, so that one run shows all there is to fix. Debug builds serve lints,
//! documentation and all tests, so that the dependencies are compiled once; only the fuzzer's are compiled again.

mod outcome;
mod steps;

use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::setup;
use outcome::Summary;
pub use outcome::{Durations, Outcome};
pub use steps::{Step, all_fuzzers, build_tests, live_tests, step};

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
    let mut wanted = steps.iter().filter(is_wanted).peekable();
    let mut beside = vec![];
    while let Some(step) = wanted.next() {
        eprintln!("\n== {}: {}", step.name, step.what);
        if step.is_beside && wanted.peek().is_some() {
            beside.push(Beside::start(step)?);
            continue;
        }
        let start = Instant::now();
        let outcome = (step.run)(&mut summary.durations).unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            Outcome::FAILED
        });
        summary.add(step.name, outcome, start.elapsed());
    }
    for beside in beside {
        let (name, start) = (beside.name, beside.started);
        let outcome = beside.finish()?;
        summary.add(name, outcome, start.elapsed());
    }
    println!("\n{summary}");
    Ok(if summary.is_failure() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A step in a process of its own, at the weakest niceness.
struct Beside {
    name: &'static str,
    started: Instant,
    child: Child,
    output: File,
}

impl Beside {
    fn start(step: &Step) -> Result<Self> {
        eprintln!("xtask: beside the next steps; what it says comes after them");
        let output = tempfile::tempfile()?;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(env::current_exe()?).args(["test", step.name]);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        let child = command.spawn().context("cannot run nice")?;
        Ok(Self { name: step.name, started: Instant::now(), child, output })
    }

    /// Waits for its end, and passes on what it has said.
    fn finish(mut self) -> Result<Outcome> {
        let status = self.child.wait()?;
        let mut said = String::new();
        self.output.rewind()?;
        self.output.read_to_string(&mut said)?;
        println!("\n== what {} says\n{said}", self.name);
        Ok(Outcome::of_summary(&said, self.name, status.success()))
    }
}
