//! Where the thread time went, by group and state.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::state::{self, Group};

use super::{COLUMNS, Page, left, right};
use crate::analyze::{Account, Report, StateTime, group};
use crate::report::escape::{self, visible};
use crate::report::numbers::{bar, duration, percent, plural};
use crate::report::state_name;

/// Columns of a bar of 100 %.
const BAR: usize = 20;
/// Columns right of the bar.
const NOTE: usize = COLUMNS - 67;
/// States below this share of the thread time are summed up in one line.
const SMALL: f64 = 0.001;
/// Above this the residual is marked as a doubt.
const RESIDUAL_LIMIT: f64 = 0.01;
/// Rows of kernel functions in which unknown time waits.
const UNKNOWN_ROWS: usize = 3;

/// Groups of blocked time, of equal ones in the order of the rows.
const BLOCKED: &[(Group, &str)] = &[
    (Group::Disk, "disk"),
    (Group::Lock, "lock"),
    (Group::Net, "network"),
    (Group::Ipc, "ipc"),
    (Group::Memory, "memory"),
    (Group::Unknown, "unknown"),
    (Group::Idle, "idle"),
];

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let account = &report.ledger.account;
    page.heading(&format!("Where {} of thread time went", page.time(account.elapsed_ns)));
    let on_cpu = account.state(state::ON_CPU);
    page.line(&row(page, account, "on CPU", on_cpu.ns, &each(on_cpu, "time")));
    run_queue(account, page);
    let mut groups = BLOCKED.to_vec();
    // Idle time is no one's trouble: it stands last, however long.
    groups.sort_by_key(|&(wanted, _)| {
        (wanted == Group::Idle, Reverse(account.ns_where(|code| group(code) == wanted)))
    });
    for (wanted, name) in groups {
        blocked(account, wanted, name, page);
        if wanted == Group::Unknown {
            unknown_in(report, page);
        }
    }
    page.line(&row(page, account, "residual", account.residual_ns, ""));
    if report.ledger.blocked_ns > 0 {
        let (blocked, share) =
            (page.time(report.ledger.blocked_ns), percent(report.ledger.classified_ratio()));
        page.line(&format!("  {blocked} blocked; reason known for {share}."));
    }
    doubts(report, page);
}

fn row(page: &Page, account: &Account, label: &str, ns: u64, note: &str) -> String {
    let share = ns as f64 / account.elapsed_ns.max(1) as f64;
    let numbers = format!("{} {}", right(&page.time(ns), 10), right(&percent(share), 8));
    // On a narrow terminal the bar gives way, not the words.
    let columns = BAR.saturating_sub(page.missing());
    let bar = if columns > 0 { left(&bar(share, columns), columns) + " " } else { String::new() };
    format!("  {} {numbers}  {bar}{note}", left(label, 22))
}

fn run_queue(account: &Account, page: &mut Page) {
    let (wake, preempt) = (account.state(state::RUNQ_WAKE), account.state(state::RUNQ_PREEMPT));
    let both =
        StateTime { ns: wake.ns.saturating_add(preempt.ns), count: wake.count.saturating_add(preempt.count) };
    page.line(&row(page, account, "waiting for a CPU", both.ns, &each(both, "wait")));
    if both.ns > 0 {
        let [wake, preempt] = [wake, preempt].map(|time| page.time(time.ns));
        page.line(&format!("    {wake} after a wake-up, {preempt} after a preemption or yield"));
    }
}

/// One row for each state of a group that took time, the largest first; the small ones together.
fn blocked(account: &Account, wanted: Group, name: &str, page: &mut Page) {
    let limit = account.elapsed_ns as f64 * SMALL;
    let mut label = name;
    let mut small = BTreeMap::new();
    for (code, time) in account.largest_first() {
        if !state::is_blocked(code) || group(code) != wanted {
            continue;
        }
        if (time.ns as f64) < limit && wanted != Group::Unknown {
            small.insert(code, time);
            continue;
        }
        let label = std::mem::take(&mut label);
        page.line(&row(page, account, &labelled(label, &state_name(code)), time.ns, &each(time, "wait")));
    }
    if !small.is_empty() {
        let ns = small.values().fold(0, |sum: u64, time| sum.saturating_add(time.ns));
        let names: Vec<_> = small.keys().map(|&code| state_name(code)).collect();
        page.line(&row(page, account, &labelled(label, "small"), ns, &as_many_as_fit(&names, NOTE)));
    }
}

/// The group's name before its first state; a state of the same name stands for both.
fn labelled(name: &str, state: &str) -> String {
    if name == state { name.to_owned() } else { format!("{} {state}", left(name, 8)) }
}

/// `exec, disk_read and 2 more`.
fn as_many_as_fit(names: &[String], columns: usize) -> String {
    for shown in (1..=names.len()).rev() {
        let more = match names.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = names[..shown].join(", ") + &more;
        if shown == 1 || escape::columns(&text) <= columns {
            return text;
        }
    }
    String::new()
}

/// `300 waits, 10 ms each`.
fn each(time: StateTime, thing: &str) -> String {
    match time.count {
        0 if time.ns == 0 => String::new(),
        0 => "none ended".to_owned(),
        count => format!("{}, {} each", plural(count, thing), duration(time.ns as f64 / count as f64)),
    }
}

fn unknown_in(report: &Report<'_>, page: &mut Page) {
    for row in report.stacks.unknown_in.iter().take(UNKNOWN_ROWS) {
        page.line(&format!("    {} in {}", page.time(row.ns), visible(&row.function, 60)));
    }
}

/// What makes these numbers less sure.
fn doubts(report: &Report<'_>, page: &mut Page) {
    let ledger = &report.ledger;
    if ledger.residual_ratio() > RESIDUAL_LIMIT {
        page.note(&format!(
            "The books do not close: the states and the threads' elapsed time differ by {}.",
            percent(ledger.residual_ratio())
        ));
    }
    for loss in report.trust.losses.iter().filter(|loss| loss.lost > 0 && loss.kind.is_about_time()) {
        page.note(&format!("{} of the {} lost.", percent(loss.ratio()), loss.kind.name()));
    }
    for sentence in report.cross_check.iter().flat_map(|check| &check.disagreements) {
        page.note(&format!("Cross-check: {sentence}."));
    }
}
