//! `profiler io`: shows what disks do. A recording of no thread, whose windows are shown as they end.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;

use super::{args::Io, code, outputs::stdout_style};
use crate::{
    confine::Needs,
    kernel,
    record::{self, MOST_KERNEL_BYTES, Options, Target, Watch},
};
use profiler_report::recording::InstrumentId;
use profiler_report::{analyze::ended_by_budget, report::DiskPage};

/// Looks at the clock a second: an interval is as long as was asked for to within 50 ms.
const LOOKS_A_SECOND: u32 = 20;

/// Runs it. Returns the exit code.
///
/// # Errors
/// A privilege is missing, or the kernel lacks or refuses something.
pub fn run(args: &Io, program_start: Instant) -> Result<u8> {
    kernel::check_privileges()?;
    let page = DiskPage { style: stdout_style(), histograms: args.histogram };
    let watch = Watch {
        interval: args.interval,
        count: args.count,
        show: Box::new(move |interval| printed(&page.text(interval))),
    };
    let options = Options {
        target: Target::Disks,
        children: false,
        duration: None,
        sample_hz: LOOKS_A_SECOND,
        stack_bytes: None,
        budget_ratio: args.max_overhead,
        kernel_bytes: MOST_KERNEL_BYTES,
        on: BTreeSet::from([InstrumentId::BlockIo]),
        kernel_log: false,
        checkpoint: None,
        needs: Needs::default(),
        progress: false,
        program_start,
        watch: Some(watch),
    };
    let whole = record::record(options)?.recording.whole();
    record::restore_signals();
    let _ = printed(&page.sum(&whole))?;
    Ok(if ended_by_budget(&whole) { code::RUNTIME } else { 0 })
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
