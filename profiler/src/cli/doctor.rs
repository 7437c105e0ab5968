//! `profiler doctor`: what this machine lets the profiler do.

use std::io::Write as _;

use anyhow::{Context as _, Result};

use super::args;
use crate::doctor::{Diagnosis, render_json, render_text};

/// Runs it. Returns the exit code: 0 works, 1 degraded, 2 cannot run.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &args::Doctor) -> Result<u8> {
    let diagnosis = Diagnosis::of_this_machine();
    let mut text = vec![];
    if args.json {
        render_json(&diagnosis, &mut text)?;
    } else {
        render_text(&diagnosis, &mut text)?;
    }
    std::io::stdout().write_all(&text).context("cannot write to standard output")?;
    Ok(diagnosis.outcome().exit_code())
}
