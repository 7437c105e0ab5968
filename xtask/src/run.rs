//! `cargo xtask run -- ARGS`: the release build of `profiler`, as root.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::command::{self, cargo};
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

/// Where cargo builds this workspace.
pub fn target_directory(manifest: &Path) -> Result<PathBuf> {
    let metadata = metadata(manifest)?;
    let folder =
        metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
    Ok(folder.into())
}

/// What cargo knows of a workspace, without its dependencies.
pub fn metadata(manifest: &Path) -> Result<serde_json::Value> {
    let mut ask = cargo(["metadata", "--format-version=1", "--no-deps", "--manifest-path"]);
    let json = command::answer(ask.arg(manifest))
        .with_context(|| format!("cargo cannot read {}", manifest.display()))?;
    serde_json::from_str(&json).context("`cargo metadata` did not print JSON")
}
