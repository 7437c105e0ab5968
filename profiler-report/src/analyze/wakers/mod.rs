//! Who ended whose waits, and the chains that follow from it.
//!
//! In: the reported ends of waits. Out: edges from who waited to who ended it, by time; and for the threads
//! with the longest waits the chain from there on: whoever ended it waited too, for something else.

pub(super) mod enders;

pub use enders::Ender;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use profiler_common::state::Group;

use self::enders::ender;
use crate::analyze::ledger::group;
use crate::recording::{LockId, Span, ThreadId};

/// Edges that are kept.
const MOST_EDGES: usize = 50;
/// A chain goes so far.
const DEPTH: usize = 6;
const MOST_CHAINS: usize = 5;

/// Waits of one thread in one state that were ended by one party.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    pub waiter: ThreadId,
    pub state: u32,
    pub lock: Option<LockId>,
    pub ender: Ender,
    pub waited_ns: u64,
    pub waits: f64,
}

/// A thread, what it waited for, and who ended that; then that one, and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    pub steps: Vec<Edge>,
    /// It came back to a thread that is in it.
    pub in_circle: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Wakers {
    /// The longest first.
    pub edges: Vec<Edge>,
    pub chains: Vec<Chain>,
}

/// Waiter, state, lock, and who ended it.
type Key = (ThreadId, u32, Option<LockId>, Ender);

impl Wakers {
    pub(in crate::analyze) fn of(recording: &Span) -> Self {
        let mut sums: BTreeMap<Key, (u64, f64)> = BTreeMap::new();
        for wake in &recording.locks.wakes {
            let key = (wake.waiter, wake.state, wake.lock, ender(recording, wake));
            let sum = sums.entry(key).or_default();
            sum.0 = sum.0.saturating_add(wake.weight_ns);
            sum.1 += bounded(wake.waits);
        }
        let edge = |((waiter, state, lock, ender), (waited_ns, waits))| Edge {
            waiter,
            state,
            lock,
            ender,
            waited_ns,
            waits,
        };
        let mut edges: Vec<Edge> = sums.into_iter().map(edge).collect();
        edges.sort_by_key(|edge| Reverse(edge.waited_ns));
        let chains = chains(&edges);
        edges.truncate(MOST_EDGES);
        Self { edges, chains }
    }

    /// Time of waits in states for which `wanted` holds, by who ended them.
    pub fn ended_by(recording: &Span, wanted: impl Fn(u32) -> bool) -> BTreeMap<Ender, u64> {
        let mut sums = BTreeMap::new();
        for wake in recording.locks.wakes.iter().filter(|wake| wanted(wake.state)) {
            let sum = sums.entry(ender(recording, wake)).or_insert(0_u64);
            *sum = sum.saturating_add(wake.weight_ns);
        }
        sums
    }
}

/// An estimate, whatever number a capture holds.
pub fn bounded(waits: f64) -> f64 {
    if waits.is_finite() { waits.clamp(0.0, 1e18) } else { 0.0 }
}

/// Chains from the longest waits that are no idle ones, each thread once.
fn chains(edges: &[Edge]) -> Vec<Chain> {
    let mut begun = BTreeSet::new();
    let mut chains = Vec::new();
    for first in edges.iter().filter(|edge| group(edge.state) != Group::Idle) {
        if chains.len() == MOST_CHAINS {
            break;
        }
        if begun.insert(first.waiter) {
            let chain = follow(first, edges);
            if chain.steps.len() > 1 {
                chains.push(chain);
            }
        }
    }
    chains
}

fn follow(first: &Edge, edges: &[Edge]) -> Chain {
    let mut steps = vec![first.clone()];
    let mut met = BTreeSet::from([first.waiter]);
    while let Some(Ender::Thread(thread)) = steps.last().map(|edge| edge.ender.clone()) {
        if !met.insert(thread) {
            return Chain { steps, in_circle: true };
        }
        // What it waits for when nobody needs it says nothing of what others wait for.
        let next = edges.iter().find(|edge| edge.waiter == thread && group(edge.state) != Group::Idle);
        match next {
            Some(next) if steps.len() < DEPTH => steps.push(next.clone()),
            _ => break,
        }
    }
    Chain { steps, in_circle: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::state;

    fn edge(waiter: ThreadId, state: u32, ender: Ender, waited_ns: u64) -> Edge {
        Edge { waiter, state, lock: None, ender, waited_ns, waits: 1.0 }
    }

    #[test]
    fn a_chain_goes_from_who_waits_to_what_it_all_waits_for() {
        let edges = [
            edge(0, state::PIPE, Ender::Thread(1), 300),
            edge(1, state::FUTEX_LOCK, Ender::Thread(2), 200),
            edge(2, state::FSYNC, Ender::KernelThread("jbd2".into()), 100),
        ];
        let found = chains(&edges);
        assert_eq!(found[0], Chain { steps: edges.to_vec(), in_circle: false });
    }

    #[test]
    fn two_that_take_turns_are_a_circle() {
        let edges =
            [edge(0, state::PIPE, Ender::Thread(1), 300), edge(1, state::PIPE, Ender::Thread(0), 200)];
        let found = chains(&edges);
        assert!(found[0].in_circle);
        assert_eq!(found[0].steps.len(), 2);
    }

    #[test]
    fn idle_waits_begin_no_chain_and_end_one() {
        let edges = [edge(0, state::POLL, Ender::Thread(1), 900), edge(1, state::POLL, Ender::Network, 800)];
        assert_eq!(chains(&edges), []);
        let edges = [edge(0, state::PIPE, Ender::Thread(1), 900), edge(1, state::POLL, Ender::Network, 800)];
        assert_eq!(chains(&edges), []);
    }
}
