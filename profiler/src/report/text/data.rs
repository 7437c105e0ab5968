//! How good the data is, and what it cost.

use super::Page;
use crate::analyze::{CrossCheck, Report};
use crate::report::escape::visible;
use crate::report::numbers::{bytes, count, duration, percent, plural, small_percent};

/// Programs named in the line of costs.
const PROGRAMS: usize = 3;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    page.heading("Data");
    page.note(&samples(report));
    page.note(&cross_check(report.cross_check.as_ref()));
    let quality = &report.recording.quality;
    if quality.offcpu_over_limit > 0 {
        let over = count(quality.offcpu_over_limit);
        page.note(&format!(
            "Off-CPU stacks: {over} waits passed over for lack of room; shares are coarser, times exact."
        ));
    }
    if quality.repeats_without_sample > 0 {
        let repeats = plural(quality.repeats_without_sample, "repeat");
        page.note(&format!(
            "Off-CPU stacks: {repeats} of waits whose stack was lost; shares are coarser, times exact."
        ));
    }
    for sentence in &quality.skipped {
        page.note(&format!("Skipped: {sentence}."));
    }
    page.heading("Cost");
    page.note(&own(report));
    page.note(&programs(report));
}

fn samples(report: &Report<'_>) -> String {
    let trust = &report.trust;
    let lost = trust.losses.iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.lost));
    let samples = format!(
        "{} on the CPU and {} off it, {} Hz by {}; lost {} ({})",
        plural(trust.on_cpu_samples, "stack"),
        count(trust.off_cpu_samples),
        report.recording.meta.sample_hz,
        report.recording.meta.sample_source,
        count(lost),
        small_percent(trust.lost_ratio),
    );
    let ends = trust.ends.ratios().map_or(String::new(), |ends| {
        let [complete, cut, broken] = ends.map(percent);
        format!("; stacks whole {complete}, cut {cut}, broken {broken}")
    });
    let named =
        trust.frames_named.map_or(String::new(), |named| format!("; frames with a name {}", percent(named)));
    samples + &ends + &named
}

fn cross_check(check: Option<&CrossCheck>) -> String {
    let Some(check) = check else {
        return "No cross-check: no thread's counters in /proc could be read at both edges.".to_owned();
    };
    let difference = |ledger: f64, kernel: f64| match kernel {
        0.0 => format!("{} against none", duration(ledger)),
        kernel => format!("{:+.1} %", 100.0 * (ledger - kernel) / kernel),
    };
    format!(
        "Against the kernel's counters of {}: on CPU {} (schedstat) and {} (utime + stime), waiting for a CPU {}",
        plural(check.threads as u64, "thread"),
        difference(check.on_cpu_ns, check.schedstat_run_ns),
        difference(check.on_cpu_ns, check.user_ns + check.system_ns),
        difference(check.run_queue_ns, check.schedstat_run_queue_ns),
    )
}

fn own(report: &Report<'_>) -> String {
    let cost = &report.recording.cost;
    let cpu = report.cost.own_cpu.map_or("not measured".to_owned(), small_percent);
    format!(
        "Profiler: {cpu} of one CPU, {} resident, {} in the kernel, ready after {}",
        bytes(cost.rss_bytes),
        bytes(cost.kernel_bytes),
        duration(cost.startup_ns as f64),
    )
}

fn programs(report: &Report<'_>) -> String {
    let Some(ratio) = report.cost.programs_cpu else {
        return "Kernel programs: not measured".to_owned();
    };
    let mut programs: Vec<_> =
        report.recording.cost.programs.iter().filter(|program| program.runs > 0).collect();
    programs.sort_by_key(|program| std::cmp::Reverse(program.run_ns));
    let each = programs.iter().take(PROGRAMS).map(|program| {
        let mean = duration(program.run_ns as f64 / program.runs as f64);
        format!("{} {mean} × {}", visible(&program.name, 24), count(program.runs))
    });
    let each = each.collect::<Vec<_>>().join(", ");
    let measured = duration(report.recording.cost.measured_ns as f64);
    let each = if each.is_empty() { String::new() } else { format!(": {each}") };
    format!("Kernel programs: {} of one CPU, measured over {measured}{each}", small_percent(ratio))
}
