//! What recording cost, and the steps of detail that keep it under its budget.

use serde::{Deserialize, Serialize};

use super::sum::{Keyed, Sum, add_number, add_rows};

/// What the recording cost in one window, or in several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// User and system time of the profiler's process over the recording (`getrusage`).
    pub own_cpu_ns: u64,
    /// Most resident memory of the profiler's process so far (`getrusage`, ru_maxrss).
    pub rss_bytes: u64,
    /// Memory of the maps, as the kernel accounts it, and of perf's rings.
    pub kernel_bytes: u64,
    /// Each kernel program.
    pub programs: Vec<ProgramCost>,
    /// Wall-clock time in which the kernel measured the programs (`BPF_ENABLE_STATS`, in bursts: it costs itself).
    pub measured_ns: u64,
    /// CPU time of ending windows, and how many were ended: part of [`Cost::own_cpu_ns`].
    pub cuts_ns: u64,
    pub cuts: u32,
}

impl Sum for Cost {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.own_cpu_ns, later.own_cpu_ns);
        self.rss_bytes = self.rss_bytes.max(later.rss_bytes);
        self.kernel_bytes = self.kernel_bytes.max(later.kernel_bytes);
        add_rows(&mut self.programs, &later.programs);
        add_number(&mut self.measured_ns, later.measured_ns);
        add_number(&mut self.cuts_ns, later.cuts_ns);
        self.cuts = self.cuts.saturating_add(later.cuts);
    }
}

/// What the recording was allowed to cost, and what that changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// From the start of the profiler to the first moment at which everything was attached.
    pub startup_ns: u64,
    /// How much of the machine's CPU time the recording was allowed to cost.
    pub ratio: f64,
    /// Changes of the detail, made to keep to it.
    pub steps: Vec<DetailStep>,
}

/// How much is recorded. Each has less than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// As asked for.
    #[default]
    Full,
    /// Half of the on-CPU samples, and passes over waiting threads at each second tick at most.
    HalfRate,
    /// A quarter of the on-CPU samples, passes at each fourth tick at most.
    QuarterRate,
    /// The same, and what is not needed for times and stacks rests: requests to block devices, locks, and the ends of waits.
    NoOptionalProbes,
    /// The same, passes at each twentieth tick at most.
    FewOffCpuStacks,
    /// No stacks: each thread's time by state alone.
    LedgerOnly,
    /// Nothing: the recording is over.
    Detached,
}

impl Detail {
    /// From all to nothing.
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::HalfRate,
        Self::QuarterRate,
        Self::NoOptionalProbes,
        Self::FewOffCpuStacks,
        Self::LedgerOnly,
        Self::Detached,
    ];

    /// The next one with less.
    pub fn less(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }

    /// The next one with more. What is detached stays so.
    pub fn more(self) -> Option<Self> {
        if self == Self::Detached { None } else { Self::ALL.get((self as usize).checked_sub(1)?).copied() }
    }

    /// One on-CPU sample is taken of this number, at random.
    pub fn on_cpu_thinning(self) -> u32 {
        match self {
            Self::Full => 1,
            Self::HalfRate => 2,
            _ => 4,
        }
    }

    /// Fewest ticks from one pass over waiting threads to the next.
    pub fn ticks_a_pass(self) -> u32 {
        match self {
            Self::FewOffCpuStacks | Self::LedgerOnly | Self::Detached => 20,
            other => other.on_cpu_thinning(),
        }
    }

    /// Whether optional probes take part.
    pub fn has_optional_probes(self) -> bool {
        matches!(self, Self::Full | Self::HalfRate | Self::QuarterRate)
    }

    /// Whether stacks are taken at all.
    pub fn has_stacks(self) -> bool {
        !matches!(self, Self::LedgerOnly | Self::Detached)
    }
}

/// A change of the detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetailStep {
    /// Since the start of the recording.
    pub at_ns: u64,
    /// What is recorded from then on.
    pub detail: Detail,
    /// What the second before had cost, as a share of the machine's CPU time.
    pub cost_ratio: f64,
}

/// Cost of one kernel program while it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgramCost {
    pub name: String,
    /// It runs in the CPU time of the profiler's process, which is [`Cost::own_cpu_ns`]; the others run in that of others.
    pub in_own_time: bool,
    pub run_ns: u64,
    pub runs: u64,
}

impl Sum for ProgramCost {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.run_ns, later.run_ns);
        add_number(&mut self.runs, later.runs);
    }
}

impl Keyed for ProgramCost {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }
}
