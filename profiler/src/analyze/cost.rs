//! What the recording cost, as shares of a CPU.

use super::ratio;
use crate::recording::Recording;

/// How the sentence among the skipped begins that tells why the kernel programs' run time is not known.
pub const RUN_TIMES_UNMEASURED: &str = "the kernel programs' run time is not measured, because ";

/// Why it is not known, if that is told.
pub fn why_unmeasured(recording: &Recording) -> Option<&str> {
    recording.quality.skipped.iter().find_map(|sentence| sentence.strip_prefix(RUN_TIMES_UNMEASURED))
}

/// Shares of one CPU; none where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostRatios {
    /// The profiler's process.
    pub own_cpu: Option<f64>,
    /// The kernel programs, while the kernel measured them.
    pub programs_cpu: Option<f64>,
}

impl CostRatios {
    pub(super) fn of(recording: &Recording) -> Self {
        let cost = &recording.cost;
        let run_ns = cost.programs.iter().fold(0, |sum: u64, program| sum.saturating_add(program.run_ns));
        Self {
            own_cpu: ratio(cost.own_cpu_ns, recording.elapsed_ns()),
            programs_cpu: ratio(run_ns, cost.measured_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::example;

    #[test]
    fn cost_is_told_as_shares_of_one_cpu() {
        // 40 ms in 10 s; 0.63 ms in 1 s.
        assert_eq!(
            CostRatios::of(&example()),
            CostRatios { own_cpu: Some(0.004), programs_cpu: Some(0.000_63) }
        );
    }

    #[test]
    fn what_was_not_measured_has_no_share() {
        assert_eq!(CostRatios::of(&Recording::default()), CostRatios { own_cpu: None, programs_cpu: None });
    }
}
