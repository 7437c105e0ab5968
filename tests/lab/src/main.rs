//! `cargo xtask bench`: what `profiler` costs, and how good its stacks are, each number beside the one of no tool or of
//! another tool in the same run.
//!
//! In: the release builds of `profiler` and of the tests' workloads. Out: tables on standard output and, under the same
//! names, in docs/overhead.md and docs/stacks.md. Absolute numbers differ from machine to machine; the ratios are what is promised.

mod overhead;
mod storm;
mod own;
mod builds;
mod waits;
mod growth;
mod stacks;
mod verdicts;
mod latency;
mod rounds;
mod interval;
mod usage;
mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use profiler_tests::command::{self, Privilege, cargo, repository, target_directory};
use profiler_tests::document::write_section;
use profiler_tests::harness::with_budget;
use profiler_tests::running::Workload;
use tempfile::TempDir;

/// A part of a document: the name in its marks, and its text.
type Section = (&'static str, String);

/// Something that is measured.
#[derive(Clone, Copy)]
struct Benchmark {
    name: &'static str,
    document: &'static str,
    run: fn(&Bench) -> Result<Vec<Section>>,
}

const OVERHEAD: &str = "docs/overhead.md";

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "overhead", document: OVERHEAD, run: |bench| Ok(overhead::overhead(bench)) },
    Benchmark { name: "storm", document: OVERHEAD, run: |bench| Ok(vec![("storm", storm::storm(bench)?)]) },
    Benchmark { name: "self", document: OVERHEAD, run: |bench| Ok(vec![("self", own::own(bench)?)]) },
    Benchmark {
        name: "builds",
        document: OVERHEAD,
        run: |bench| Ok(vec![("builds", builds::builds(bench)?)]),
    },
    Benchmark { name: "waits", document: OVERHEAD, run: |bench| Ok(vec![("waits", waits::waits(bench)?)]) },
    Benchmark { name: "growth", document: OVERHEAD, run: growth::growth },
    Benchmark {
        name: "latency",
        document: OVERHEAD,
        run: |bench| Ok(vec![("latency", latency::latency(bench)?)]),
    },
    Benchmark { name: "disks", document: OVERHEAD, run: |bench| Ok(vec![overhead::disks(bench)]) },
    Benchmark { name: "futexes", document: OVERHEAD, run: |bench| Ok(vec![overhead::futexes(bench)]) },
    Benchmark { name: "stacks", document: "docs/stacks.md", run: stacks::stacks },
    Benchmark { name: "verdicts", document: "docs/verdicts.md", run: |bench| Ok(verdicts::verdicts(bench)) },
];

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", about = "Benchmarks of profiler")]
struct Args {
    /// Which: overhead, storm, self, builds, waits, growth, latency, disks, futexes, stacks, verdicts; without a name all but
    /// `builds`
    names: Vec<String>,
    /// How often each variant is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only the workloads (overhead), the programs (stacks) and the cases (verdicts) whose name contains this; the documents stay as they are
    #[arg(long)]
    only: Option<String>,
    /// Measure this program, not the release build; the documents stay as they are
    #[arg(long)]
    profiler: Option<PathBuf>,
    /// An earlier build, for `builds`: both in turn, in one run; the documents stay as they are
    #[arg(long)]
    before: Option<PathBuf>,
}

/// What each benchmark needs.
struct Bench {
    /// Where the workloads are.
    directory: PathBuf,
    profiler: PathBuf,
    /// An earlier build, to compare with.
    before: Option<PathBuf>,
    scratch: TempDir,
    rounds: u16,
    only: Option<String>,
    /// Whether the results go into the documents.
    for_documents: bool,
}

impl Bench {
    fn profiler(&self, arguments: &[&str]) -> Command {
        profiler(&self.profiler, arguments)
    }

    fn workload(&self, name: &str, arguments: &[&str]) -> Result<Workload> {
        Workload::start(&self.directory, name, arguments)
    }

    /// Starts a program that a benchmark has compiled.
    fn scratch_workload(&self, name: &str) -> Result<Workload> {
        Workload::start(self.scratch.path(), name, &[])
    }

    /// Path of a file that is gone after the run.
    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).to_string_lossy().into_owned()
    }
}

/// A build of `profiler`, with room enough to record everything.
fn profiler(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(with_budget(arguments));
    command
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the release, runs the benchmarks that were named, prints their sections and puts them into the document.
fn bench(args: &Args) -> Result<()> {
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
    let scratch = TempDir::with_prefix("profiler-bench-")?;
    let profiler = args.profiler.clone().unwrap_or_else(|| directory.join("profiler"));
    let for_documents = args.only.is_none() && args.profiler.is_none() && args.before.is_none();
    let bench = Bench {
        directory,
        profiler,
        before: args.before.clone(),
        scratch,
        rounds: args.rounds,
        only: args.only.clone(),
        for_documents,
    };
    for Benchmark { name, document, run } in chosen {
        let sections = run(&bench).with_context(|| format!("benchmark `{name}`"))?;
        for (name, section) in sections {
            println!("{section}");
            if bench.for_documents {
                write_section(&repository().join(document), name, &section)?;
            }
        }
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Benchmark>> {
    if names.is_empty() {
        return Ok(BENCHMARKS.iter().filter(|known| known.name != "builds").copied().collect());
    }
    let find = |name: &String| {
        let known = BENCHMARKS.iter().find(|known| known.name == name);
        known.copied().with_context(|| {
            let all: Vec<_> = BENCHMARKS.iter().map(|known| known.name).collect();
            format!("no benchmark `{name}`\n  try: {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}
