//! How long waits lasted, by what they were for.

use profiler_common::{state::Group, wait_times::GROUPS};

use super::Quantiles;
use crate::recording::Span;

/// Waits of one group of reasons that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaitRow {
    pub group: Group,
    pub waits: u64,
    /// Of all of them, in nanoseconds, to within a bucket of the histogram: 6 %.
    pub quantiles: Quantiles,
}

/// In the order of the groups; those without a wait are left out.
pub(super) fn rows(recording: &Span) -> Vec<WaitRow> {
    let row = |times: &crate::recording::WaitTimes| {
        let group = *GROUPS.get(times.group as usize)?;
        let waits = times.buckets.iter().fold(0, |sum: u64, &(_, waits)| sum.saturating_add(waits));
        let quantiles = Quantiles::of(times.buckets.iter().copied());
        (waits > 0).then_some(WaitRow { group, waits, quantiles })
    };
    recording.wait_times.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use profiler_common::histogram::{bounds, bucket};

    use super::*;
    use crate::recording::WaitTimes;

    #[test]
    fn quantiles_are_those_of_the_waits() {
        let buckets = vec![(bucket(10_000), 990), (bucket(5_000_000), 10)];
        let recording = Span {
            wait_times: vec![WaitTimes { group: 0, buckets }, WaitTimes { group: 99, buckets: vec![(0, 1)] }],
            ..Span::default()
        };
        let rows = rows(&recording);
        assert_eq!((rows.len(), rows[0].group, rows[0].waits), (1, Group::RunQueue, 1000));
        let is_in = |ns: f64, of: u64| {
            let (start, end) = bounds(bucket(of));
            (start as f64..=end as f64).contains(&ns)
        };
        assert!(is_in(rows[0].quantiles.p50, 10_000) && is_in(rows[0].quantiles.p999, 5_000_000), "{rows:?}");
    }
}
