//! Changes of address spaces, as the kernel reported them, kept until a sample of their process asks for
//! them.
//!
//! In: [`LayoutChange`]s of all processes of the machine, in no order. Out: those of one process up to a moment, in the
//! order of their time. Most belong to processes that are not recorded: they are forgotten after a while.

use std::collections::{HashMap, VecDeque};

use super::maps::MapsLine;

/// Most changes that are kept: some 200 bytes each, 3 MB. A recorded process's are taken at each tick.
const MOST_CHANGES: usize = 16_384;
/// How long a change is kept of a process that is not known. A process becomes known by its fork or exec, of which we
/// hear at the next tick.
pub const KEPT_NS: u64 = 1_000_000_000;

/// One change of one address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutChange {
    /// Of the profiler's PID namespace.
    pub tgid: u32,
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Something was mapped, or made executable.
    Mapped(MapsLine<'static>),
    /// A new program begins to take the old one's place: what is mapped from here on is its own.
    Exec,
    /// Changes of any process that were not reported, for lack of room.
    Lost(u64),
}

/// Changes that nobody has asked for yet.
#[derive(Default)]
pub struct Changes {
    /// Each queue by time.
    by_tgid: HashMap<u32, VecDeque<(u64, What)>>,
    kept: usize,
}

impl Changes {
    /// Keeps a change; false if there is no room.
    #[must_use]
    pub fn push(&mut self, tgid: u32, at_ns: u64, what: What) -> bool {
        if self.kept >= MOST_CHANGES {
            return false;
        }
        let queue = self.by_tgid.entry(tgid).or_default();
        // Each CPU reports its own in order, so that a process that moves between CPUs is told of in runs.
        let place = queue.partition_point(|(earlier_ns, _)| *earlier_ns <= at_ns);
        queue.insert(place, (at_ns, what));
        self.kept += 1;
        true
    }

    /// The changes of a process up to a moment, oldest first. They are not kept any longer.
    pub fn take_until(&mut self, tgid: u32, at_ns: u64) -> Vec<What> {
        let Some(queue) = self.by_tgid.get_mut(&tgid) else { return Vec::new() };
        let number = queue.partition_point(|(change_ns, _)| *change_ns <= at_ns);
        let taken = queue.drain(..number).map(|(_, what)| what).collect();
        self.kept -= number;
        if queue.is_empty() {
            self.by_tgid.remove(&tgid);
        }
        taken
    }

    /// The same, up to the next exec at most.
    pub fn take_until_exec(&mut self, tgid: u32, at_ns: u64) -> Vec<What> {
        let exec_ns = self.next_exec_ns(tgid).unwrap_or(u64::MAX);
        self.take_until(tgid, at_ns.min(exec_ns.saturating_sub(1)))
    }

    /// When the next exec begins that is kept.
    pub fn next_exec_ns(&self, tgid: u32) -> Option<u64> {
        let is_exec = |(_, what): &&(u64, What)| *what == What::Exec;
        self.by_tgid.get(&tgid)?.iter().find(is_exec).map(|(at_ns, _)| *at_ns)
    }

    /// Whose changes are kept.
    pub fn tgids(&self) -> impl Iterator<Item = u32> {
        self.by_tgid.keys().copied()
    }

    /// Forgets what is old, once there is enough of it to make the search worth its while.
    pub fn forget_old(&mut self, now_ns: u64) {
        if self.kept < MOST_CHANGES / 16 {
            return;
        }
        let oldest_ns = now_ns.saturating_sub(KEPT_NS);
        for tgid in self.tgids().collect::<Vec<_>>() {
            self.take_until(tgid, oldest_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(number: u64) -> What {
        What::Lost(number)
    }

    #[test]
    fn changes_come_back_in_the_order_of_their_time_up_to_the_moment() {
        let mut changes = Changes::default();
        for at_ns in [30, 10, 40, 20] {
            assert!(changes.push(7, at_ns, lost(at_ns)));
        }
        assert!(changes.push(8, 15, lost(0)));
        assert_eq!(changes.take_until(7, 30), [lost(10), lost(20), lost(30)]);
        assert_eq!(changes.take_until(7, 30), []);
        assert_eq!(changes.take_until(7, 99), [lost(40)]);
        assert_eq!(changes.tgids().collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn changes_up_to_an_exec_do_not_hold_it() {
        let mut changes = Changes::default();
        for (at_ns, what) in [(10, lost(1)), (20, What::Exec), (30, lost(2))] {
            assert!(changes.push(7, at_ns, what));
        }
        assert_eq!(changes.next_exec_ns(7), Some(20));
        assert_eq!(changes.take_until_exec(7, 99), [lost(1)]);
        assert_eq!(changes.take_until_exec(7, 99), []);
        assert_eq!(changes.take_until(7, 99), [What::Exec, lost(2)]);
    }

    #[test]
    fn of_two_at_the_same_moment_the_first_told_is_the_first() {
        let mut changes = Changes::default();
        assert!(changes.push(7, 10, lost(1)) && changes.push(7, 10, lost(2)));
        assert_eq!(changes.take_until(7, 10), [lost(1), lost(2)]);
    }

    #[test]
    fn beyond_the_bound_nothing_is_kept_until_the_old_is_forgotten() {
        let mut changes = Changes::default();
        for number in 0..MOST_CHANGES {
            assert!(changes.push(number as u32 % 100, number as u64, lost(0)));
        }
        assert!(!changes.push(7, 0, lost(0)));
        changes.forget_old(KEPT_NS + MOST_CHANGES as u64 - 11);
        assert_eq!(changes.kept, 10);
        assert!(changes.push(7, 0, lost(0)));
    }
}
