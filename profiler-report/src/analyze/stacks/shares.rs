//! The ledger's exact times, shared out over the samples.
//!
//! A thread's time in a state goes to its samples in that state, by weight. What no sample saw stands apart as not
//! sampled, so that the sums stay those of the ledger, to the nanosecond. Does not look at stacks or names.

use std::collections::HashMap;

use crate::recording::{Span, ThreadId};

/// The time that each sample stands for, and the time that none does.
pub struct Shares {
    /// Nanoseconds, parallel to [`Span::samples`].
    pub ns: Vec<u64>,
    /// Times of threads in states of which no sample with a usable weight was taken.
    pub not_sampled: Vec<NotSampled>,
}

/// Time of a thread in a state that no sample saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSampled {
    pub thread: ThreadId,
    pub state: u32,
    pub ns: u64,
}

impl Shares {
    /// Shares out all time of a valid recording.
    pub fn of(recording: &Span) -> Self {
        let mut rows: HashMap<(ThreadId, u32), Vec<usize>> = HashMap::new();
        for (row, sample) in recording.samples.iter().enumerate() {
            rows.entry((sample.thread, sample.state)).or_default().push(row);
        }
        let mut shares = Self { ns: vec![0; recording.samples.len()], not_sampled: Vec::new() };
        for (thread, row) in (0..).zip(&recording.threads) {
            for (state, &ns) in (0..).zip(&row.state_ns).filter(|&(_, &ns)| ns > 0) {
                let rows = rows.get(&(thread, state)).map_or(&[][..], Vec::as_slice);
                let weights: Vec<f64> = rows.iter().map(|&row| recording.samples[row].weight).collect();
                match share_out(ns, &weights) {
                    Some(parts) => rows.iter().zip(parts).for_each(|(&row, part)| shares.ns[row] = part),
                    None => shares.not_sampled.push(NotSampled { thread, state, ns }),
                }
            }
        }
        shares
    }

    /// Time that no sample saw, in the states for which `wanted` holds.
    pub fn not_sampled_ns(&self, wanted: impl Fn(u32) -> bool) -> u64 {
        let rows = self.not_sampled.iter().filter(|row| wanted(row.state));
        rows.fold(0, |sum, row| sum.saturating_add(row.ns))
    }
}

/// Shares a total out by weight. The shares add up to the total exactly, and each is less than 1 from its exact value,
/// as it is the difference of two neighbouring rounded running sums. `None` if no weight is a positive number.
fn share_out(total: u64, weights: &[f64]) -> Option<Vec<u64>> {
    let usable = |weight: f64| if weight.is_finite() && weight > 0.0 { weight } else { 0.0 };
    let sum: f64 = weights.iter().copied().map(usable).sum();
    if sum <= 0.0 || !sum.is_finite() {
        return None;
    }
    let last = weights.iter().rposition(|&weight| usable(weight) > 0.0)?;
    let mut running = 0.0;
    let mut given = 0;
    let share = |(index, &weight): (usize, &f64)| {
        running += usable(weight);
        // From the last one on all is given out, however the sums were rounded.
        let up_to_here = if index >= last { total } else { (total as f64 * (running / sum)) as u64 };
        let up_to_here = up_to_here.clamp(given, total);
        let share = up_to_here - given;
        given = up_to_here;
        share
    };
    Some(weights.iter().enumerate().map(share).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use profiler_common::state;

    use super::*;
    use crate::testing::example;

    #[test]
    fn each_sample_stands_for_its_share_of_its_threads_time_in_the_state() {
        // Thread 812: 4 s on the CPU by 300 : 100; thread 813: 1 s, all by one; then the one sample of each wait.
        let expected = [3_000, 1_000, 1_000, 3_000, 1_900, 1_000, 2_500].map(|ms: u64| ms * 1_000_000);
        assert_eq!(Shares::of(&example()).ns, expected);
    }

    #[test]
    fn what_no_sample_saw_stands_apart() {
        let shares = Shares::of(&example());
        // On the CPU: thread 900. Off: run queue 1.0 s, disk_write 1.0 s, futex_wait 7.0 s.
        assert_eq!(shares.not_sampled_ns(|code| code == state::ON_CPU), 2_500_000_000);
        assert_eq!(shares.not_sampled_ns(|code| code != state::ON_CPU), 9_000_000_000);
    }

    #[track_caller]
    fn check(total: u64, weights: &[f64], expected: Option<&[u64]>) {
        assert_eq!(share_out(total, weights).as_deref(), expected);
    }

    #[test]
    fn weights_share_in_proportion() {
        check(100, &[1.0, 3.0], Some(&[25, 75]));
    }

    #[test]
    fn what_does_not_divide_is_still_given_out() {
        check(10, &[1.0, 1.0, 1.0], Some(&[3, 3, 4]));
    }

    #[test]
    fn no_weights_share_nothing() {
        check(10, &[], None);
    }

    #[test]
    fn weights_that_are_no_positive_numbers_get_nothing() {
        check(10, &[f64::NAN, 1.0, -5.0, f64::INFINITY, 0.0], Some(&[0, 10, 0, 0, 0]));
    }

    #[test]
    fn only_unusable_weights_share_nothing() {
        check(10, &[f64::NAN, -1.0], None);
    }

    #[test]
    fn weights_beyond_all_numbers_share_nothing() {
        check(10, &[f64::MAX, f64::MAX], None);
    }

    #[test]
    fn a_total_beyond_the_precision_of_floats_is_given_out_exactly() {
        check(u64::MAX, &[1.0], Some(&[u64::MAX]));
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_close(
            total in 0u64..1 << 50,
            weights in proptest::collection::vec(0.01f64..1e6, 1..40),
        ) {
            let shares = share_out(total, &weights).expect("positive weights");
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            let sum: f64 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights) {
                // Besides the rounding to whole numbers, the error of the floats at 2^50.
                prop_assert!((*share as f64 - total as f64 * weight / sum).abs() < 3.0);
            }
        }
    }
}
