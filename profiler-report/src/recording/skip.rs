//! What is off or degraded, as values. [`crate::report`] makes the sentences.

use serde::{Deserialize, Serialize};

use super::InstrumentId;

/// Something that a recording lacks, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skip {
    pub instrument: InstrumentId,
    pub cause: SkipCause,
    /// How many, where something is counted; else zero.
    pub count: u64,
    /// What the kernel said, or another text that belongs to the cause; hostile, and mostly empty.
    pub detail: String,
}

/// Why it is lacking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SkipCause {
    /// The kernel refuses what the instrument attaches, or lacks it; the detail is its words.
    Refused,
    /// A clock drives the on-CPU sampler, as hardware cycles are not safe in a virtual machine.
    CyclesUnsafe,
    /// The same, as this machine does not count cycles.
    NoCycles,
    /// CPUs came online after the start; the detail is the numbers that were online, one after the other.
    LateCpus,
    /// The count of threads has an account; the detail is the memory that they fill.
    ThreadsOverLimit,
    UnreadableFiles,
    /// Images whose unwind tables did not fit.
    WithoutTables,
    /// Files that could not be kept open.
    NotKeptOpen,
    ImagesOverLimit,
    MappingsOverLimit,
    ProcessesForgotten,
    /// Changes of mappings that were not reported, or not kept.
    MappingsLost,
    /// Perf maps that could not be kept open.
    PerfMapsNotKept,
    /// Files whose debug information is more than may be unpacked; the detail is that limit.
    DebugInfoTooLarge,
    /// Files whose debug information is in another file.
    DebugInfoElsewhere,
    /// Files that were changed after they were first read.
    FilesChanged,
    /// Files that became shorter while they were read.
    FilesTruncated,
    NoKallsyms,
    /// The detail is the value of `kernel.kptr_restrict`.
    KernelAddressesHidden,
    /// The run time of the kernel programs is not measured without `cap_sys_admin`.
    RunTimesUnmeasured,
    /// Files that have no path any more cannot be opened without `cap_checkpoint_restore`.
    DeletedFilesUnreadable,
    /// The profiler's own system calls are not restricted; the detail is the kernel's words.
    Unconfined,
    /// The profiler was killed: this is a checkpoint.
    Unfinished,
    /// What a capture from before causes had says, as a sentence: the detail.
    Sentence,
    /// One of a later version.
    #[default]
    #[serde(other)]
    Later,
}

impl Skip {
    /// Without a number or a detail.
    pub fn new(instrument: InstrumentId, cause: SkipCause) -> Self {
        Self { instrument, cause, ..Self::default() }
    }

    /// With the words of the kernel, or others.
    pub fn with_detail(instrument: InstrumentId, cause: SkipCause, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::new(instrument, cause) }
    }

    /// With a number; none where that is zero.
    pub fn counted(instrument: InstrumentId, cause: SkipCause, count: u64) -> Option<Self> {
        (count > 0).then(|| Self { count, ..Self::new(instrument, cause) })
    }

    /// What a capture of an earlier build of this format says.
    pub fn sentence(detail: String) -> Self {
        Self::with_detail(InstrumentId::Later, SkipCause::Sentence, detail)
    }
}
