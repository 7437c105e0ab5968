//! The ledger's sums: of each thread, each process and the whole recording.
//!
//! Only adds up what was counted; the time that no state accounts for stays visible as residual.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::state::{self, Group};

use crate::recording::{Span, ThreadSum};

/// Time in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateTime {
    pub ns: u64,
    /// Intervals that have ended.
    pub count: u64,
}

/// The account of a thread, or the sum of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// ThreadSum time to account for.
    pub elapsed_ns: u64,
    /// What the states lack or have too much, each thread's as an absolute value: errors do not cancel out.
    pub residual_ns: u64,
    /// States with any time, by code.
    pub states: BTreeMap<u32, StateTime>,
}

impl Account {
    fn of(thread: &ThreadSum) -> Self {
        let elapsed_ns = thread.elapsed_ns;
        let mut states = BTreeMap::new();
        for (code, &ns) in thread.state_ns.iter().enumerate().filter(|&(_, &ns)| ns > 0) {
            let count = thread.state_count.get(code).copied().unwrap_or(0) as u64;
            states.insert(code as u32, StateTime { ns, count });
        }
        let sum = states.values().fold(0_u64, |sum, time| sum.saturating_add(time.ns));
        Self { elapsed_ns, residual_ns: elapsed_ns.abs_diff(sum), states }
    }

    fn add(&mut self, other: &Self) {
        self.elapsed_ns = self.elapsed_ns.saturating_add(other.elapsed_ns);
        self.residual_ns = self.residual_ns.saturating_add(other.residual_ns);
        for (&code, time) in &other.states {
            let sum = self.states.entry(code).or_default();
            sum.ns = sum.ns.saturating_add(time.ns);
            sum.count = sum.count.saturating_add(time.count);
        }
    }

    /// Time in one state.
    pub fn state(&self, code: u32) -> StateTime {
        self.states.get(&code).copied().unwrap_or_default()
    }

    /// Time in the states for which `wanted` holds.
    pub fn ns_where(&self, wanted: impl Fn(u32) -> bool) -> u64 {
        let times = self.states.iter().filter(|&(&code, _)| wanted(code));
        times.fold(0, |sum, (_, time)| sum.saturating_add(time.ns))
    }

    /// Time in which the threads did something or wanted to: all but waiting for work.
    pub fn active_ns(&self) -> u64 {
        self.ns_where(|code| group(code) != Group::Idle)
    }

    /// Time in which the threads ran, wanted to, or were held up by this machine: not waiting for work, for the network
    /// or for another process.
    pub fn busy_ns(&self) -> u64 {
        self.ns_where(|code| !matches!(group(code), Group::Idle | Group::Net | Group::Ipc))
    }

    /// States by time, the largest first.
    pub fn largest_first(&self) -> Vec<(u32, StateTime)> {
        let mut states: Vec<_> = self.states.iter().map(|(&code, &time)| (code, time)).collect();
        states.sort_by_key(|&(code, time)| (Reverse(time.ns), code));
        states
    }
}

/// What a state means to an operator; a code that this version does not know is unknown.
pub fn group(code: u32) -> Group {
    state::by_code(code).map_or(Group::Unknown, |state| state.group)
}

/// The name of a state; of one that a later version added, its code.
pub fn state_name(code: u32) -> String {
    state::by_code(code).map_or_else(|| format!("state_{code}"), |state| state.name.to_owned())
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadAccount {
    /// Row in [`Span::threads`].
    pub row: usize,
    pub account: Account,
}

/// One process: the sum of its threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessAccount {
    /// Row in [`Span::processes`].
    pub row: usize,
    pub threads: usize,
    pub account: Account,
}

/// The whole recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub account: Account,
    pub blocked_ns: u64,
    pub unknown_ns: u64,
}

impl Ledger {
    pub(super) fn of(threads: &[ThreadAccount]) -> Self {
        let mut account = Account::default();
        for thread in threads {
            account.add(&thread.account);
        }
        Self {
            blocked_ns: account.ns_where(state::is_blocked),
            unknown_ns: account.ns_where(|code| group(code) == Group::Unknown),
            account,
        }
    }

    /// Share of the thread time that the states do not account for.
    pub fn residual_ratio(&self) -> f64 {
        super::ratio(self.account.residual_ns, self.account.elapsed_ns).unwrap_or(0.0)
    }

    /// Share of the blocked time that has a reason; 1 when nothing was blocked.
    pub fn classified_ratio(&self) -> f64 {
        1.0 - super::ratio(self.unknown_ns, self.blocked_ns).unwrap_or(0.0)
    }
}

pub(super) fn threads(recording: &Span) -> Vec<ThreadAccount> {
    let account = |(row, thread)| ThreadAccount { row, account: Account::of(thread) };
    recording.threads.iter().enumerate().filter(|(_, thread)| thread.is_present).map(account).collect()
}

/// By busy time, then by active time; equals stay in the order of the recording.
pub(super) fn busiest_first(mut threads: Vec<ThreadAccount>) -> Vec<ThreadAccount> {
    threads.sort_by_cached_key(|thread| Reverse((thread.account.busy_ns(), thread.account.active_ns())));
    threads
}

pub(super) fn processes(recording: &Span, threads: &[ThreadAccount]) -> Vec<ProcessAccount> {
    let rows = 0..recording.processes.len();
    let mut processes: Vec<_> = rows.map(|row| ProcessAccount { row, ..ProcessAccount::default() }).collect();
    for thread in threads {
        let process = &mut processes[recording.threads[thread.row].process as usize];
        process.threads += 1;
        process.account.add(&thread.account);
    }
    processes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::example;

    const S: u64 = 1_000_000_000;

    fn whole() -> Ledger {
        Ledger::of(&threads(&example()))
    }

    #[test]
    fn the_sums_are_those_of_the_table() {
        let ledger = whole();
        assert_eq!(ledger.account.elapsed_ns, 25 * S);
        assert_eq!(ledger.account.state(state::ON_CPU), StateTime { ns: 7_500_000_000, count: 1_573 });
        assert_eq!(ledger.blocked_ns, 16_400_000_000);
        assert_eq!(ledger.unknown_ns, S);
    }

    #[test]
    fn the_residual_is_what_the_states_lack() {
        assert_eq!(whole().account.residual_ns, S / 10);
        assert!((whole().residual_ratio() - 0.004).abs() < 1e-12);
    }

    #[test]
    fn a_surplus_and_a_lack_do_not_cancel_out() {
        let mut recording = example();
        recording.threads[2].state_ns[state::ON_CPU as usize] += S / 10;
        assert_eq!(Ledger::of(&threads(&recording)).account.residual_ns, S / 5);
    }

    #[test]
    fn classified_is_the_share_of_blocked_time_with_a_reason() {
        assert!((whole().classified_ratio() - 15.4 / 16.4).abs() < 1e-12);
    }

    #[test]
    fn all_is_classified_when_nothing_is_blocked() {
        assert!((Ledger::default().classified_ratio() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn busiest_is_who_waits_least_for_others() {
        let recording = example();
        let tids = busiest_first(threads(&recording))
            .iter()
            .map(|t| recording.threads[t.row].tid)
            .collect::<Vec<_>>();
        // Busy: 8.0 s, 2.5 s (not the 2.5 s of net_recv) and 3.0 s.
        assert_eq!(tids, [812, 813, 900]);
    }

    #[test]
    fn a_process_is_the_sum_of_its_threads() {
        let recording = example();
        let processes = processes(&recording, &threads(&recording));
        let sums: Vec<_> =
            processes.iter().map(|p| (p.threads, p.account.elapsed_ns, p.account.active_ns())).collect();
        assert_eq!(sums, [(2, 20 * S, 11 * S), (1, 5 * S, 5 * S)]);
    }

    #[test]
    fn a_state_of_a_later_version_counts_as_unknown() {
        let mut recording = example();
        recording.threads[0].state_ns[47] = 2 * S;
        assert_eq!(Ledger::of(&threads(&recording)).unknown_ns, 3 * S);
    }
}
