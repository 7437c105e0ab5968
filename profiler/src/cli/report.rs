//! `profiler report`: the report of a capture, the same as that of the live run.

use std::fs::File;

use anyhow::{Context as _, Result};

use super::{args, code, outputs::Plan};
use crate::confine;
use profiler_report::{analyze::Report, capture};

/// Runs it. Returns the exit code.
///
/// # Errors
/// The capture cannot be read, or an output cannot be written.
pub fn run(args: &args::Report) -> Result<u8> {
    confine::drop_what_the_file_gave();
    let plan = Plan::for_report(&args.outputs)?;
    plan.check()?;
    let path = args.capture.display();
    let mut file = File::open(&args.capture).with_context(|| format!("cannot open the capture `{path}`"))?;
    let recording = capture::load(&mut file).with_context(|| format!("cannot read the capture `{path}`"))?;
    let report = Report::new(&recording);
    plan.write(&report)?;
    let sampled = report.trust.on_cpu_samples + report.trust.off_cpu_samples > 0;
    Ok(if sampled { 0 } else { code::NOTHING_SAMPLED })
}
