//! What packages install beside the program: completions of shells, and manual pages.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use super::args;

/// `profiler completions SHELL`. Returns the exit code.
///
/// # Errors
/// Standard output cannot be written.
pub fn completions(args: &args::Completions) -> Result<u8> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut args::Args::command(), "profiler", &mut text);
    print(&text)
}

/// `profiler man [COMMAND]`. Returns the exit code.
///
/// # Errors
/// There is no such command, or standard output cannot be written.
pub fn man(args: &args::Man) -> Result<u8> {
    let mut command = args::Args::command();
    command.build();
    let page = match &args.command {
        Some(name) => {
            let found = command.find_subcommand(name);
            found.with_context(|| format!("there is no command `{name}`\n  try: profiler --help"))?.clone()
        }
        None => command,
    };
    let mut text = vec![];
    clap_mangen::Man::new(page).render(&mut text)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<u8> {
    std::io::stdout().write_all(text).context("cannot write to standard output")?;
    Ok(0)
}
