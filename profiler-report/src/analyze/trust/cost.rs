//! What the recording cost, as shares of a CPU and of the machine.

use crate::analyze::ratio;
use crate::recording::{Detail, Span};

/// Whether a recording ended because it cost more than it was allowed to.
pub fn ended_by_budget(recording: &Span) -> bool {
    recording.budget.steps.last().is_some_and(|step| step.detail == Detail::Detached)
}

/// Shares of one CPU where not said otherwise; none where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostRatios {
    /// The profiler's process.
    pub own_cpu: Option<f64>,
    /// The kernel programs, while the kernel measured them.
    pub programs_cpu: Option<f64>,
    /// Both together, what the process runs itself counted once, as a share of the machine's CPU time.
    pub machine: Option<f64>,
}

impl CostRatios {
    pub fn of(recording: &Span) -> Self {
        let cost = &recording.cost;
        let run_ns = cost.programs.iter().fold(0, |sum: u64, program| sum.saturating_add(program.run_ns));
        let in_others_time = cost.programs.iter().filter(|program| !program.in_own_time);
        let others_ns = in_others_time.fold(0, |sum: u64, program| sum.saturating_add(program.run_ns));
        let own_cpu = ratio(cost.own_cpu_ns, recording.elapsed_ns());
        let others_cpu = ratio(others_ns, cost.measured_ns);
        let cpus = f64::from(recording.meta.cpus.max(1));
        Self {
            own_cpu,
            programs_cpu: ratio(run_ns, cost.measured_ns),
            machine: own_cpu.zip(others_cpu).map(|(own, others)| (own + others) / cpus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::example;

    #[test]
    fn cost_is_told_as_shares_of_one_cpu_and_of_the_machine() {
        // 40 ms in 10 s; 0.63 ms in 1 s.
        let mut recording = example();
        recording.meta.cpus = 4;
        let cost = CostRatios::of(&recording);
        assert_eq!((cost.own_cpu, cost.programs_cpu), (Some(0.004), Some(0.000_63)));
        assert!((cost.machine.unwrap() - 0.004_63 / 4.0).abs() < 1e-12, "{cost:?}");
        // What runs in the process's own time is in that time already.
        recording.cost.programs[0].in_own_time = true;
        assert_eq!(CostRatios::of(&recording).machine, Some(0.001));
    }

    #[test]
    fn what_was_not_measured_has_no_share() {
        assert_eq!(
            CostRatios::of(&Span::default()),
            CostRatios { own_cpu: None, programs_cpu: None, machine: None }
        );
    }
}
