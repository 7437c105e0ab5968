//! How long did waits last? The ledger tells each wait that is over; here it is counted in the histogram of
//! its group.
//!
//! Plain additions: a value is one CPU's, and no two of these additions overlap there. Both programs that
//! count, at `sched_switch` and at `sched_waking` of a thread that is off its CPU, run with interrupts off
//! (under the run queue's lock, and under the thread's `pi_lock`), and what may still interrupt them, an NMI,
//! neither switches nor wakes.

use profiler_common::{
    histogram::{self, BUCKETS},
    wait_times::GROUP_OF_STATE,
};

use crate::maps;

/// In read-only data, under a name: an array without one would get a section of its own, and with it a map.
#[unsafe(no_mangle)]
static WAIT_GROUPS: [u8; GROUP_OF_STATE.len()] = GROUP_OF_STATE;

/// A wait in a state is over.
#[inline(always)]
pub fn add_in_state(state: u32, ns: u64) {
    // Masked: the verifiers of 6.1 and 5.10 follow ranges that contradict each other after comparisons of
    // states. Idle states have a number for which the map has no value.
    add(u32::from(WAIT_GROUPS[state as usize & (GROUP_OF_STATE.len() - 1)]), ns);
}

/// A wait is over.
#[inline(always)]
pub fn add(group: u32, ns: u64) {
    let Some(times) = maps::wait_times(group) else { return };
    let index = histogram::index(ns) as usize;
    if index < BUCKETS {
        // SAFETY: non-null pointer to this CPU's own value, and the index is checked.
        unsafe { (*times).counts[index] += 1 };
    }
}
