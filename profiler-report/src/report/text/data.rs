//! How good the data is, and what it cost.

use profiler_common::stat::Stat;

use super::Page;
use crate::analyze::label::broken_reason;
use crate::analyze::{CrossCheck, Report, StackEnds, Trust, counted};
use crate::recording::{Debuginfod, Detail, DetailStep, InstrumentId, SkipCause, Span};
use crate::report::escape::visible;
use crate::report::numbers::{bytes, count, duration, percent, plural, small_percent};
use crate::report::skips::{sentence, why_unmeasured};

/// Programs named in the line of costs.
const PROGRAMS: usize = 3;
/// What makes tables of disks and locks coarser or incomplete, as the end of a sentence that begins with its number.
const COARSER: &[(Stat, &str)] = &[
    (Stat::RequestSharesFull, "disk requests are not attributed to a process, cgroup or file (table full)."),
    (Stat::DiskWaitsFull, "disk waits are not attributed to what ended them (table full)."),
    (Stat::FileWaitsFull, "file waits are not attributed to a file (table full)."),
    (Stat::FileNamesDropped, "files have no path (ring full)."),
    (
        Stat::WakesDropped,
        "ends of waits merged into a later one, or without a stack (ring full); who ends waits is less precise.",
    ),
    (
        Stat::LocksOverLimit,
        "lock waits skipped at busy ticks; the shares of holders are less precise, times are exact.",
    ),
    (Stat::SubmitsDropped, "I/O-submission stacks lost (ring full); their shares are less precise."),
    (
        Stat::SubmitsOverLimit,
        "I/O-submission stacks skipped by the rate limit; their shares are less precise.",
    ),
    (Stat::KernelLocksFull, "waits for kernel locks are known only by kind (table full)."),
];
/// The longest of them has some 190 columns of ours; the rest is the kernel's words.
const SKIP_COLUMNS: usize = 400;
/// Changes of the detail that are shown.
const STEPS: usize = 6;
/// Times on both sides below this are not compared: the kernel brings its counters up to date at its tick.
const TICK_NS: f64 = 10e6;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    page.heading("Data");
    page.note(&samples(report));
    if let Some(stacks) = stacks(&report.trust) {
        page.note(&stacks);
    }
    page.note(&cross_check(report.cross_check.as_ref()));
    let quality = &report.recording.quality;
    if quality.offcpu_over_limit > 0 {
        let over = count(quality.offcpu_over_limit);
        page.note(&format!(
            "Off-CPU stacks: {over} waits skipped (limit of a pass); shares are less precise, times are exact."
        ));
    }
    let (passes, missed) = (quality.offcpu_passes, quality.offcpu_passes_missed);
    // One in twenty says nothing yet: the last one of a recording may just not have come.
    if missed.saturating_mul(20) > passes {
        let all = count(passes.saturating_add(missed));
        page.note(&format!(
            "Off-CPU stacks: {} of {all} passes skipped because they were late; shares are less precise, times are exact.",
            count(missed)
        ));
    }
    if quality.repeats_without_sample > 0 {
        let repeats = plural(quality.repeats_without_sample, "repeat");
        page.note(&format!(
            "Off-CPU stacks: {repeats} of waits whose stack was lost; shares are less precise, times are exact."
        ));
    }
    for (stat, what) in COARSER {
        let number = counted(report.recording, *stat);
        if number > 0 {
            page.note(&format!("{} {what}", count(number)));
        }
    }
    if quality.locks_over_limit > 0 {
        let rows = plural(quality.locks_over_limit, "row");
        page.note(&format!("Locks: {rows} of locks and ends of waits left out (table full)."));
    }
    if let Some(servers) = debuginfod(report.recording.debuginfod) {
        page.note(&servers);
    }
    skipped(report.recording, page);
    page.heading("Cost");
    page.note(&own(report));
    page.note(&programs(report));
    page.note(&budget(report));
    let steps = &report.recording.budget.steps;
    for step in steps.iter().take(STEPS) {
        page.note(&step_sentence(step));
    }
    if let Some(step) = steps.last().filter(|_| steps.len() > STEPS) {
        page.note(&format!("… {}; the last:", plural((steps.len() - STEPS) as u64, "more change")));
        page.note(&step_sentence(step));
    }
}

/// What is off or degraded. That there is no counter of cycles is so on most virtual machines, and takes little.
pub(super) fn skipped(recording: &Span, page: &mut Page) {
    for skip in &recording.skipped {
        let word = match skip.cause {
            SkipCause::CyclesUnsafe | SkipCause::NoCycles => "Note",
            _ => "Skipped",
        };
        page.note(&format!("{word}: {}.", visible(&sentence(skip), SKIP_COLUMNS)));
    }
}

/// Against what it was allowed to cost.
fn budget(report: &Report<'_>) -> String {
    let cost = report.cost.machine.map_or("not measured".to_owned(), small_percent);
    let budget = small_percent(report.recording.budget.ratio);
    let cpus = plural(u64::from(report.recording.meta.cpus), "CPU");
    format!("Total: {cost} of the machine's {cpus}; limit {budget}")
}

fn step_sentence(step: &DetailStep) -> String {
    let (at, cost) = (duration(step.at_ns as f64), small_percent(step.cost_ratio));
    let from_then_on = match step.detail {
        Detail::Full => "full detail again",
        Detail::HalfRate => "sampling at 1/2 of the rate",
        Detail::QuarterRate => "sampling at 1/4 of the rate",
        Detail::NoOptionalProbes => &format!("sampling at 1/4, no {}", optional()),
        Detail::FewOffCpuStacks => "sampling at 1/4, few stacks of waiting threads",
        Detail::LedgerOnly => "times only, no stacks",
        Detail::Detached => {
            return format!(
                "Ended at {at}: even without stacks, recording cost {cost} of the machine. Raise the limit with `--max-overhead`."
            );
        }
    };
    format!("From {at}: {from_then_on}; recording cost {cost} of the machine")
}

/// What rests first where the budget is short.
fn optional() -> String {
    let things = InstrumentId::OPTIONAL.map(|instrument| match instrument {
        InstrumentId::BlockIo => "disks",
        InstrumentId::Locks => "locks or ends of waits",
        other => other.name(),
    });
    things.join(", ")
}

fn passes(number: u64) -> String {
    if number == 1 { "1 pass".to_owned() } else { format!("{} passes", count(number)) }
}

fn samples(report: &Report<'_>) -> String {
    let (trust, meta) = (&report.trust, &report.recording.meta);
    let lost: Vec<String> = trust
        .losses
        .iter()
        .filter(|loss| loss.lost > 0)
        .map(|loss| {
            format!("{} of the {} ({})", count(loss.lost), loss.kind.name(), small_percent(loss.ratio()))
        })
        .collect();
    format!(
        "Samples: {} on the CPU ({} Hz by {}), {} off it (in {}); {} lost",
        count(trust.on_cpu_samples),
        meta.sample_hz,
        meta.sample_source,
        count(trust.off_cpu_samples),
        passes(report.recording.quality.offcpu_passes),
        if lost.is_empty() { "none".to_owned() } else { lost.join(", ") },
    )
}

/// How the stacks ended; none if there are none.
fn stacks(trust: &Trust) -> Option<String> {
    let [complete, cut, broken] = trust.ends.ratios()?.map(percent);
    let reasons: Vec<String> = trust
        .ends
        .broken
        .iter()
        .map(|(&why, &number)| format!("{} {}", broken_reason(why), count(number)))
        .collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    let named =
        trust.frames_named.map_or(String::new(), |named| format!("; frames with a name {}", percent(named)));
    let whole = |ends: &StackEnds| ends.ratios().map_or("none".to_owned(), |[whole, _, _]| percent(whole));
    let (on_cpu, off_cpu) = (whole(&trust.on_cpu_ends), whole(&trust.off_cpu_ends));
    let guessed = trust.ends.by_frame_pointers_ratio().filter(|&ratio| ratio > 0.0);
    let guessed =
        guessed.map_or(String::new(), |ratio| format!("; by frame pointers {}", small_percent(ratio)));
    Some(format!(
        "Stacks: whole {complete} (on the CPU {on_cpu}, off it {off_cpu}), cut {cut}, \
         broken {broken}{reasons}{guessed}{named}"
    ))
}

/// What debuginfod servers had; none if they were not asked and the cache had nothing.
fn debuginfod(files: Debuginfod) -> Option<String> {
    let parts = [
        (files.found, "found"),
        (files.cached, "in the cache"),
        (files.unknown, "unknown to the servers"),
        (files.failed, "failed"),
        (files.late, "not received in time"),
    ];
    let told: Vec<_> = parts.iter().filter(|(number, _)| *number > 0).collect();
    let told: Vec<String> = told.iter().map(|(number, what)| format!("{} {what}", count(*number))).collect();
    let asked = plural(files.asked, "file");
    (!told.is_empty()).then(|| format!("Debuginfod: {asked} requested; {}", told.join(", ")))
}

fn cross_check(check: Option<&CrossCheck>) -> String {
    let Some(check) = check else {
        return "No cross-check: no thread had counters in /proc at both ends of the recording.".to_owned();
    };
    let on_cpu = match difference(check.on_cpu_ns, check.schedstat_run_ns) {
        None => "too little to compare".to_owned(),
        Some(schedstat) => {
            let times = difference(check.on_cpu_ns, check.user_ns + check.system_ns);
            let times = times.map_or(String::new(), |times| format!(", {times} (utime + stime)"));
            format!("{schedstat} (schedstat){times}")
        }
    };
    let run_queue = difference(check.run_queue_ns, check.schedstat_run_queue_ns);
    format!(
        "Cross-check with /proc, {}: on CPU {on_cpu}; waiting for a CPU {}",
        plural(check.threads as u64, "thread"),
        run_queue.unwrap_or_else(|| "too little to compare".to_owned()),
    )
}

/// How far the ledger is from the kernel's counter; none where neither has a tick's worth.
fn difference(ledger_ns: f64, kernel_ns: f64) -> Option<String> {
    match kernel_ns {
        _ if ledger_ns.max(kernel_ns) < TICK_NS => None,
        0.0 => Some(format!("{} vs. none", duration(ledger_ns))),
        _ => Some(format!("{:+.1} %", 100.0 * (ledger_ns - kernel_ns) / kernel_ns)),
    }
}

fn own(report: &Report<'_>) -> String {
    let cost = &report.recording.cost;
    let cpu = report.cost.own_cpu.map_or("not measured".to_owned(), |cpu| small_percent(cpu) + " of one CPU");
    format!(
        "Profiler: {cpu}, {} resident, {} in the kernel, started in {}",
        bytes(cost.rss_bytes),
        bytes(cost.kernel_bytes),
        duration(report.recording.budget.startup_ns as f64),
    )
}

fn programs(report: &Report<'_>) -> String {
    let Some(ratio) = report.cost.programs_cpu else {
        let skipped = &report.recording.skipped;
        let is_told = skipped.iter().any(|skip| skip.cause == SkipCause::RunTimesUnmeasured);
        let why = if is_told { format!(" ({})", why_unmeasured()) } else { String::new() };
        return format!("Kernel programs: not measured{why}");
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
