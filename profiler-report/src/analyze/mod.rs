//! What a recording says: sums, shares and doubts, computed and not yet put into words or columns.
//!
//! In: a valid [`Span`]. Out: a [`Report`], from which each format is written. Pure: no I/O, no clock, no
//! environment, so that a saved capture gives the same report as the live run.
//!
//! ```
//! use profiler_report::{analyze::Report, recording::Recording};
//!
//! let recording = Recording::default();
//! let whole = recording.whole();
//! let report = Report::over_time(&recording, &whole);
//! assert_eq!(report.ledger.account.elapsed_ns, 0);
//! assert_eq!(report.verdict.id.as_str(), "INSUFFICIENT_DATA");
//! ```

mod ledger;
pub mod claim;
pub mod numbers;
mod stacks;
mod locks;
mod wakers;
mod disks;
mod wait_times;
mod trust;
mod verdict;
mod course;

pub use course::{Course, Moment, Stretch};
pub use disks::{DiskRow, Disks, PageCache, Quantiles, SubmitterRow};
pub use ledger::{Account, Ledger, ProcessAccount, StateTime, ThreadAccount, group, state_name};
pub use locks::{Deadlock, FutexKind, FutexRow, Holder, KernelLockRow, LockReport, lock_name};
pub use stacks::{FunctionTime, Hot, HotFunction, HotList, HotStack, StackTime, Stacks, TOP, flame, label};
pub use trust::{CostRatios, CrossCheck, Loss, LossKind, StackEnds, Trust, counted, ended_by_budget};
pub use verdict::{Confidence, Verdict, VerdictId};
pub use wait_times::WaitRow;
pub use wakers::{Chain, Edge, Ender, Wakers};

use self::stacks::shares::Shares;
use crate::recording::{Recording, Span};

/// Everything that the formats show, beside the recording itself.
#[derive(Debug)]
pub struct Report<'a> {
    pub recording: &'a Span,
    pub ledger: Ledger,
    /// In the order of the recording.
    pub processes: Vec<ProcessAccount>,
    /// Busiest first.
    pub threads: Vec<ThreadAccount>,
    pub cross_check: Option<CrossCheck>,
    /// How long waits lasted.
    pub wait_times: Vec<WaitRow>,
    pub stacks: Stacks,
    pub hot: Hot,
    pub disks: Disks<'a>,
    pub locks: LockReport,
    pub wakers: Wakers,
    pub verdict: Verdict,
    pub trust: Trust,
    pub cost: CostRatios,
    /// Of a recording with more than one window.
    pub course: Course,
}

impl<'a> Report<'a> {
    /// Computes everything. `recording` is of a [`Recording`] that has passed [`Recording::validate`]; its numbers may be anything.
    pub fn new(recording: &'a Span) -> Self {
        let threads = ledger::threads(recording);
        let ledger = Ledger::of(&threads);
        let shares = Shares::of(recording);
        let stacks = stacks::all(recording, &shares);
        let hot = Hot::of(&stacks, &shares, |wanted| ledger.account.ns_where(wanted));
        let (locks, wakers) = (LockReport::of(recording, &shares), Wakers::of(recording));
        let (disks, trust, cross_check) =
            (Disks::of(recording), Trust::of(recording), CrossCheck::of(recording));
        let parts = verdict::Parts {
            ledger: &ledger,
            threads: &threads,
            shares: &shares,
            trust: &trust,
            hot: &hot,
            disks: &disks,
            locks: &locks,
            wakers: &wakers,
            cross_check: cross_check.as_ref(),
        };
        let verdict = Verdict::of(&verdict::Facts::of(recording, &parts));
        Self {
            recording,
            processes: ledger::processes(recording, &threads),
            stacks: Stacks::of(recording, &stacks, &shares),
            cost: CostRatios::of(recording),
            threads: ledger::busiest_first(threads),
            cross_check,
            wait_times: wait_times::rows(recording),
            ledger,
            hot,
            disks,
            locks,
            wakers,
            verdict,
            trust,
            course: Course::default(),
        }
    }

    /// The same of some windows of a recording, with how things went from window to window.
    pub fn over_time(recording: &Recording, span: &'a Span) -> Self {
        let place = span.place();
        let windows = recording.windows_between(place.from_ns, place.to_ns);
        Self { course: Course::of(recording, windows), ..Self::new(span) }
    }
}

/// Adds, as far as that goes.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// `part / whole`, or none where there is nothing to divide by.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_span;

    proptest! {
        #[test]
        fn any_valid_recording_has_a_report(recording in any_span()) {
            let report = Report::new(&recording);
            prop_assert_eq!(report.threads.len(), recording.threads.len());
            prop_assert!((0.0..=1.0).contains(&report.trust.lost_ratio));
        }
    }
}
