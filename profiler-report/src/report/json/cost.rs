//! What the recording cost, and what the budget left out.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{Seconds, seconds};
use crate::analyze::Report;
use crate::recording::Detail;

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CostJson<'a> {
    /// Share of one CPU that the profiler's process took.
    #[cfg_attr(test, schemars(range(min = 0)))]
    cpu_ratio: Option<f64>,
    /// CPU time of the profiler's process over the recording.
    own_cpu_seconds: Seconds,
    /// The most resident memory of the profiler's process.
    rss_bytes: u64,
    /// Memory of the kernel maps and of perf's rings.
    kernel_bytes: u64,
    /// Each kernel program, while the kernel measured them.
    programs: Vec<ProgramJson<'a>>,
    /// Their share of one CPU over that time.
    #[cfg_attr(test, schemars(range(min = 0)))]
    programs_cpu_ratio: Option<f64>,
    /// From the start of the profiler until everything was attached.
    startup_seconds: Seconds,
    /// The process and the programs that do not run in its time, as a share of the machine's CPU time.
    #[cfg_attr(test, schemars(range(min = 0)))]
    machine_ratio: Option<f64>,
    /// The limit, from `--max-overhead`.
    budget_ratio: f64,
    /// Changes of the detail to keep to the budget.
    steps: Vec<DetailStepJson>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct DetailStepJson {
    /// Since the start.
    at_seconds: Seconds,
    /// From then on.
    #[serde(with = "DetailJson")]
    detail: Detail,
    /// Of the preceding second.
    cost_ratio: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ProgramJson<'a> {
    name: &'a str,
    run_seconds: Seconds,
    runs: u64,
    /// Mean, in nanoseconds; null where it never ran.
    #[cfg_attr(test, schemars(range(min = 0)))]
    ns_per_run: Option<f64>,
}

impl<'a> CostJson<'a> {
    pub fn of(report: &'a Report<'_>) -> Self {
        let (cost, budget) = (&report.recording.cost, &report.recording.budget);
        let programs = cost.programs.iter().map(|program| ProgramJson {
            name: &program.name,
            run_seconds: seconds(program.run_ns),
            runs: program.runs,
            ns_per_run: (program.runs > 0).then(|| program.run_ns as f64 / program.runs as f64),
        });
        Self {
            cpu_ratio: report.cost.own_cpu,
            own_cpu_seconds: seconds(cost.own_cpu_ns),
            rss_bytes: cost.rss_bytes,
            kernel_bytes: cost.kernel_bytes,
            programs: programs.collect(),
            programs_cpu_ratio: report.cost.programs_cpu,
            startup_seconds: seconds(budget.startup_ns),
            machine_ratio: report.cost.machine,
            budget_ratio: budget.ratio,
            steps: budget
                .steps
                .iter()
                .map(|step| DetailStepJson {
                    at_seconds: seconds(step.at_ns),
                    detail: step.detail,
                    cost_ratio: step.cost_ratio,
                })
                .collect(),
        }
    }
}

/// How much is recorded.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(remote = "Detail", rename_all = "snake_case")]
enum DetailJson {
    Full,
    HalfRate,
    QuarterRate,
    NoOptionalProbes,
    FewOffCpuStacks,
    LedgerOnly,
    Detached,
}
