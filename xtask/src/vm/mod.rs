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
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::document::write_section;

use crate::command::{self, repository};
use crate::test;
use emulator::Emulator;
use guest::{Boot, End, Machine};
use kernel::{Kernel, ROW};
use packages::Packages;
use programs::{Extent, Programs, Test};
use results::Outcome;

/// Kernels that every change is tested on, beside the machine's own: the newest, which takes longer, and the oldest, which lacks most.
const ALWAYS: &[&str] = &[ROW[ROW.len() - 1], ROW[0]];

/// Tests that need stacks of waiting threads, which kernels before 5.18 do not give.
const NEED_WAITING_STACKS: &[&str] = &[
    "stacks_show_the_functions_that_run_and_wait",
    "deep_recursion_is_cut_and_says_so",
    "deep_recursion_becomes_whole_by_itself",
    "kernel_functions_have_the_names_that_kallsyms_gives",
    "capture_gives_the_same_answer_as_the_live_run",
    "hidden_kernel_addresses_stay_addresses_and_the_report_names_the_sysctl",
    "a_user_with_five_capabilities_records_another_users_process",
    "without_syslog_kernel_functions_may_have_no_names",
];

const DOCUMENT: &str = "docs/kernels.md";

#[derive(clap::Args)]
pub struct Args {
    /// Which series; without one the oldest and the newest
    series: Vec<String>,
    /// The whole row, and docs/kernels.md rewritten
    #[arg(long, conflicts_with = "series")]
    all: bool,
    /// Only tests whose name contains one of these words
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Which of the tests
    #[arg(long, value_enum, default_value_t = Extent::Whole)]
    extent: Extent,
    /// With --all, kernels that are not booted: what they told last stands in the document
    #[arg(long, value_delimiter = ',', requires = "all", value_name = "SERIES")]
    reuse: Vec<String>,
    /// Most minutes that a kernel may take
    #[arg(long, default_value_t = 30)]
    limit: u32,
    /// So many kernels at a time; each keeps one CPU busy
    #[arg(long, default_value_t = cpus())]
    jobs: usize,
    /// By hardware: where that can run these kernels, it takes a tenth of the time
    #[arg(long)]
    kvm: bool,
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// A kernel of the row.
pub struct Row {
    series: String,
    state: State,
}

enum State {
    Booted(Box<Boot>),
    /// It could not be had, and why.
    Skipped(String),
}

/// Boots the kernels and prints the tables. Fails if anything failed.
pub fn vm(args: &Args) -> Result<ExitCode> {
    let failures = told_failures(&run(args, emulator()?)?);
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The step of `cargo xtask test`: a few tests on two kernels.
pub fn step() -> Result<test::Outcome> {
    step_of(false, Extent::Essential)
}

/// The step of `cargo xtask nightly`: on all kernels all tests that could differ there, and their document rewritten.
pub fn whole_row() -> Result<test::Outcome> {
    step_of(true, Extent::Short)
}

fn step_of(all: bool, extent: Extent) -> Result<test::Outcome> {
    if !command::on_path("apt-get") {
        return Ok(test::Outcome::Skipped(
            "the kernels are Debian's packages, and there is no apt-get".into(),
        ));
    }
    let emulator = match emulator() {
        Ok(emulator) => emulator,
        Err(why) => return Ok(test::Outcome::Skipped(format!("{why:#}"))),
    };
    let args = Args {
        series: Vec::new(),
        all,
        only: Vec::new(),
        reuse: Vec::new(),
        extent,
        limit: 30,
        jobs: cpus(),
        kvm: false,
    };
    let rows = run(&args, emulator)?;
    let failed = told_failures(&rows);
    let skipped: Vec<_> = rows.iter().filter_map(Row::skipped).collect();
    let passed = rows.iter().map(|row| row.count(&[Outcome::Passed])).sum();
    Ok(match (skipped.len(), skipped.join("; ")) {
        (0, _) => test::Outcome::Ran { passed, failed },
        (all, skipped) if all == rows.len() => test::Outcome::Skipped(skipped),
        (_, skipped) => test::Outcome::Partly { passed, failed, skipped },
    })
}

/// Prints what failed, and counts it.
fn told_failures(rows: &[Row]) -> u32 {
    for first in table::first_tries(rows) {
        println!("FAILED at the first try: {first}\n");
    }
    let failures = table::failures(rows);
    for failure in &failures {
        println!("FAILED {failure}\n");
    }
    failures.len() as u32
}

fn run(args: &Args, (emulator, packages, cache): (Emulator, Packages, PathBuf)) -> Result<Vec<Row>> {
    let series: Vec<&str> = match (args.all, args.series.is_empty()) {
        (true, _) => ROW.to_vec(),
        (false, true) => ALWAYS.to_vec(),
        (false, false) => args.series.iter().map(String::as_str).collect(),
    };
    let programs = Programs::build(&args.only, args.extent)?;
    let work = programs.target.join("vm");
    fs::create_dir_all(&work)?;
    let disk = image::build(&programs, &work)?;
    eprintln!("xtask: QEMU {}, {} tests a kernel", emulator.version, programs.run.len());
    let limit = Duration::from_secs(60 * u64::from(args.limit));
    let machine = Machine { emulator: &emulator, disk: &disk, work: &work, limit, kvm: args.kvm };
    let plan = plan(&programs);
    // First all kernels, one after the other, since they come out of one cache.
    let kernels: Vec<_> = series.iter().map(|series| Kernel::newest(&packages, &cache, series)).collect();
    let rows = in_parallel(args.jobs, series.len(), |index| {
        let state = match &kernels[index] {
            Ok(kernel) if args.reuse.iter().any(|reused| reused == series[index]) => {
                State::Booted(Box::new(machine.last(kernel)?))
            }
            Ok(kernel) => State::Booted(Box::new(machine.run(kernel, &plan)?)),
            Err(why) => State::Skipped(format!("{why:#}")),
        };
        let row = Row { series: series[index].into(), state };
        eprintln!("xtask: Linux {}: {}", row.series, row.summary());
        Ok(row)
    })?;
    let document = table::document(&rows, &programs.not_run);
    println!("{document}");
    if args.all && args.only.is_empty() {
        write_section(&repository().join(DOCUMENT), "kernels", &document)?;
    }
    Ok(rows)
}

/// Does `count` pieces of work, so many at a time, and gives their results in order.
fn in_parallel<T: Send>(
    jobs: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= count {
                return;
            }
            let result = work(index);
            results.lock().expect("no worker panics with it").push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            scope.spawn(worker);
        }
    });
    let mut results = results.into_inner().expect("no worker panics with it");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What comes from elsewhere, and is in the cache the second time.
fn emulator() -> Result<(Emulator, Packages, PathBuf)> {
    let cache = cache()?;
    let packages = Packages::open(&cache)?;
    Ok((Emulator::find(&packages, &cache)?, packages, cache))
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
fn plan(programs: &Programs) -> String {
    let scratch = programs.target.join("tmp");
    let mut plan = format!("TESTS_DISK='{}'\n{}", scratch.display(), include_str!("plan.sh"));
    for Test { program, name } in &programs.run {
        let how = if NEED_WAITING_STACKS.contains(&name.as_str()) { "test_waiting" } else { "test_one" };
        plan.extend([how, " ", program, " ", name, "\n"]);
    }
    plan + "say done\nsync\npoweroff -f\n"
}

impl Row {
    /// Why there is no such kernel, if there is none.
    fn skipped(&self) -> Option<String> {
        match &self.state {
            State::Booted(_) => None,
            State::Skipped(why) => Some(format!("Linux {}: {why}", self.series)),
        }
    }

    /// How many tests had one of these outcomes.
    fn count(&self, wanted: &[Outcome]) -> u32 {
        let State::Booted(boot) = &self.state else { return 0 };
        boot.results.tests.iter().filter(|tested| wanted.contains(&tested.outcome)).count() as u32
    }

    /// One line.
    fn summary(&self) -> String {
        let State::Booted(boot) = &self.state else { return "SKIPPED".into() };
        let (passed, failed) =
            (self.count(&[Outcome::Passed]), self.count(&[Outcome::Failed, Outcome::Unfinished]));
        let second =
            boot.first_try.as_ref().map(|why| format!(", at the second try ({why})")).unwrap_or_default();
        let end = if boot.end == End::Done { "" } else { ", NOT DONE" };
        format!("{passed} passed, {failed} failed, {:.0} s{second}{end}", boot.took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_however_many_work_at_a_time() {
        for jobs in [0, 1, 2, 9] {
            assert_eq!(in_parallel(jobs, 5, Ok).unwrap(), [0, 1, 2, 3, 4]);
        }
        assert!(
            in_parallel(2, 3, |index| if index == 1 { anyhow::bail!("boom") } else { Ok(index) }).is_err()
        );
    }
}
