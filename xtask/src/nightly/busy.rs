//! The live tests beside threads that spin, one on each CPU: what they expect must follow from what the kernel counts, not
//! from a machine that has time.

use std::hint;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use anyhow::Result;

use crate::test::{Durations, Outcome, live_tests};

/// Runs all of them as often as is asked for, and goes on after a round that fails: two that fail by the same test say more.
pub fn busy(rounds: u32, durations: &mut Durations) -> Result<Outcome> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let outcome = (1..=rounds).try_fold(Outcome::Ran { passed: 0, failed: 0 }, |sum, round| {
            eprintln!("\nxtask: round {round} of {rounds}, beside a spinning thread on each CPU");
            let outcome = live_tests(&[], durations)?;
            eprintln!("xtask: round {round}: {outcome:?}");
            Ok(sum.and(&outcome))
        });
        is_over.store(true, Relaxed);
        outcome
    })
}
