//! `cargo xtask run -- ARGS`: the release build of `profiler`, as root.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::command::{self, cargo, target_directory};
use crate::setup;

#[derive(clap::Args)]
pub struct Args {
    /// What `profiler` gets
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    profiler: Vec<String>,
}

/// Sets up, builds, and becomes `profiler`: its exit code, its signals and its terminal are this command's.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::setup(setup::Wanted::default())?;
    command::run(&mut cargo(["build", "--release", "--package", "profiler"]))?;
    let program = target_directory(&command::repository().join("Cargo.toml"))?.join("release/profiler");
    let mut profiler = command::as_root(&program, "to load the kernel programs")?;
    // `exec` returns only when it fails.
    Err(profiler.args(&args.profiler).exec()).with_context(|| format!("cannot run {}", program.display()))
}
