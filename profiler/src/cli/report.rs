//! `profiler report`: the report of a capture, the same as that of the live run.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{args, code, outputs::Plan};
use crate::{confine, messages};
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
    let named = args.input.as_slice().iter().chain(&args.captures).cloned().collect::<Vec<_>>();
    let captures = if named.is_empty() {
        let newest = newest(Path::new("."))?;
        eprintln!("{}", messages::shown(&format!("profiler: the newest capture here: {}", newest.display())));
        vec![newest]
    } else {
        named
    };
    if captures.len() > 1 && !plan.files().is_empty() {
        bail!(
            "each capture would be written over the one before\n  try: profiler report with one capture a file"
        );
    }
    let mut sampled = true;
    for path in &captures {
        if captures.len() > 1 {
            println!("{}", messages::shown(&format!("== {}", path.display())));
        }
        sampled &= report(path, args, &plan)?;
    }
    Ok(if sampled { 0 } else { code::NOTHING_SAMPLED })
}

/// Reports on one capture. Returns whether there are stacks in it.
fn report(path: &Path, args: &args::Report, plan: &Plan) -> Result<bool> {
    let shown = path.display();
    let recording = if path == Path::new("-") {
        capture::load(&mut io::stdin().lock()).context("cannot read the capture from stdin")?
    } else {
        let mut file = File::open(path).with_context(|| format!("cannot open the capture `{shown}`"))?;
        capture::load(&mut file).with_context(|| format!("cannot read the capture `{shown}`"))?
    };
    let span = part(&recording, args)?;
    let report = Report::over_time(&recording, &span);
    plan.write(&recording, &report)?;
    Ok(report.trust.on_cpu_samples + report.trust.off_cpu_samples > 0)
}

/// The capture in a directory that was written last, of those whose names `profiler record` has chosen.
fn newest(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).context("cannot list this directory")?.flatten();
    let is_ours =
        |name: &str| name.starts_with("profiler-") && Path::new(name).extension() == Some("prof".as_ref());
    let captures = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    let newest = captures.max_by_key(|entry| entry.metadata().and_then(|metadata| metadata.modified()).ok());
    let newest =
        newest.context("there is no capture here\n  try: profiler report FILE, or profiler record first")?;
    Ok(PathBuf::from(newest.file_name()))
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
