//! How long waits lasted: a histogram for each group of reasons.

use serde::{Deserialize, Serialize};

use super::sum::{Keyed, Sum};

/// Waits of recorded threads that ended in one window, by how long they lasted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitTimes {
    /// Index into `profiler_common::wait_times::GROUPS`.
    pub group: u32,
    /// (bucket of `profiler_common::histogram`, waits), those that are not empty, in order.
    pub buckets: Vec<(u32, u64)>,
}

impl Sum for WaitTimes {
    fn add(&mut self, later: &Self) {
        for &(bucket, waits) in &later.buckets {
            match self.buckets.binary_search_by_key(&bucket, |&(known, _)| known) {
                Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(waits),
                Err(at) => self.buckets.insert(at, (bucket, waits)),
            }
        }
    }
}

impl Keyed for WaitTimes {
    type Key = u32;

    fn key(&self) -> u32 {
        self.group
    }
}
