//! The names of what records: `profiler`'s list of instruments has one for each.

use serde::{Deserialize, Serialize};

/// What records something, or gives names to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InstrumentId {
    /// Each thread's time by state.
    Ledger,
    OnCpu,
    OffCpu,
    BlockIo,
    /// Holders of locks, and who ends waits.
    Locks,
    WaitTimes,
    Mappings,
    Machine,
    /// Names of functions, after the recording.
    Names,
    /// The profiler's own process: its cost, its privileges, its end.
    Profiler,
    /// One of a later version.
    #[default]
    #[serde(other)]
    Later,
}

impl InstrumentId {
    /// Those without which a report has its times and its stacks all the same: a flag can switch each off, and they are the
    /// first to rest where the budget is short.
    pub const OPTIONAL: [Self; 2] = [Self::BlockIo, Self::Locks];

    /// Its one name: that of its room in `profiler`, of its flag and in the JSON report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::OnCpu => "on_cpu",
            Self::OffCpu => "off_cpu",
            Self::BlockIo => "block_io",
            Self::Locks => "locks",
            Self::WaitTimes => "wait_times",
            Self::Mappings => "mappings",
            Self::Machine => "machine",
            Self::Names => "names",
            Self::Profiler => "profiler",
            Self::Later => "later",
        }
    }
}
