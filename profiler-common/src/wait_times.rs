//! How long waits lasted, by what they were for: one histogram of each group of states, over all recorded
//! threads.
//!
//! A wait is an interval of the ledger that is over, in nanoseconds of CLOCK_MONOTONIC: from the switch-out
//! to the wake-up if the thread was blocked, from the wake-up or the preemption to the switch-in if it waited
//! for a CPU. So a thread that blocks and runs again adds two waits, one of each kind. Of a wait that had
//! begun before its thread's account was opened only the part since then counts; one that is still open does
//! not count yet.

use crate::{
    histogram::BUCKETS,
    state::{self, Group},
};

/// The groups that have a histogram, in the order of their indices. Not those in which a thread waits for
/// work or for time to pass: how long such waits are is the load's doing.
pub const GROUPS: [Group; 6] =
    [Group::RunQueue, Group::Disk, Group::Lock, Group::Net, Group::Ipc, Group::Memory];

/// The index of waiting for a CPU.
pub const RUN_QUEUE: u32 = 0;

/// One group's histogram on one CPU: a value of the map `WAIT_TIMES`, in the buckets of [`crate::histogram`].
/// The counts wrap around: at 200,000 waits a second, more than a CPU has switches, after six hours of one
/// bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimes {
    pub counts: [u32; BUCKETS],
}

const _: () = assert!(size_of::<WaitTimes>() == 4 * BUCKETS, "kernel/user ABI");

/// The index of a group; none if it has no histogram.
pub const fn index(group: Group) -> Option<u32> {
    let mut index = 0;
    while index < GROUPS.len() {
        if GROUPS[index] as u32 == group as u32 {
            return Some(index as u32);
        }
        index += 1;
    }
    None
}

/// In [`GROUP_OF_STATE`]: a state whose waits are in no histogram.
pub const NONE: u8 = u8::MAX;

/// Index of the group of each state, by code. With a power of two of slots, so that a code needs no
/// comparison to be within.
pub const GROUP_OF_STATE: [u8; 64] = {
    let mut groups = [NONE; 64];
    let mut code = 0;
    while code < state::ALL.len() {
        if let Some(index) = index(state::ALL[code].group) {
            groups[code] = index as u8;
        }
        code += 1;
    }
    groups
};

const _: () = assert!(state::SLOTS <= GROUP_OF_STATE.len(), "a state has no slot");
const _: () = assert!(matches!(GROUPS[RUN_QUEUE as usize], Group::RunQueue));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_states_are_in_the_histogram_of_their_group_and_idle_ones_in_none() {
        let group = |code: u32| GROUP_OF_STATE[code as usize];
        assert_eq!(
            [state::RUNQ_WAKE, state::RUNQ_PREEMPT, state::FSYNC, state::FUTEX_LOCK].map(group),
            [0, 0, 1, 2]
        );
        assert_eq!([state::NET_RECV, state::PIPE, state::PAGE_FAULT].map(group), [3, 4, 5]);
        let without = [state::ON_CPU, state::POLL, state::TIMER, state::FUTEX_WAIT, state::UNKNOWN, 63];
        assert_eq!(without.map(group), [NONE; 6]);
    }
}
