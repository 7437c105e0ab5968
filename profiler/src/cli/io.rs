//! `profiler io`: shows what disks do.

use std::io::{self, Write as _};
use std::ops::ControlFlow;

use anyhow::Result;

use super::{args::Io, code, outputs::stdout_has_colour};
use crate::{
    kernel,
    session::{self, WatchOptions},
};
use profiler_report::report::{DiskPage, Style};

/// Runs it. Returns the exit code.
///
/// # Errors
/// A privilege is missing, or the kernel lacks or refuses something.
pub fn run(args: &Io) -> Result<u8> {
    kernel::check_privileges()?;
    let page = DiskPage { style: Style { colour: stdout_has_colour() }, histograms: args.histogram };
    let options =
        WatchOptions { interval: args.interval, count: args.count, budget_ratio: args.max_overhead };
    let whole = session::watch(options, |interval| printed(&page.text(interval)))?;
    let is_over = whole.cost.is_some_and(|cost| cost.is_over);
    let _ = printed(&page.text(&whole))?;
    Ok(if is_over { code::RUNTIME } else { 0 })
}

/// A reader that has gone away has seen what it wanted.
fn printed(text: &str) -> Result<ControlFlow<()>> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
    }
}
