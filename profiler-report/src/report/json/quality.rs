//! How good the data is: how stacks ended, what was lost, what is off.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::Ratio;
use crate::analyze::{Loss, Report, StackEnds};
use crate::recording::{Broken, Debuginfod, InstrumentId, Skip, SkipCause};
use crate::report::{skips, words};

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct QualityJson<'a> {
    /// The largest of the shares of lost samples, thread accounts and kernel events.
    lost_ratio: Ratio,
    /// `lost_ratio` is at most 0.01.
    reliable: bool,
    /// By samples; null when no stack was taken, as are the next two.
    stacks_complete_ratio: Option<Ratio>,
    stacks_cut_ratio: Option<Ratio>,
    stacks_broken_ratio: Option<Ratio>,
    /// Broken stacks by reason.
    stacks_broken: BTreeMap<BrokenJson, u64>,
    /// Stacks in which at least one caller was found without an unwind table.
    stacks_by_frame_pointers_ratio: Option<Ratio>,
    stacks_on_cpu: StackEndsJson,
    stacks_off_cpu: StackEndsJson,
    /// Frames of all samples that have a name.
    frames_named_ratio: Option<Ratio>,
    /// What the kernel programs counted, by the names of `profiler-common/src/stat.rs`.
    counts: BTreeMap<&'a str, u64>,
    /// Threads that `/proc` shows at the end and the ledger has never seen.
    threads_unseen: u32,
    /// Waits that a pass of the off-CPU sampler had no room for.
    offcpu_over_limit: u64,
    /// Passes of the off-CPU sampler.
    offcpu_passes: u64,
    /// Passes that came too late: shares of stacks are less precise, nothing is lost.
    offcpu_passes_missed: u64,
    /// Records that did not decode.
    malformed_records: u64,
    /// Later sightings of a wait whose own sample was lost.
    repeats_without_sample: u64,
    /// Samples left out because a table of the recording was full.
    samples_over_limit: u64,
    /// Rows about locks and the ends of waits left out because a table of the recording was full.
    locks_over_limit: u64,
    /// Events that a kernel program missed because it was already running on that CPU.
    recursion_misses: u64,
    /// Each kind of thing that can be lost.
    losses: Vec<LossJson>,
    /// Everything that is off or degraded on this machine.
    skipped: Vec<SkipJson<'a>>,
    debuginfod: Debuginfod,
}

/// How stacks ended, as numbers of stacks.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct StackEndsJson {
    complete: u64,
    cut: u64,
    broken: u64,
    by_frame_pointers: u64,
}

impl<'a> QualityJson<'a> {
    pub fn of(report: &'a Report<'_>) -> Self {
        let (quality, trust) = (&report.recording.quality, &report.trust);
        let ends = trust.ends.ratios();
        Self {
            lost_ratio: Ratio(trust.lost_ratio),
            reliable: trust.reliable,
            stacks_complete_ratio: ends.map(|[complete, _, _]| Ratio(complete)),
            stacks_cut_ratio: ends.map(|[_, cut, _]| Ratio(cut)),
            stacks_broken_ratio: ends.map(|[_, _, broken]| Ratio(broken)),
            stacks_broken: trust
                .ends
                .broken
                .iter()
                .map(|(&why, &count)| (BrokenJson::of(why), count))
                .collect(),
            stacks_by_frame_pointers_ratio: trust.ends.by_frame_pointers_ratio().map(Ratio),
            stacks_on_cpu: StackEndsJson::of(&trust.on_cpu_ends),
            stacks_off_cpu: StackEndsJson::of(&trust.off_cpu_ends),
            frames_named_ratio: trust.frames_named.map(Ratio),
            counts: quality.kernel_counts.iter().map(|(name, count)| (name.as_str(), *count)).collect(),
            threads_unseen: quality.threads_unseen,
            offcpu_over_limit: quality.offcpu_over_limit,
            offcpu_passes: quality.offcpu_passes,
            offcpu_passes_missed: quality.offcpu_passes_missed,
            malformed_records: quality.malformed_records,
            repeats_without_sample: quality.repeats_without_sample,
            samples_over_limit: quality.samples_over_limit,
            locks_over_limit: quality.locks_over_limit,
            recursion_misses: quality.recursion_misses,
            losses: trust.losses.iter().map(LossJson::of).collect(),
            skipped: report.recording.skipped.iter().map(SkipJson::of).collect(),
            debuginfod: report.recording.debuginfod,
        }
    }
}

impl StackEndsJson {
    fn of(ends: &StackEnds) -> Self {
        let (broken, by_frame_pointers) = (ends.all_broken(), ends.by_frame_pointers);
        Self { complete: ends.complete, cut: ends.cut, broken, by_frame_pointers }
    }
}

/// Why a stack is broken.
// No descriptions of its variants: the schema of a map with these keys needs a plain list of them.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum BrokenJson {
    StackUnreadable,
    NoModule,
    NoUnwindInfo,
    TooDeep,
    ProcessGone,
    OtherStack,
}

impl BrokenJson {
    fn of(why: Broken) -> Self {
        match why {
            Broken::StackUnreadable => Self::StackUnreadable,
            Broken::NoModule => Self::NoModule,
            Broken::NoUnwindInfo => Self::NoUnwindInfo,
            Broken::TooDeep => Self::TooDeep,
            Broken::ProcessGone => Self::ProcessGone,
            Broken::OtherStack => Self::OtherStack,
        }
    }
}

/// What was lost of one kind of thing.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct LossJson {
    what: &'static str,
    instrument: InstrumentId,
    lost: u64,
    arrived: u64,
    lost_ratio: Ratio,
    /// Whether the times of the ledger lack it, and not only the stacks.
    is_about_time: bool,
    advice: String,
}

impl LossJson {
    fn of(loss: &Loss) -> Self {
        Self {
            what: loss.kind.name(),
            instrument: loss.kind.instrument(),
            lost: loss.lost,
            arrived: loss.arrived,
            lost_ratio: Ratio(loss.ratio()),
            is_about_time: loss.kind.is_about_time(),
            advice: words::sentence(&loss.kind.advice()),
        }
    }
}

/// Something that is off or degraded.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct SkipJson<'a> {
    instrument: InstrumentId,
    cause: SkipCause,
    /// How many, where something is counted; else 0.
    count: u64,
    /// The kernel's words, or another text that belongs to the cause; mostly empty.
    detail: &'a str,
    /// All of it, as the text report says it.
    sentence: String,
}

impl<'a> SkipJson<'a> {
    fn of(skip: &'a Skip) -> Self {
        let &Skip { instrument, cause, count, ref detail } = skip;
        Self { instrument, cause, count, detail, sentence: skips::sentence(skip) }
    }
}
