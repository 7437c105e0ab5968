//! What adds up over windows: numbers, and rows of numbers under keys.

use std::collections::HashMap;
use std::hash::Hash;

/// What one time has, and the time after it: together they are the sum.
///
/// A gauge, which has one value at a moment, takes the largest or the last one instead; the type's fields say which.
pub trait Sum {
    /// Takes in what comes later.
    fn add(&mut self, later: &Self);
}

/// A row that adds up with other rows of the same key.
pub trait Keyed: Sum + Clone {
    type Key: Eq + Hash;

    fn key(&self) -> Self::Key;
}

/// Adds, as far as that goes: numbers in a capture may be anything.
pub fn add_number(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// Adds rows to those of the same key; new ones go behind.
pub fn add_rows<R: Keyed>(rows: &mut Vec<R>, later: &[R]) {
    if rows.is_empty() {
        rows.extend_from_slice(later);
        return;
    }
    let mut places: HashMap<R::Key, usize> = rows.iter().map(Keyed::key).zip(0..).collect();
    for row in later {
        let next = rows.len();
        match *places.entry(row.key()).or_insert(next) {
            at if at == next => rows.push(row.clone()),
            at => rows[at].add(row),
        }
    }
}

/// Adds what may be missing at either time.
pub fn add_option<T: Sum + Clone>(sum: &mut Option<T>, later: Option<&T>) {
    match (sum, later) {
        (Some(sum), Some(later)) => sum.add(later),
        (sum @ None, Some(later)) => *sum = Some(later.clone()),
        (_, None) => {}
    }
}

/// Adds histograms: (bucket, count), by bucket.
pub fn add_buckets(sum: &mut Vec<(u32, u32)>, later: &[(u32, u32)]) {
    for &(bucket, count) in later {
        match sum.binary_search_by_key(&bucket, |&(known, _)| known) {
            Ok(at) => sum[at].1 = sum[at].1.saturating_add(count),
            Err(at) => sum.insert(at, (bucket, count)),
        }
    }
}
