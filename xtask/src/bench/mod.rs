//! `cargo xtask bench`: what `profiler` costs, each number beside the one of no tool or of another tool in the same run.
//!
//! In: the release builds of `profiler` and of the tests' workloads. Out: tables on standard output and, under the same
//! names, in docs/overhead.md. Absolute numbers differ from machine to machine; the ratios are what is promised.

mod cpu;
mod document;
mod own;
mod rounds;
mod storm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use profiler_tests::running::Workload;
use tempfile::TempDir;

use crate::command::{self, Privilege, cargo, repository};
use crate::run::target_directory;

/// A benchmark's name, and what runs it and returns its section of the document.
type Benchmark = (&'static str, fn(&Bench) -> Result<String>);

const BENCHMARKS: &[Benchmark] = &[("storm", storm::storm), ("cpu", cpu::cpu), ("self", own::own)];

#[derive(clap::Args)]
pub struct Args {
    /// Which: storm, cpu, self; without a name all of them
    names: Vec<String>,
    /// How often each variant is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// What each benchmark needs.
pub struct Bench {
    /// Where the programs are.
    directory: PathBuf,
    scratch: TempDir,
    rounds: u16,
}

impl Bench {
    fn profiler(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.directory.join("profiler"));
        command.args(arguments);
        command
    }

    fn workload(&self, name: &str, arguments: &[&str]) -> Result<Workload> {
        Workload::start(&self.directory, name, arguments)
    }

    /// Path of a file that is gone after the run.
    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).to_string_lossy().into_owned()
    }
}

/// Builds the release, runs the benchmarks that were named, prints their sections and puts them into the document.
pub fn bench(args: &Args) -> Result<()> {
    let chosen = chosen(&args.names)?;
    if command::privilege() != Privilege::Root {
        bail!("benchmarks load kernel programs\n  try: run this command as root");
    }
    command::run(&mut cargo([
        "build",
        "--release",
        "--bins",
        "--package",
        "profiler",
        "--package",
        "profiler-tests",
    ]))?;
    let directory = target_directory(&repository().join("Cargo.toml"))?.join("release");
    let bench = Bench { directory, scratch: TempDir::with_prefix("profiler-bench-")?, rounds: args.rounds };
    for (name, run) in chosen {
        let section = run(&bench).with_context(|| format!("benchmark `{name}`"))?;
        println!("{section}");
        write_section(&repository().join("docs/overhead.md"), name, &section)?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Benchmark>> {
    if names.is_empty() {
        return Ok(BENCHMARKS.to_vec());
    }
    let find = |name: &String| {
        let known = BENCHMARKS.iter().find(|(known, _)| known == name);
        known.copied().with_context(|| format!("no benchmark `{name}`\n  try: storm, cpu or self"))
    };
    names.iter().map(find).collect()
}

fn write_section(path: &Path, name: &str, section: &str) -> Result<()> {
    let document = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let document = document::with_section(&document, name, section)?;
    fs::write(path, document).with_context(|| format!("cannot write {}", path.display()))
}
