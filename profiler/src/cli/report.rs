//! `profiler report`: the report of a capture, the same as that of the live run.

use std::{fs::File, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{args, code, outputs::Plan};
use crate::confine;
use profiler_report::{
    analyze::Report,
    capture,
    recording::{Recording, Span, Window},
    report::numbers::length,
};

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
    let span = part(&recording, args)?;
    let report = Report::over_time(&recording, &span);
    plan.write(&recording, &report)?;
    let sampled = report.trust.on_cpu_samples + report.trust.off_cpu_samples > 0;
    Ok(if sampled { 0 } else { code::NOTHING_SAMPLED })
}

/// The part that is asked for.
fn part(recording: &Recording, args: &args::Report) -> Result<Span> {
    if args.from.is_none() && args.to.is_none() {
        return Ok(recording.whole());
    }
    let ns = |time: Option<Duration>| time.map(|time| time.as_nanos() as u64);
    let (from_ns, to_ns) = (ns(args.from).unwrap_or(0), ns(args.to).unwrap_or(u64::MAX));
    if from_ns >= to_ns {
        bail!("the part would end before it begins\n  try: a --from that is less than --to");
    }
    let windows = recording.windows_between(from_ns, to_ns);
    if windows.is_empty() {
        let longest = recording.windows.iter().map(Window::elapsed_ns).max().unwrap_or(0);
        bail!(
            "no window of the recording lies there: it lasts {}, in windows of up to {}\n  \
             try: other times, or a longer part",
            length(recording.elapsed_ns()),
            length(longest)
        );
    }
    Ok(recording.span(windows))
}
