//! CPUs that come and go while a recording runs.
//!
//! In: how many are online, from time to time. Out: what the report lacks. The on-CPU sampler is a perf
//! event on each CPU that was there at the start. The kernel takes it away with its CPU and does not give it
//! back, and to open another takes privileges that are given up. The ledger's times know nothing of that.

use crate::host::online_cpus;
use profiler_report::recording::{InstrumentId, Skip, SkipCause};

/// The numbers so far, each as long as it lasted.
#[derive(Debug)]
pub struct Online(Vec<u32>);

/// Most changes that are reported one by one.
const CHANGES: usize = 6;

impl Online {
    pub fn now() -> Self {
        Self(vec![online_cpus()])
    }

    /// Looks again. A CPU that is away for less than the time between two looks is not noticed.
    pub fn look(&mut self) {
        self.see(online_cpus());
    }

    fn see(&mut self, cpus: u32) {
        if self.0.last() != Some(&cpus) && self.0.len() <= CHANGES {
            self.0.push(cpus);
        }
    }

    /// What is missing because of it, for the report.
    pub fn skip(&self) -> Option<Skip> {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        (numbers.len() > 1)
            .then(|| Skip::with_detail(InstrumentId::OnCpu, SkipCause::LateCpus, numbers.join(", then ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: &[u32], expected: Option<&str>) {
        let mut online = Online(vec![numbers[0]]);
        numbers[1..].iter().for_each(|&cpus| online.see(cpus));
        assert_eq!(online.skip().map(|skip| skip.detail).as_deref(), expected);
    }

    #[test]
    fn nothing_is_said_where_nothing_changes() {
        check(&[2, 2, 2], None);
    }

    #[test]
    fn each_change_is_said_once() {
        check(&[2, 2, 1, 1, 2], Some("2, then 1, then 2"));
    }

    #[test]
    fn what_is_told_is_bounded() {
        check(&[2, 1, 2, 1, 2, 1, 2, 1, 2, 1], Some("2, then 1, then 2, then 1, then 2, then 1, then 2"));
    }
}
