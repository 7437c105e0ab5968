//! Threads that wait for each other in a circle.

use std::collections::{BTreeSet, HashMap};

use crate::recording::{LockId, Party, Span, ThreadId};

/// A wait that is part of a circle has lasted at least this long: else it may be one that just ends.
const DEADLOCK_NS: u64 = 100_000_000;

/// Threads that wait for each other in a circle: each waits for the lock that the next one holds, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    pub steps: Vec<(ThreadId, LockId)>,
    /// How long it has lasted at least.
    pub since_ns: u64,
}

/// Circles among the waits that were open at the end.
pub(in crate::analyze) fn deadlocks(recording: &Span) -> Vec<Deadlock> {
    let ended = recording.meta.ended_at_ns;
    let is_old = |since_ns: u64| ended.saturating_sub(since_ns) >= DEADLOCK_NS;
    let waits: HashMap<ThreadId, (LockId, ThreadId, u64)> = recording
        .locks
        .open
        .iter()
        .filter(|open| is_old(open.since_ns))
        .filter_map(|open| match open.owner {
            Party::Thread(owner) => Some((open.waiter, (open.lock, owner, open.since_ns))),
            _ => None,
        })
        .collect();
    let mut found: BTreeSet<Vec<ThreadId>> = BTreeSet::new();
    let mut deadlocks = Vec::new();
    for &start in waits.keys().collect::<BTreeSet<_>>() {
        let Some(circle) = circle_from(start, &waits) else { continue };
        let mut members = circle.clone();
        members.sort_unstable();
        if found.insert(members) {
            let since = circle.iter().map(|thread| waits[thread].2).max().unwrap_or(0);
            let steps = circle.iter().map(|thread| (*thread, waits[thread].0)).collect();
            deadlocks.push(Deadlock { steps, since_ns: since });
        }
    }
    deadlocks
}

/// The circle that begins with this thread, if it is part of one.
fn circle_from(start: ThreadId, waits: &HashMap<ThreadId, (LockId, ThreadId, u64)>) -> Option<Vec<ThreadId>> {
    let mut circle = vec![start];
    let mut at = start;
    while circle.len() <= waits.len() {
        let (_, owner, _) = waits.get(&at)?;
        if *owner == start {
            return Some(circle);
        }
        at = *owner;
        circle.push(at);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Locks, Meta, OpenWait};

    fn open(waiter: ThreadId, lock: LockId, owner: ThreadId) -> OpenWait {
        OpenWait { waiter, lock, owner: Party::Thread(owner), since_ns: 1_000_000_000 }
    }

    fn with(open: Vec<OpenWait>) -> Span {
        Span {
            meta: Meta { ended_at_ns: 5_000_000_000, ..Meta::default() },
            locks: Locks { followed: true, open, ..Locks::default() },
            ..Span::default()
        }
    }

    #[test]
    fn two_threads_that_wait_for_each_other_are_a_deadlock_once() {
        let found = deadlocks(&with(vec![open(1, 0, 2), open(2, 1, 1), open(3, 0, 2)]));
        assert_eq!(found, [Deadlock { steps: vec![(1, 0), (2, 1)], since_ns: 1_000_000_000 }]);
    }

    #[test]
    fn a_chain_that_ends_with_a_running_thread_is_none() {
        assert_eq!(deadlocks(&with(vec![open(1, 0, 2), open(2, 1, 3)])), []);
    }

    #[test]
    fn a_circle_of_moments_is_none() {
        let mut recording = with(vec![open(1, 0, 2), open(2, 1, 1)]);
        recording.meta.ended_at_ns = 1_050_000_000;
        assert_eq!(deadlocks(&recording), []);
    }

    #[test]
    fn a_circle_of_many_has_each_step() {
        let found = deadlocks(&with(vec![open(1, 0, 2), open(2, 1, 3), open(3, 2, 1)]));
        assert_eq!(found[0].steps, [(1, 0), (2, 1), (3, 2)]);
    }
}
