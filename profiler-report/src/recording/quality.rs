//! What was lost, cut or left out.

use serde::{Deserialize, Serialize};

use super::sum::{Sum, add_number};

/// What was lost, cut or skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// Each cause that the kernel programs count, by its name in `profiler_common::stat`.
    pub kernel_counts: Vec<(String, u64)>,
    /// Threads that `/proc` shows at the end and the ledger has never seen.
    pub threads_unseen: u32,
    /// Off-CPU candidates that a pass had no room for.
    pub offcpu_over_limit: u64,
    /// Ticks at which the off-CPU sampler ran, and those that it came too late for.
    pub offcpu_passes: u64,
    pub offcpu_passes_missed: u64,
    /// Records that did not decode.
    pub malformed_records: u64,
    /// Repeats of a wait whose sample was lost.
    pub repeats_without_sample: u64,
    /// Rows about locks and the ends of waits left out because a table of the recording was full.
    pub locks_over_limit: u64,
    /// Samples left out because a table of the recording was full.
    pub samples_over_limit: u64,
    /// Events that a kernel program missed because it was already running on that CPU.
    pub recursion_misses: u64,
}

impl Sum for Quality {
    fn add(&mut self, later: &Self) {
        for (name, count) in &later.kernel_counts {
            match self.kernel_counts.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => add_number(sum, *count),
                None => self.kernel_counts.push((name.clone(), *count)),
            }
        }
        self.threads_unseen = self.threads_unseen.saturating_add(later.threads_unseen);
        add_number(&mut self.offcpu_over_limit, later.offcpu_over_limit);
        add_number(&mut self.offcpu_passes, later.offcpu_passes);
        add_number(&mut self.offcpu_passes_missed, later.offcpu_passes_missed);
        add_number(&mut self.malformed_records, later.malformed_records);
        add_number(&mut self.repeats_without_sample, later.repeats_without_sample);
        add_number(&mut self.locks_over_limit, later.locks_over_limit);
        add_number(&mut self.samples_over_limit, later.samples_over_limit);
        add_number(&mut self.recursion_misses, later.recursion_misses);
    }
}

/// What became of the files that debuginfod servers were asked for, or that their clients' cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Debuginfod {
    /// Files that were asked for over the network.
    pub asked: u64,
    /// Files that were in the cache.
    pub cached: u64,
    /// Of those asked for: received, and of the right build.
    pub found: u64,
    /// Not known to the servers, now or in the last ten minutes.
    pub unknown: u64,
    /// A server could not be asked, or what it sent was of no use.
    pub failed: u64,
    /// Not received when the time was up.
    pub late: u64,
}
