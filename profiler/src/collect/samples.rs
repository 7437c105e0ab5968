//! Adds up samples of the same thread, state and stack, and gives each its weight.

use std::collections::HashMap;

use profiler_common::ledger::ThreadRecord;

use super::rows::Rows;
use crate::decode;
use profiler_report::recording::{LockId, Quality, Sample, StackId, ThreadId};

/// Distinct (thread, state, stack, lock) that are kept: about 30 bytes each, 8 MiB, beside the rows of the present window.
const MOST_SAMPLES: usize = 262_144;

type Key = (ThreadId, u32, StackId, Option<LockId>);

#[derive(Clone, Copy, Default)]
struct Sum {
    weight: f64,
    count: u32,
}

/// The off-CPU interval of a thread that was sampled last: later ticks that find it again only add to its weight.
struct Last {
    wait_seq: u32,
    key: Key,
    /// Repeats that were added so far.
    taken: u32,
}

/// All samples of the present window.
pub struct Samples {
    sums: Rows<Key, Sum>,
    last: HashMap<u32, Last>,
    on_cpu: u64,
    off_cpu: u64,
}

impl Default for Samples {
    fn default() -> Self {
        Self { sums: Rows::new(MOST_SAMPLES), last: HashMap::new(), on_cpu: 0, off_cpu: 0 }
    }
}

impl Samples {
    /// Adds one sample; false if it is of a new kind and the table is full.
    pub fn add(
        &mut self,
        (thread, stack, lock): (ThreadId, StackId, Option<LockId>),
        sample: &decode::Sample,
        quality: &mut Quality,
    ) -> bool {
        let header = &sample.header;
        if let Some(wait) = sample.wait {
            self.add_repeats(header.tid, wait.repeated_seq, wait.repeats, quality);
            self.last.remove(&header.tid);
        }
        let key = (thread, header.state, stack, lock);
        let Some(sum) = self.sums.entry(key) else { return false };
        sum.weight += stands_for(header.threshold);
        sum.count += 1;
        if let Some(wait) = sample.wait {
            self.off_cpu += 1;
            self.last.insert(header.tid, Last { wait_seq: wait.seq, key, taken: 0 });
        } else {
            self.on_cpu += 1;
        }
        true
    }

    /// Takes in the last repeats of a thread, which no later sample carries.
    pub fn thread_ended(&mut self, record: &ThreadRecord, quality: &mut Quality) {
        self.add_repeats(record.tid, record.sampled_seq, record.repeats, quality);
        self.last.remove(&record.tid);
    }

    /// Takes in the repeats so far of a thread whose wait continues beyond the window.
    pub fn cut(&mut self, record: &ThreadRecord) {
        if self.last.get(&record.tid).is_some_and(|last| last.wait_seq == record.sampled_seq) {
            self.add_repeats(record.tid, record.sampled_seq, record.repeats, &mut Quality::default());
        }
    }

    fn add_repeats(&mut self, tid: u32, wait_seq: u32, repeats: u32, quality: &mut Quality) {
        if repeats == 0 {
            return;
        }
        let last = self.last.get_mut(&tid).filter(|last| last.wait_seq == wait_seq);
        let Some(last) = last else {
            quality.repeats_without_sample += u64::from(repeats);
            return;
        };
        let new = repeats.saturating_sub(last.taken);
        last.taken = last.taken.max(repeats);
        if new > 0
            && let Some(sum) = self.sums.entry(last.key)
        {
            sum.weight += f64::from(new);
        }
    }

    /// Samples so far (on the CPU, off the CPU).
    pub fn counts(&self) -> (u64, u64) {
        (self.on_cpu, self.off_cpu)
    }

    /// The rows of the present window. The next one begins.
    pub fn take(&mut self) -> Vec<Sample> {
        let sample = |((thread, state, stack, lock), Sum { weight, count })| Sample {
            thread,
            state,
            stack,
            lock,
            weight,
            count,
        };
        self.sums.take().into_iter().map(sample).collect()
    }
}

/// A candidate was taken when a random 32-bit number was at most `threshold`, so it stands for the inverse of that
/// probability (Horvitz and Thompson's estimator).
fn stands_for(threshold: u32) -> f64 {
    4_294_967_296.0 / (f64::from(threshold) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::stands_for;

    #[test]
    fn the_weight_is_the_inverse_of_the_probability() {
        assert!((stands_for(u32::MAX) - 1.0).abs() < 1e-9);
        assert!((stands_for((1 << 30) - 1) - 4.0).abs() < 1e-9);
    }
}
