//! What a recording says: sums, shares and doubts, computed and not yet put into words or columns.
//!
//! In: a valid [`Recording`]. Out: a [`Report`], from which each format is written. Pure: no I/O, no clock, no
//! environment, so that a saved capture gives the same report as the live run.

mod ledger;
mod cross_check;
mod quality;
mod cost;
pub mod label;
mod shares;
mod waits_in;
mod stacks;
mod hot;
mod requests;
pub mod flame;

pub use cost::{CostRatios, RUN_TIMES_UNMEASURED, why_unmeasured};
pub use cross_check::CrossCheck;
pub use hot::{Hot, HotFunction, HotList, HotStack};
pub use ledger::{Account, Ledger, ProcessAccount, StateTime, ThreadAccount, group};
pub use quality::{Loss, StackEnds, Trust};
pub use requests::{DiskRow, Disks, PageCache, Quantiles};
pub use stacks::{FunctionTime, StackTime, Stacks};

use self::shares::Shares;
use crate::recording::Recording;

/// Everything that the formats show, beside the recording itself.
#[derive(Debug)]
pub struct Report<'a> {
    pub recording: &'a Recording,
    pub ledger: Ledger,
    /// In the order of the recording.
    pub processes: Vec<ProcessAccount>,
    /// Busiest first.
    pub threads: Vec<ThreadAccount>,
    pub cross_check: Option<CrossCheck>,
    pub stacks: Stacks,
    pub hot: Hot,
    pub disks: Disks<'a>,
    pub trust: Trust,
    pub cost: CostRatios,
}

impl<'a> Report<'a> {
    /// Computes everything. `recording` has passed [`Recording::validate`]; its numbers may be anything.
    pub fn new(recording: &'a Recording) -> Self {
        let threads = ledger::threads(recording);
        let ledger = Ledger::of(&threads);
        let shares = Shares::of(recording);
        let stacks = stacks::all(recording, &shares);
        Self {
            recording,
            processes: ledger::processes(recording, &threads),
            cross_check: CrossCheck::of(recording),
            stacks: Stacks::of(recording, &stacks, &shares),
            hot: Hot::of(&stacks, &shares, |wanted| ledger.account.ns_where(wanted)),
            disks: Disks::of(recording),
            ledger,
            trust: Trust::of(recording),
            cost: CostRatios::of(recording),
            threads: ledger::busiest_first(threads),
        }
    }
}

/// `part / whole`, or none where there is nothing to divide by.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_recording;

    proptest! {
        #[test]
        fn any_valid_recording_has_a_report(recording in any_recording()) {
            let report = Report::new(&recording);
            prop_assert_eq!(report.threads.len(), recording.threads.len());
            prop_assert!((0.0..=1.0).contains(&report.trust.lost_ratio));
        }
    }
}
