//! What was added to the sums of the kernel programs from one reading to the next. Pure.

use std::collections::{HashMap, hash_map::Entry};

use profiler_common::{
    block_io::{RequestTotals, Share, ShareKey},
    histogram::BUCKETS,
};

/// Processes, cgroups and files of which the sum over all intervals is kept.
const MOST_SHARES: usize = 1 << 16;

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

/// Buckets have 32 bits and begin anew after four thousand million.
fn histogram(before: &[u32; BUCKETS], after: &[u32; BUCKETS]) -> [u32; BUCKETS] {
    std::array::from_fn(|bucket| after[bucket].wrapping_sub(before[bucket]))
}

/// The sum of shares over all intervals.
#[derive(Default)]
pub struct ShareSums {
    by_key: HashMap<ShareKey, Share>,
    /// Requests that are in none of them, for want of room.
    pub left_out: u64,
}

impl ShareSums {
    /// Takes in those of an interval.
    pub fn add(&mut self, shares: &[(ShareKey, Share)]) {
        for (key, share) in shares {
            let room = self.by_key.len() < MOST_SHARES;
            match self.by_key.entry(*key) {
                Entry::Occupied(known) => add(known.into_mut(), share),
                Entry::Vacant(new) if room => {
                    new.insert(*share);
                }
                Entry::Vacant(_) => self.left_out = self.left_out.saturating_add(share.count),
            }
        }
    }

    /// All of them.
    pub fn shares(&self) -> Vec<(ShareKey, Share)> {
        self.by_key.iter().map(|(key, share)| (*key, *share)).collect()
    }
}

fn add(sum: &mut Share, more: &Share) {
    sum.count = sum.count.saturating_add(more.count);
    sum.bytes = sum.bytes.saturating_add(more.bytes);
    sum.queue_ns = sum.queue_ns.saturating_add(more.queue_ns);
    sum.device_ns = sum.device_ns.saturating_add(more.device_ns);
}

#[cfg(test)]
mod tests {
    use profiler_common::block_io::{DISK_NAME_BYTES, TotalsKey, share_key};

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
    fn shares_add_up_over_intervals_and_have_a_bound() {
        let key = |id: u64| ShareKey { id, kind: share_key::OWNER, of: 1, device: 1, operation: 0 };
        let share = Share { count: 2, bytes: 8192, ..Share::default() };
        let mut sums = ShareSums::default();
        for id in 0..MOST_SHARES as u64 + 10 {
            sums.add(&[(key(id), share)]);
        }
        sums.add(&[(key(3), share)]);
        assert_eq!((sums.shares().len(), sums.left_out), (MOST_SHARES, 20));
        let third = sums.shares().into_iter().find(|(key, _)| key.id == 3).expect("kept");
        assert_eq!((third.1.count, third.1.bytes), (4, 16_384));
    }
}
