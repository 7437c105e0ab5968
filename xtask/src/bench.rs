//! `cargo xtask bench`: builds the benchmarks, which are the crate `profiler-lab` under tests/lab, and runs them.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::command::{self, cargo};

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What the benchmarks get; `--help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Becomes the benchmarks: their exit code, their signals and their terminal are this command's.
pub fn bench(args: &Args) -> Result<ExitCode> {
    let mut lab = cargo(["run", "--release", "--package", "profiler-lab", "--"]);
    lab.args(&args.arguments);
    eprintln!("$ {}", command::shown(&lab));
    // `exec` returns only when it fails.
    Err(lab.exec()).context("cannot run cargo")
}
