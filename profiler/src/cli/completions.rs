//! `profiler completions SHELL`.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use super::args;

/// Prints them. Returns the exit code.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &args::Completions) -> Result<u8> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut args::Args::command(), "profiler", &mut text);
    std::io::stdout().write_all(&text).context("cannot write to standard output")?;
    Ok(0)
}
