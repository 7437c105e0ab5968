//! Which code used the time: the largest stacks on and off the CPU, innermost function first.

use profiler_common::state::Group;

use super::{COLUMNS, Page, left, right};
use crate::analyze::{Report, StackTime, group};
use crate::report::escape::{columns, visible};
use crate::report::numbers::{count, plural};
use crate::report::state_name;

const ROWS: usize = 8;
/// Columns of one function's name.
const FUNCTION: usize = 40;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let stacks = &report.stacks;
    let samples = plural(report.trust.on_cpu_samples, "sample");
    page.heading(&format!(
        "Top stacks on the CPU  ({samples}{})",
        missing(page, report.trust.on_cpu_lost, stacks.on_cpu_not_sampled_ns)
    ));
    for stack in stacks.on_cpu.iter().take(ROWS) {
        page.line(&row(page, stack, ""));
    }
    let samples = plural(report.trust.off_cpu_samples, "sample");
    page.heading(&format!(
        "Top stacks off the CPU  ({samples}{})",
        missing(page, report.trust.off_cpu_lost, stacks.off_cpu_not_sampled_ns)
    ));
    for stack in stacks.off_cpu.iter().filter(|stack| group(stack.state) != Group::Idle).take(ROWS) {
        page.line(&row(page, stack, &left(&state_name(stack.state), 14)));
    }
    idle(report, page);
}

/// The waits for work, in one line.
fn idle(report: &Report<'_>, page: &mut Page) {
    let account = &report.ledger.account;
    let idle = |code| group(code) == Group::Idle;
    let ns = account.ns_where(idle);
    if ns == 0 {
        return;
    }
    let states = account.largest_first().into_iter().filter(|&(code, _)| idle(code));
    let names = states.map(|(code, _)| state_name(code)).collect::<Vec<_>>().join(", ");
    page.line(&format!("  {}  idle: {}", right(&page.time(ns), 10), visible(&names, 70)));
}

/// What the stacks of a list lack.
fn missing(page: &Page, lost: u64, not_sampled_ns: f64) -> String {
    let lost = if lost > 0 { format!(", {} lost", count(lost)) } else { String::new() };
    if not_sampled_ns > 0.0 {
        format!("{lost}; {} not sampled", page.scale.show(not_sampled_ns))
    } else {
        lost
    }
}

/// `3.00 s  fsync  db: flush ← execute ← main  (kernel: jbd2_log_wait_commit)`, cut to the width of the page.
fn row(page: &Page, stack: &StackTime, state: &str) -> String {
    let kernel = stack.kernel_function();
    let kernel =
        kernel.map_or(String::new(), |function| format!("  (kernel: {})", visible(function, FUNCTION)));
    let mut line =
        format!("  {}  {state}{}: ", right(&page.scale.show(stack.ns), 10), visible(&stack.comm, 15));
    let room = COLUMNS - columns(&kernel);
    let user = &stack.frames[..stack.frames.len() - stack.kernel_frames];
    for (index, function) in user.iter().rev().enumerate() {
        let arrow = if index == 0 { "" } else { " ← " };
        let function = format!("{arrow}{}", visible(function, FUNCTION));
        // Room for the mark is kept, unless this is the last one.
        let mark = if index + 1 == user.len() { 0 } else { columns(" ← …") };
        if columns(&line) + columns(&function) + mark > room {
            line.push_str(if index == 0 { "…" } else { " ← …" });
            break;
        }
        line.push_str(&function);
    }
    line + &kernel
}
