//! Every line that the program says on stderr beside errors, each with what to do next.

use std::{io, path::Path, time::Duration};

use profiler_report::{
    analyze::Report,
    recording::Recording,
    report::{frame_text, verdict_line},
};

/// The last lines of a recording: what was written, what was lost, what to do next; and the verdict, unless whoever
/// reads this has the report before him.
pub fn closing(report: &Report, files: &[String], has_read_report: bool) -> String {
    let trust = &report.trust;
    let samples = trust.on_cpu_samples + trust.off_cpu_samples;
    let lost =
        if trust.lost_ratio > 0.0 { format!("{:.2} %", 100.0 * trust.lost_ratio) } else { "none".to_owned() };
    let written = if files.is_empty() {
        " (report on stdout)".to_owned()
    } else {
        format!("; wrote {}", files.join(", "))
    };
    let next = match files.iter().find_map(|file| file.strip_suffix(".prof")) {
        Some(stem) => format!("; next: profiler report {stem}.prof -o {stem}.svg"),
        None => String::new(),
    };
    let verdict = if has_read_report {
        String::new()
    } else {
        format!("profiler: {}\n", verdict_line(&report.verdict))
    };
    format!("{verdict}profiler: {samples} stacks, {lost} lost{written}{next}")
}

/// For `-v`: where the time around the recording went.
pub fn timings(recording: &Recording, naming: Duration, writing: Duration) -> String {
    let costs = recording.windows.iter().map(|window| &window.cost);
    let (cuts, cut_ns) =
        costs.fold((0, 0), |(cuts, ns), cost| (cuts + u64::from(cost.cuts), ns + cost.cuts_ns));
    format!(
        "profiler: started in {:.0} ms; ended {cuts} windows in {:.1} ms each; named {} frames in {:.0} ms; wrote results in \
         {:.0} ms",
        recording.budget.startup_ns as f64 / 1e6,
        cut_ns as f64 / 1e6 / cuts.max(1) as f64,
        recording.frames.len(),
        naming.as_secs_f64() * 1e3,
        writing.as_secs_f64() * 1e3,
    )
}

/// For `-vv`: what a kernel program did. A name from a target may be in it.
pub fn kernel_line(line: &str) -> String {
    format!("profiler: kernel: {}", frame_text::plain(line))
}

/// For `-vv`: how many of those lines there was no room for.
pub fn kernel_lines_lost(lost: u64) -> Option<String> {
    (lost > 0).then(|| format!("profiler: kernel: {lost} more lines left out: too many at a time"))
}

/// A line or several for a terminal. Names of files and words of the command line are in it, and may hold anything.
pub fn shown(text: &str) -> String {
    text.split('\n').map(frame_text::plain).collect::<Vec<_>>().join("\n")
}

/// A result could not be written where it should be, and the recording is kept elsewhere.
pub fn saved_elsewhere(capture: &Path) -> String {
    let path = capture.display();
    format!("profiler: saved the recording as `{path}` instead\n  try: profiler report `{path}`")
}

/// It could not be kept elsewhere either.
pub fn not_saved(error: &anyhow::Error) -> String {
    format!("profiler: the recording could not be saved: {error:#}")
}

/// Files were written, but belong to root.
pub fn owner_not_changed(files: &[String], error: &io::Error) -> String {
    let files = files.join(" ");
    format!(
        "profiler: cannot give you the files, they belong to root: {error}\n  try: sudo chown $USER {files}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_programs_say_is_one_line_whatever_a_thread_is_called() {
        assert_eq!(
            kernel_line("account of thread 7 `a\x1b[2J\nb`"),
            "profiler: kernel: account of thread 7 `a\\u{1b}[2J\\u{a}b`"
        );
        assert_eq!(kernel_lines_lost(0), None);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_and_lines_stay_lines() {
        assert_eq!(
            shown("no `a\x1b[2J\u{9b}\u{202e}`\n  try: b\r"),
            "no `a\\u{1b}[2J\\u{9b}\\u{202e}`\n  try: b\\u{d}"
        );
    }
}
