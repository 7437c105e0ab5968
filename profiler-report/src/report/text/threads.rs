//! Who used the time: the busiest processes and threads.

use std::cmp::Reverse;

use profiler_common::state;

use super::{Page, left, right};
use crate::analyze::{Account, Report};
use crate::report::escape::{columns, visible};
use crate::report::numbers::{count, percent};
use crate::report::state_name;

const PROCESS_ROWS: usize = 5;
const THREAD_ROWS: usize = 10;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    if report.processes.len() > 1 {
        processes(report, page);
    }
    threads(report, page);
}

fn processes(report: &Report<'_>, page: &mut Page) {
    let mut processes: Vec<_> = report.processes.iter().collect();
    processes.sort_by_key(|process| Reverse(process.account.busy_ns()));
    page.heading("Busiest processes     pid       busy     on CPU  threads  command line");
    for process in processes.iter().take(PROCESS_ROWS) {
        let row = &report.recording.processes[process.row];
        let times = times(page, &process.account);
        let threads = right(&count(process.threads as u64), 7);
        let start = format!("  {}{:>9} {times}  {threads}  ", left(&visible(&row.comm, 16), 16), row.tgid);
        page.line(&format!("{start}{}", visible(&row.command_line, page.columns() - columns(&start))));
    }
    rest(processes.iter().map(|process| &process.account), PROCESS_ROWS, page);
}

fn threads(report: &Report<'_>, page: &mut Page) {
    page.heading("Busiest threads       tid       busy     on CPU  where its time went");
    for thread in report.threads.iter().take(THREAD_ROWS) {
        let row = &report.recording.threads[thread.row];
        let times = times(page, &thread.account);
        let start = format!("  {}{:>9} {times}  ", left(&visible(&row.comm, 16), 16), row.tid);
        let life = match (row.born_inside, row.ended_inside) {
            (true, true) => " (started, ended)",
            (true, false) => " (started)",
            (false, true) => " (ended)",
            (false, false) => "",
        };
        let room = page.columns() - columns(&start) - columns(life);
        page.line(&(start + &top_states(&thread.account, room) + life));
    }
    rest(report.threads.iter().map(|thread| &thread.account), THREAD_ROWS, page);
}

/// Busy time (all but waits for work, the network and other processes), and time on the CPU.
fn times(page: &Page, account: &Account) -> String {
    let [active, on_cpu] = [account.busy_ns(), account.state(state::ON_CPU).ns];
    format!("{} {}", right(&page.time(active), 10), right(&page.time(on_cpu), 10))
}

/// The largest states, as shares of the thread's life: as many as there is room for, at most three.
fn top_states(account: &Account, room: usize) -> String {
    let share = |ns: u64| percent(ns as f64 / account.elapsed_ns.max(1) as f64);
    let mut shown = String::new();
    for (code, time) in account.largest_first().into_iter().take(3) {
        let comma = if shown.is_empty() { "" } else { ", " };
        let next = format!("{comma}{} {}", state_name(code), share(time.ns));
        if columns(&shown) + columns(&next) > room {
            break;
        }
        shown.push_str(&next);
    }
    shown
}

/// The sum of those that have no row of their own.
fn rest<'a>(accounts: impl Iterator<Item = &'a Account>, shown: usize, page: &mut Page) {
    let others: Vec<&Account> = accounts.skip(shown).collect();
    if others.is_empty() {
        return;
    }
    let sum =
        |part: fn(&Account) -> u64| others.iter().fold(0_u64, |sum, other| sum.saturating_add(part(other)));
    let [busy, on_cpu] = [sum(Account::busy_ns), sum(|account| account.state(state::ON_CPU).ns)];
    let label = left(&format!("and {} more", count(others.len() as u64)), 25);
    page.line(&format!("  {label} {} {}", right(&page.time(busy), 10), right(&page.time(on_cpu), 10)));
}
