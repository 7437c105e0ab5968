//! Who used the time: the busiest processes and threads.

use std::cmp::Reverse;

use profiler_common::state;

use super::{COLUMNS, Page, left, right};
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
    processes.sort_by_key(|process| Reverse(process.account.active_ns()));
    page.heading("Busiest processes     pid     active     on CPU  threads  command line");
    for process in processes.iter().take(PROCESS_ROWS) {
        let row = &report.recording.processes[process.row];
        let times = times(page, &process.account);
        let threads = right(&count(process.threads as u64), 7);
        let start = format!("  {}{:>9} {times}  {threads}  ", left(&visible(&row.comm, 16), 16), row.tgid);
        page.line(&format!("{start}{}", visible(&row.command_line, COLUMNS - columns(&start))));
    }
    rest(processes.len(), PROCESS_ROWS, page);
}

fn threads(report: &Report<'_>, page: &mut Page) {
    page.heading("Busiest threads       tid     active     on CPU  where its time went");
    for thread in report.threads.iter().take(THREAD_ROWS) {
        let row = &report.recording.threads[thread.row];
        let times = times(page, &thread.account);
        let start = format!("  {}{:>9} {times}  ", left(&visible(&row.comm, 16), 16), row.tid);
        let mut line = start + &top_states(&thread.account);
        match (row.born_inside, row.ended_inside) {
            (true, true) => line.push_str(" (born and ended)"),
            (true, false) => line.push_str(" (born)"),
            (false, true) => line.push_str(" (ended)"),
            (false, false) => {}
        }
        page.line(&line);
    }
    rest(report.threads.len(), THREAD_ROWS, page);
}

/// Active time (all but idle waits), and time on the CPU.
fn times(page: &Page, account: &Account) -> String {
    let [active, on_cpu] = [account.active_ns(), account.state(state::ON_CPU).ns];
    format!("{} {}", right(&page.time(active), 10), right(&page.time(on_cpu), 10))
}

/// The two largest states, as shares of the thread's life.
fn top_states(account: &Account) -> String {
    let share = |ns: u64| percent(ns as f64 / account.elapsed_ns.max(1) as f64);
    let states = account.largest_first();
    let top = states.iter().take(2).map(|&(code, time)| format!("{} {}", state_name(code), share(time.ns)));
    top.collect::<Vec<_>>().join(", ")
}

fn rest(all: usize, shown: usize, page: &mut Page) {
    if all > shown {
        page.line(&format!("  and {} more", count((all - shown) as u64)));
    }
}
