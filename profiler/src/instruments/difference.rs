//! What was added to the sums of the kernel programs from one reading to the next. Pure.

use std::{collections::HashMap, hash::Hash};

use profiler_common::{
    block_io::{RequestTotals, Share, Waits},
    histogram::BUCKETS,
    lock::KernelLockWaits,
};

/// Sums that only grow, by key.
pub struct Before<K, V>(HashMap<K, V>);

impl<K, V> Default for Before<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// A sum of which there is more at each reading.
pub trait Growing: Copy {
    /// What was added since an earlier reading.
    fn since(&self, before: &Self) -> Self;
    /// Whether nothing was.
    fn is_nothing(&self) -> bool;
}

impl<K: Eq + Hash + Copy, V: Growing> Before<K, V> {
    /// What each key has more than at the last reading; those without any are left out.
    pub fn gained(&mut self, now: Vec<(K, V)>) -> Vec<(K, V)> {
        let gained = now.into_iter().filter_map(|(key, sum)| {
            let gained = self.0.insert(key, sum).map_or(sum, |before| sum.since(&before));
            (!gained.is_nothing()).then_some((key, gained))
        });
        gained.collect()
    }
}

impl Growing for Share {
    fn since(&self, before: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(before.count),
            bytes: self.bytes.saturating_sub(before.bytes),
            queue_ns: self.queue_ns.saturating_sub(before.queue_ns),
            device_ns: self.device_ns.saturating_sub(before.device_ns),
            ..*self
        }
    }

    fn is_nothing(&self) -> bool {
        self.count == 0
    }
}

impl Growing for Waits {
    fn since(&self, before: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(before.count),
            blocked_ns: self.blocked_ns.saturating_sub(before.blocked_ns),
            queue_ns: self.queue_ns.saturating_sub(before.queue_ns),
            device_ns: self.device_ns.saturating_sub(before.device_ns),
        }
    }

    fn is_nothing(&self) -> bool {
        self.count == 0
    }
}

impl Growing for KernelLockWaits {
    /// The longest wait of all so far is reported in the window in which it was met.
    fn since(&self, before: &Self) -> Self {
        let is_longer = self.longest_ns > before.longest_ns;
        Self {
            count: self.count.saturating_sub(before.count),
            waited_ns: self.waited_ns.saturating_sub(before.waited_ns),
            longest_ns: if is_longer { self.longest_ns } else { 0 },
        }
    }

    fn is_nothing(&self) -> bool {
        self.count == 0
    }
}

/// Of each kind of request what `after` has more than `before`; kinds without any are left out. Both are in the order of their
/// slots, so that a slot of `before` is met again in `after`, in the same order.
pub fn totals(before: &[RequestTotals], after: &[RequestTotals]) -> Vec<RequestTotals> {
    let mut before = before.iter().peekable();
    let gained = after.iter().map(|totals| {
        before.next_if(|before| before.key == totals.key).map_or(*totals, |before| since(before, totals))
    });
    gained.filter(|totals| totals.count > 0).collect()
}

fn since(before: &RequestTotals, after: &RequestTotals) -> RequestTotals {
    // The programs go on while a value is read: a part of it may be a request older than another.
    let less = |field: fn(&RequestTotals) -> u64| field(after).saturating_sub(field(before));
    RequestTotals {
        key: after.key,
        count: less(|totals| totals.count),
        bytes: less(|totals| totals.bytes),
        errors: less(|totals| totals.errors),
        sequential: less(|totals| totals.sequential),
        queue_ns: less(|totals| totals.queue_ns),
        device_ns: less(|totals| totals.device_ns),
        unissued: less(|totals| totals.unissued),
        unissued_ns: less(|totals| totals.unissued_ns),
        next_sector: after.next_sector,
        disk_name: after.disk_name,
        queue: histogram(&before.queue, &after.queue),
        device: histogram(&before.device, &after.device),
        total: histogram(&before.total, &after.total),
    }
}

/// Buckets have 32 bits and begin again after four thousand million.
fn histogram(before: &[u32; BUCKETS], after: &[u32; BUCKETS]) -> [u32; BUCKETS] {
    std::array::from_fn(|bucket| after[bucket].wrapping_sub(before[bucket]))
}

#[cfg(test)]
mod tests {
    use profiler_common::block_io::{DISK_NAME_BYTES, TotalsKey};

    use super::*;

    fn sums(operation: u32, count: u64, in_first_bucket: u32) -> RequestTotals {
        let mut histogram = [0; BUCKETS];
        histogram[0] = in_first_bucket;
        RequestTotals {
            key: TotalsKey { device: 1, operation, of_members: 0 }.packed(),
            count,
            bytes: 4096 * count,
            errors: 0,
            sequential: 0,
            queue_ns: count,
            device_ns: 10 * count,
            unissued: 0,
            unissued_ns: 0,
            next_sector: 8,
            disk_name: [0; DISK_NAME_BYTES],
            queue: histogram,
            device: histogram,
            total: histogram,
        }
    }

    #[test]
    fn an_interval_has_what_was_added_in_it() {
        assert_eq!(totals(&[sums(0, 5, 5)], &[sums(0, 8, 8)]), [sums(0, 3, 3)]);
    }

    #[test]
    fn a_new_kind_has_all_of_its_own_and_an_idle_one_is_left_out() {
        let (idle, new) = (sums(0, 5, 5), sums(1, 2, 2));
        assert_eq!(totals(&[idle], &[idle, new]), [new]);
        assert_eq!(totals(&[idle], &[new, idle]), [new]);
    }

    #[test]
    fn a_bucket_that_began_anew_still_has_its_difference() {
        assert_eq!(totals(&[sums(0, 5, u32::MAX)], &[sums(0, 8, 2)])[0].total[0], 3);
    }

    #[test]
    fn what_grows_has_its_difference_and_what_does_not_is_left_out() {
        let waits = |count| KernelLockWaits { count, waited_ns: 10 * count, longest_ns: 7 };
        let mut before = Before::default();
        assert_eq!(before.gained(vec![(1, waits(2)), (2, waits(1))]), [(1, waits(2)), (2, waits(1))]);
        let gained = before.gained(vec![(1, waits(5)), (2, waits(1))]);
        assert_eq!(gained, [(1, KernelLockWaits { count: 3, waited_ns: 30, longest_ns: 0 })]);
    }
}
