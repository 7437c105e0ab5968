//! Who was recorded, when and where, and whether the numbers can be relied on.

use super::Page;
use crate::analyze::{Loss, Report, Trust};
use crate::report::escape::visible;
use crate::report::numbers::{count, length, percent, plural, utc};
use crate::report::words::sentence;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let meta = &report.recording.meta;
    unreliable(&report.trust, page);
    page.coloured("1", &who(report));
    page.line(&format!(
        "{} on {} · Linux {} {}, {} · {}",
        length(report.recording.elapsed_ns()),
        visible(&meta.hostname, 24),
        visible(&meta.kernel_release, 24),
        visible(&meta.architecture, 8),
        plural(meta.cpus as u64, "CPU"),
        utc(meta.started_unix_ns),
    ));
    if let Some(part) = report.recording.part {
        page.line(&format!(
            "the part from {} to {} of {}",
            length(part.from_ns),
            length(part.to_ns),
            length(part.of_ns)
        ));
    }
    if let Some(code) = meta.command_exit_code {
        page.line(&format!("the command ended with exit code {code}"));
    }
    nothing(report, page);
}

/// `db (pid 812, 2 processes, 3 threads)`: named after the busiest process.
fn who(report: &Report<'_>) -> String {
    let threads = plural(report.threads.len() as u64, "thread");
    // Of equals `max_by_key` takes the last: reversed, the first.
    let busiest = report.processes.iter().rev().max_by_key(|process| process.account.busy_ns());
    let Some(first) = busiest else {
        return format!("{} (no process found)", visible(&report.recording.meta.target, 70));
    };
    let process = &report.recording.processes[first.row];
    let processes = match report.processes.len() {
        1 => String::new(),
        processes => format!(", {} processes", count(processes as u64)),
    };
    format!("{} (pid {}{processes}, {threads})", visible(&process.comm, 48), process.tgid)
}

/// The first thing to read, if the recording lost too much.
fn unreliable(trust: &Trust, page: &mut Page) {
    if trust.reliable {
        return;
    }
    let mut losses: Vec<&Loss> = trust.losses.iter().filter(|loss| loss.lost > 0).collect();
    losses.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    let Some(worst) = losses.first() else { return };
    let lost = losses.iter().map(|loss| {
        let all = loss.lost.saturating_add(loss.arrived);
        format!("{} of {} {} ({})", count(loss.lost), count(all), loss.kind.name(), percent(loss.ratio()))
    });
    let lost = lost.collect::<Vec<_>>().join(", ");
    page.warning(&format!("NOT RELIABLE: {lost} lost. Try: {}.", sentence(&worst.kind.advice())));
}

/// What is not there to be shown, and what may be the reason.
fn nothing(report: &Report<'_>, page: &mut Page) {
    if report.recording.elapsed_ns() == 0 {
        page.note("The recording is empty: it was stopped as it started.");
    }
    if report.threads.is_empty() {
        page.note("No thread was seen: the target had already ended, or nothing matched.");
    } else if report.trust.on_cpu_samples == 0 && report.trust.off_cpu_samples == 0 {
        page.note("No stack was sampled: the times below are exact, but cannot be attributed to code.");
    }
}
