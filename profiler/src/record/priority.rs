//! The priority of the loop while it records.
//!
//! Where hundreds of threads wait for each CPU, a program of the usual niceness is late by seconds: samples are not taken, and the
//! ring overflows. What the loop may cost is bounded elsewhere, so it may go first.

use rustix::process::{getpriority_process, setpriority_process};

/// The strongest niceness: 88,761 parts of a CPU beside 1,024 of a usual thread (kernel/sched/core.c, `sched_prio_to_weight`).
const STRONGEST: i32 = -20;

/// The calling thread goes first as long as this lives.
pub struct First {
    before: i32,
}

impl First {
    /// None if this process may not.
    pub fn take() -> Option<Self> {
        let before = getpriority_process(None).ok()?;
        setpriority_process(None, STRONGEST).ok().map(|()| Self { before })
    }
}

impl Drop for First {
    fn drop(&mut self) {
        // To become weaker is always allowed.
        let _ = setpriority_process(None, self.before);
    }
}
