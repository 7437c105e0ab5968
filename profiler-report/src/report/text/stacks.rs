//! Which code used the time: the largest stacks on and off the CPU, innermost function first.

use super::{Page, left, right};
use crate::analyze::{HotFunction, HotList, HotStack, Report};
use crate::report::escape::{columns, visible};
use crate::report::function_name::{is_wait_plumbing, short};
use crate::report::numbers::{count, duration, plural};
use crate::report::state_name;

const ROWS: usize = 8;
const IDLE_ROWS: usize = 5;
/// Columns of one function's name.
const FUNCTION: usize = 44;
/// Columns to which a name may be cut to fit into the line.
const SHORTEST: usize = 20;
/// Columns of a state's name.
const STATE: usize = 14;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let (hot, trust) = (&report.hot, &report.trust);
    let title = "Top stacks on the CPU (innermost first, [k] kernel, [i] inlined)";
    list(report, page, title, (&hot.on_cpu, trust.on_cpu_lost, ROWS), |_| String::new());
    if hot.on_cpu.samples == 0 {
        page.note(&why_no_sample(report));
    }
    let state = |stack: &HotStack| left(&state_name(stack.state), STATE) + " ";
    if hot.blocked.total_ns > 0 {
        list(report, page, "Top stacks blocked", (&hot.blocked, trust.off_cpu_lost, ROWS), state);
    }
    if hot.idle.total_ns > 0 {
        list(
            report,
            page,
            "Stacks waiting for work, for time or for another thread",
            (&hot.idle, 0, IDLE_ROWS),
            state,
        );
    }
}

/// One list with its heading; `state` is the column before the functions.
fn list(
    report: &Report<'_>,
    page: &mut Page,
    title: &str,
    (hot, dropped, rows): (&HotList, u64, usize),
    state: impl Fn(&HotStack) -> String,
) {
    let lost = if dropped > 0 { format!(", {} lost", count(dropped)) } else { String::new() };
    let samples = plural(hot.samples, "sample");
    page.heading(&format!("{title}: {} in {samples}{lost}", page.time(hot.total_ns)));
    for stack in hot.rows.iter().take(rows) {
        page.line(&row(report, page, stack, &state(stack)));
    }
    let others: Vec<u64> =
        hot.rows.iter().skip(rows).map(|row| row.ns).chain(hot.others_ns.iter().copied()).collect();
    if !others.is_empty() {
        let ns = others.iter().fold(0_u64, |sum, &ns| sum.saturating_add(ns));
        page.line(&format!(
            "  {}  in {}",
            right(&page.time(ns), 10),
            plural(others.len() as u64, "other stack")
        ));
    }
    if hot.not_sampled_ns > 0 {
        page.line(&format!("  {}  not sampled", right(&page.time(hot.not_sampled_ns), 10)));
    }
}

fn why_no_sample(report: &Report<'_>) -> String {
    let on_cpu_ns = report.hot.on_cpu.total_ns;
    let interval_ns = 1e9 / f64::from(report.recording.meta.sample_hz.max(1));
    if on_cpu_ns == 0 {
        "No thread ran.".to_owned()
    } else if (on_cpu_ns as f64) < 3.0 * interval_ns {
        let (time, interval) = (duration(on_cpu_ns as f64), duration(interval_ns));
        format!(
            "No sample in {time} on the CPU, at one sample every {interval}. Record for longer, or use a higher -F."
        )
    } else {
        "No sample, although threads ran: see Skipped and losses below.".to_owned()
    }
}

/// `3.00 s  fsync  db: [k] jbd2_log_wait_commit ← flush ← execute ← main`, cut to the width of the page.
fn row(report: &Report<'_>, page: &Page, stack: &HotStack, state: &str) -> String {
    let time = right(&page.time(stack.ns), 10);
    let mut line = format!("  {time}  {state}{}", process(report, &stack.comm));
    let functions = functions(stack);
    for (index, function) in functions.iter().enumerate() {
        let arrow = if index == 0 { "" } else { " ← " };
        // Room for the mark is kept, unless this is the last one.
        let mark = if index + 1 == functions.len() { 0 } else { columns(" ← …") };
        let room = page.columns().saturating_sub(columns(&line) + columns(arrow) + mark);
        if room < columns(function).min(SHORTEST) {
            line.push_str(if index == 0 { "…" } else { " ← …" });
            break;
        }
        line.push_str(arrow);
        line.push_str(&visible(function, room));
    }
    line
}

/// The process, where the report is about more than one name.
fn process(report: &Report<'_>, comm: &str) -> String {
    let same = report.recording.processes.iter().all(|process| process.comm == comm);
    if same { String::new() } else { format!("{}: ", visible(comm, 15)) }
}

/// The functions as they are shown.
fn functions(stack: &HotStack) -> Vec<String> {
    let kernel = stack.kernel.iter().map(|function| format!("[k] {}", visible(function, FUNCTION)));
    let user = stack.user.iter().filter(|function| !is_wait_plumbing(&function.name));
    let shown = |function: &HotFunction| {
        let name = visible(&short(&function.name), FUNCTION);
        if function.inlined { format!("[i] {name}") } else { name }
    };
    let mut functions: Vec<String> = kernel.chain(user.map(shown)).collect();
    functions.dedup();
    functions
}
