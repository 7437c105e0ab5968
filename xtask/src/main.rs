//! Development tasks: `cargo xtask TASK`.
//!
//! A task is a file. None of them is needed by a user of a released `profiler`.

mod setup;
mod object;
mod dist;
mod run;
mod test;
mod fuzz;
mod aarch64;
mod bench;
mod vm;
mod nightly;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use profiler_tests::command;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of profiler")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the build needs; does nothing when all is there
    Setup(setup::Wanted),
    /// Compile the kernel programs into the prebuilt objects
    Object(object::Args),
    /// Build what is handed out: a static program, tarball, Debian package, and try it
    Dist(dist::Args),
    /// Build the release and run it, as root: `cargo xtask run -- record -a -d 10`
    Run(run::Args),
    /// Run every check: format, lints, documentation, licences, tests, fuzzing
    Test(test::Args),
    /// Fuzz the readers of foreign bytes
    Fuzz(fuzz::Args),
    /// Compile for aarch64, and run the unit tests in an emulator
    Aarch64(aarch64::Args),
    /// Measure what recording costs and how good its answers are, and write the tables of docs
    Bench(bench::Args),
    /// Run the live tests on other kernels, in QEMU
    Vm(vm::Args),
    /// What takes too long for every change: all kernels, long tests, more fuzzing, an hour's recording
    Nightly(nightly::Args),
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Setup(wanted) => setup::setup(wanted).map(|()| ExitCode::SUCCESS),
        Task::Object(args) => object::object(&args).map(|()| ExitCode::SUCCESS),
        Task::Dist(args) => dist::dist(&args).map(|()| ExitCode::SUCCESS),
        Task::Run(args) => run::run(&args),
        Task::Test(args) => test::test(&args),
        Task::Fuzz(args) => fuzz::fuzz(&args).map(|()| ExitCode::SUCCESS),
        Task::Aarch64(args) => aarch64::aarch64(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Vm(args) => vm::vm(&args),
        Task::Nightly(args) => nightly::nightly(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
