//! `cargo xtask vm`: the live tests on a row of other kernels, in QEMU, with the same programs that run on this machine.
//!
//! In: Debian's kernel packages, from a cache, and the debug build. Out: a table of kernel × probe × result, on standard
//! output and, of the whole row, in docs/kernels.md. A kernel that cannot be had is skipped and shown as skipped.

mod sources;
mod packages;
mod kernel;
mod emulator;
mod programs;
mod image;
mod initramfs;
mod guest;
mod results;
mod probes;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::write_section;
use crate::command::repository;
use emulator::Emulator;
use guest::{Boot, End, Machine};
use kernel::{Kernel, ROW};
use packages::Packages;
use programs::{Programs, Test};
use results::Outcome;

/// Kernels that every change is tested on, beside the machine's own: the oldest, a long-lived one, and the newest.
const ALWAYS: &[&str] = &[ROW[0], "6.1", ROW[ROW.len() - 1]];

/// Tests that need stacks of waiting threads, which kernels before 5.18 do not give.
const NEED_WAITING_STACKS: &[&str] = &[
    "stacks_show_the_functions_that_run_and_wait",
    "deep_recursion_is_cut_and_says_so",
    "deep_recursion_becomes_whole_by_itself",
    "kernel_functions_have_the_names_that_kallsyms_gives",
];

const DOCUMENT: &str = "docs/kernels.md";

#[derive(clap::Args)]
pub struct Args {
    /// Which series; without one the oldest, 6.1 and the newest
    series: Vec<String>,
    /// The whole row, and docs/kernels.md written anew
    #[arg(long, conflicts_with = "series")]
    all: bool,
    /// Only tests whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Most minutes that a kernel may take
    #[arg(long, default_value_t = 15)]
    limit: u32,
    /// By hardware: where that can run these kernels, it takes a tenth of the time
    #[arg(long)]
    kvm: bool,
}

/// A kernel of the row.
pub struct Row {
    series: String,
    state: State,
}

enum State {
    Booted(Boot),
    /// It could not be had, and why.
    Skipped(String),
}

/// Boots the kernels one after the other, and prints the table. Fails if anything failed, and if no kernel could be had.
pub fn vm(args: &Args) -> Result<ExitCode> {
    let rows = run(args)?;
    let failures = table::failures(&rows);
    for failure in &failures {
        println!("FAILED {failure}\n");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(args: &Args) -> Result<Vec<Row>> {
    let series: Vec<&str> = match (args.all, args.series.is_empty()) {
        (true, _) => ROW.to_vec(),
        (false, true) => ALWAYS.to_vec(),
        (false, false) => args.series.iter().map(String::as_str).collect(),
    };
    let programs = Programs::build(args.only.as_deref())?;
    let work = programs.target.join("vm");
    fs::create_dir_all(&work)?;
    let disk = image::build(&programs, &work)?;
    let cache = cache()?;
    let packages = Packages::open(&cache)?;
    let emulator = Emulator::find(&packages, &cache)?;
    eprintln!("xtask: QEMU {}, {} tests a kernel", emulator.version, programs.run.len());
    let limit = Duration::from_secs(60 * u64::from(args.limit));
    let machine = Machine { emulator: &emulator, disk: &disk, work: &work, limit, kvm: args.kvm };
    let plan = plan(&programs.run);
    let row = |series: &str| {
        let state = match Kernel::newest(&packages, &cache, series) {
            Ok(kernel) => State::Booted(machine.run(&kernel, &plan)?),
            Err(why) => State::Skipped(format!("{why:#}")),
        };
        let row = Row { series: series.into(), state };
        eprintln!("xtask: Linux {series}: {}", summary(&row));
        Ok(row)
    };
    let rows = series.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    let document = table::document(&rows, &programs.not_run);
    println!("{document}");
    if args.all && args.only.is_none() {
        write_section(&repository().join(DOCUMENT), "kernels", &document)?;
    }
    Ok(rows)
}

/// Where packages and unpacked kernels stay: outside of the target directory, which is thrown away more often.
fn cache() -> Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let of_home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let folder =
        named.or_else(of_home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("profiler-vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// What the guest goes through.
fn plan(tests: &[Test]) -> String {
    let mut plan = include_str!("plan.sh").to_owned();
    plan += "disks\nprobes\n";
    for Test { program, name } in tests {
        let how = if NEED_WAITING_STACKS.contains(&name.as_str()) { "test_waiting" } else { "test_one" };
        plan += &format!("{how} {program} {name}\n");
    }
    plan + "say done\nsync\npoweroff -f\n"
}

fn summary(row: &Row) -> String {
    let State::Booted(boot) = &row.state else { return "SKIPPED".into() };
    let count = |wanted: &[Outcome]| {
        boot.results.tests.iter().filter(|tested| wanted.contains(&tested.outcome)).count()
    };
    let (passed, failed) = (count(&[Outcome::Passed]), count(&[Outcome::Failed, Outcome::Unfinished]));
    let second =
        boot.first_try.as_ref().map(|why| format!(", at the second try ({why})")).unwrap_or_default();
    let end = if boot.end == End::Done { "" } else { ", NOT DONE" };
    format!("{passed} passed, {failed} failed, {:.0} s{second}{end}", boot.took.as_secs_f64())
}
