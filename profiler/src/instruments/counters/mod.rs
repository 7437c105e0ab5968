//! The kernel's own counters of each thread, read at both edges of a recording to check the ledger against.

mod process_io;

pub use process_io::ProcessReads;

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use profiler_common::ledger::{ThreadRecord, flags};

use crate::host::monotonic_ns;
use crate::process::read_text;
use profiler_report::recording::KernelCounters;

/// Threads whose counters are read: one takes some 20 µs, so this many take 40 ms.
const MOST_THREADS: usize = 2000;

/// Counters of one thread at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    at_ns: u64,
    /// In clock ticks since boot: tells a thread from a later one with its tid.
    started: u64,
    run_ns: u64,
    run_queue_ns: u64,
    user_ns: u64,
    system_ns: u64,
}

/// Readings at the start, by tid.
pub struct Counters(HashMap<u32, Reading>);

impl Counters {
    /// Reads the threads of these processes.
    pub fn read(tgids: Vec<u32>) -> Self {
        let threads = tgids.into_iter().flat_map(|tgid| threads(tgid).map(move |tid| (tgid, tid)));
        Self(threads.take(MOST_THREADS).filter_map(|(tgid, tid)| Some((tid, read(tgid, tid)?))).collect())
    }

    /// What each thread that is still there has gained. A thread born in between began at zero.
    pub fn differences(&self, accounts: &[ThreadRecord]) -> HashMap<u32, KernelCounters> {
        accounts
            .iter()
            .take(MOST_THREADS)
            .filter_map(|account| {
                let born_inside = account.flags & flags::BORN_INSIDE != 0;
                let before = if born_inside {
                    Reading { at_ns: account.opened_ns, ..Reading::default() }
                } else {
                    *self.0.get(&account.ns_tid)?
                };
                let after = read(account.ns_tgid, account.ns_tid)?;
                let is_same = born_inside || before.started == after.started;
                is_same.then(|| (account.ns_tid, after.since(&before)))
            })
            .collect()
    }
}

impl Reading {
    fn since(&self, before: &Self) -> KernelCounters {
        KernelCounters {
            run_ns: self.run_ns.saturating_sub(before.run_ns),
            run_queue_ns: self.run_queue_ns.saturating_sub(before.run_queue_ns),
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
            elapsed_ns: self.at_ns.saturating_sub(before.at_ns),
        }
    }
}

/// Threads of the recorded processes that `/proc` shows alive and the ledger has no account of.
pub fn unseen(accounts: &[ThreadRecord], tgids: &[u32]) -> u32 {
    let known: HashSet<u32> = accounts.iter().map(|account| account.ns_tid).collect();
    let shown = tgids.iter().flat_map(|&tgid| threads(tgid).map(move |tid| (tgid, tid)));
    shown.filter(|&(tgid, tid)| !known.contains(&tid) && is_alive(tgid, tid)).count() as u32
}

/// A thread that has ended, but that nobody has waited for, has no open account and needs none.
fn is_alive(tgid: u32, tid: u32) -> bool {
    let stat = read_text(&format!("/proc/{tgid}/task/{tid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn threads(tgid: u32) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(format!("/proc/{tgid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(tgid: u32, tid: u32) -> Option<Reading> {
    let file = |name: &str| read_text(&format!("/proc/{tgid}/task/{tid}/{name}")).ok();
    // Without CONFIG_SCHED_INFO there is no such file, and nothing to check against.
    let schedstat = file("schedstat")?;
    parse(&schedstat, &file("stat")?, monotonic_ns())
}

/// schedstat: `run_ns run_queue_ns slices`. stat: `tid (comm) state ppid …`, with utime, stime and starttime as fields 14,
/// 15 and 22 (proc_pid_stat(5)).
fn parse(schedstat: &str, stat: &str, at_ns: u64) -> Option<Reading> {
    let mut words = schedstat.split_whitespace().map(str::parse::<u64>);
    let (run_ns, run_queue_ns) = (words.next()?.ok()?, words.next()?.ok()?);
    // The name may hold anything; what follows its last parenthesis begins with field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Reading {
        at_ns,
        started: field(22)?,
        run_ns,
        run_queue_ns,
        user_ns: field(14)? * tick_ns(),
        system_ns: field(15)? * tick_ns(),
    })
}

fn tick_ns() -> u64 {
    // SAFETY: takes and returns numbers.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    1_000_000_000 / a_second.max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "77 (a) b) R 1 77 77 0 -1 4194304 1 2 3 4 250 30 0 0 20 0 1 0 5555 0 0";
        let reading = parse("1000 2000 3", stat, 9).unwrap();
        let tick = tick_ns();
        assert_eq!(
            reading,
            Reading {
                at_ns: 9,
                started: 5555,
                run_ns: 1000,
                run_queue_ns: 2000,
                user_ns: 250 * tick,
                system_ns: 30 * tick
            }
        );
    }

    #[test]
    fn this_thread_has_counters() {
        let own = std::process::id();
        assert!(read(own, own).is_some());
    }
}
