//! Locks: which, how long, who held them and what that one did meanwhile; and who ended which waits.

use std::fmt::Write as _;

use super::{Page, left, right};
use crate::analyze::{
    Chain, Deadlock, Edge, Ender, FutexRow, Holder, KernelLockRow, Report, lock_name, state_name,
};
use crate::recording::{Party, Span, ThreadId};
use crate::report::escape::visible;
use crate::report::numbers::{count, percent, plural, seconds};

/// Rows of each list.
const LOCKS: usize = 4;
const KERNEL_LOCKS: usize = 4;
const CHAINS: usize = 3;
const OTHERS: usize = 3;
/// A wait below this share of the thread time is of no interest.
const SMALL: f64 = 0.001;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    deadlocks(report, page);
    let least = report.ledger.account.elapsed_ns as f64 * SMALL;
    locks(report, page, least);
    kernel_locks(report, page, least);
    chains(report, page, least);
}

fn deadlocks(report: &Report<'_>, page: &mut Page) {
    for Deadlock { steps, since_ns } in &report.locks.deadlocks {
        let since = seconds(report.recording.meta.ended_at_ns.saturating_sub(*since_ns));
        let step = |&(thread, lock): &(ThreadId, u32)| {
            format!(
                "{} waits for {}",
                thread_name(report.recording, thread),
                lock_name(report.recording, lock)
            )
        };
        let steps: Vec<String> = steps.iter().map(step).collect();
        page.heading("Deadlock");
        page.warning(&format!(
            "For at least {since}: {}, held by the first thread.",
            visible(&steps.join(", held by the next; "), 600)
        ));
    }
}

fn locks(report: &Report<'_>, page: &mut Page, least: f64) {
    let told: Vec<_> =
        report.locks.futexes.iter().filter(|row| row.is_lock() && row.waited_ns as f64 >= least).collect();
    if told.is_empty() {
        return;
    }
    page.heading("Locks");
    for row in told.iter().take(LOCKS) {
        lock(report, row, page);
    }
    if told.len() > LOCKS {
        page.note(&format!("… {} more", count((told.len() - LOCKS) as u64)));
    }
    let others: Vec<_> =
        report.locks.futexes.iter().filter(|row| !row.is_lock() && row.waited_ns as f64 >= least).collect();
    if !others.is_empty() {
        let names: Vec<String> = others
            .iter()
            .take(OTHERS)
            .map(|row| format!("{} {}", row.kind.words(), seconds(row.waited_ns)))
            .collect();
        page.note(&format!("Other synchronisation waits (not counted as locks): {}.", names.join(", ")));
    }
}

fn lock(report: &Report<'_>, row: &FutexRow, page: &mut Page) {
    page.line(&format!(
        "  {}  {} {}: {}, {}",
        right(&page.time(row.waited_ns), 10),
        left(row.kind.words(), 15),
        visible(&lock_name(report.recording, row.lock), 40),
        plural(row.waiters.len() as u64, "thread"),
        plural(row.waits.round() as u64, "wait"),
    ));
    held_by(report, &row.holder, page);
    chain_line(page, "waited for in", &row.waited_in);
    chain_line(page, "released in", &row.released_in);
}

fn chain_line(page: &mut Page, label: &str, functions: &[String]) {
    if !functions.is_empty() {
        page.line(&format!("              {} {}", left(label, 15), visible(&functions.join(" ← "), 68)));
    }
}

fn held_by(report: &Report<'_>, holder: &Holder, page: &mut Page) {
    let Some((first, part)) = holder.parties.first() else {
        return page.line(&format!("              {} unknown", left("held by", 15)));
    };
    let how = if holder.observed { "from the lock itself" } else { "inferred from who woke the waiters" };
    let others = if holder.parties.len() > 1 {
        format!(" and {}", plural(holder.parties.len() as u64 - 1, "other"))
    } else {
        String::new()
    };
    let name = visible(&party_name(report.recording, first), 30);
    page.line(&format!("              {} {name} {}{others} ({how})", left("held by", 15), percent(*part)));
    if !holder.meanwhile.is_empty() {
        let states: Vec<String> = holder
            .meanwhile
            .iter()
            .take(4)
            .map(|&(code, part)| format!("{} {}", state_name(code), percent(part)))
            .collect();
        page.line(&format!("              {} {}", left("meanwhile", 15), states.join(", ")));
    }
}

fn kernel_locks(report: &Report<'_>, page: &mut Page, least: f64) {
    let time = |row: &KernelLockRow| row.slept_ns.saturating_add(row.spun_ns);
    let told: Vec<_> = report.locks.kernel.iter().filter(|row| time(row) as f64 >= least).collect();
    if told.is_empty() {
        return;
    }
    page.heading("Kernel locks that these threads waited for");
    for row in told.iter().take(KERNEL_LOCKS) {
        let spun = if row.spun_ns > 0 {
            format!(", {} of that spinning", seconds(row.spun_ns))
        } else {
            String::new()
        };
        let asked =
            row.waited_in.as_ref().map_or(String::new(), |function| format!(" in {}", visible(function, 30)));
        page.line(&format!(
            "  {}  {} {}{asked}: {}, longest {}{spun}",
            right(&page.time(time(row)), 10),
            left(row.kind, 12),
            visible(&lock_name(report.recording, row.lock), 30),
            plural(row.count, "wait"),
            seconds(row.longest_ns),
        ));
        if !row.holder.parties.is_empty() {
            held_by(report, &row.holder, page);
        }
    }
    if told.len() > KERNEL_LOCKS {
        page.note(&format!("… {} more", count((told.len() - KERNEL_LOCKS) as u64)));
    }
}

/// What the threads waited for, from one to the next.
fn chains(report: &Report<'_>, page: &mut Page, least: f64) {
    let is_long = |chain: &&Chain| chain.steps.first().is_some_and(|edge| edge.waited_ns as f64 >= least);
    let told: Vec<_> = report.wakers.chains.iter().filter(is_long).take(CHAINS).collect();
    if told.is_empty() {
        return;
    }
    page.heading("Who waits for whom");
    for chain in told {
        page.note(&chain_text(report.recording, chain));
    }
}

fn chain_text(recording: &Span, chain: &Chain) -> String {
    let mut text = String::new();
    for Edge { waiter, state, waited_ns, .. } in &chain.steps {
        let name = visible(&thread_name(recording, *waiter), 30);
        let _ = write!(text, "{name} —{} {}→ ", state_name(*state), seconds(*waited_ns));
    }
    let end = chain.steps.last().map_or(String::new(), |edge| ender_name(recording, &edge.ender));
    text + &visible(&end, 40) + if chain.in_circle { " (they take turns)" } else { "" }
}

fn ender_name(recording: &Span, ender: &Ender) -> String {
    match ender {
        Ender::Thread(thread) => thread_name(recording, *thread),
        Ender::Process { tgid, comm } => format!("{comm} (pid {tgid})"),
        Ender::KernelThread(name) => format!("the kernel's {name}"),
        Ender::Timer => "a timer".to_owned(),
        Ender::Network => "the network".to_owned(),
        Ender::Disk => "a disk".to_owned(),
        Ender::Interrupt => "an interrupt".to_owned(),
    }
}

fn party_name(recording: &Span, party: &Party) -> String {
    match party {
        Party::Thread(thread) => thread_name(recording, *thread),
        Party::Stranger { tgid, comm, .. } => format!("{comm} (pid {tgid})"),
        Party::Nobody => "nobody".to_owned(),
    }
}

fn thread_name(recording: &Span, thread: ThreadId) -> String {
    recording
        .threads
        .get(thread as usize)
        .map_or("a thread".to_owned(), |row| format!("{} (tid {})", row.comm, row.tid))
}
