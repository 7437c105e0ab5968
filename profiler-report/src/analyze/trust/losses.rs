//! What was lost of each kind of thing.

use profiler_common::stat::Stat;

use super::{counted, switches};
use crate::analyze::{
    claim::{Claim, claim},
    ratio,
};
use crate::recording::{InstrumentId, Span};

/// A kind of thing that can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    Samples,
    ThreadAccounts,
    DiskRequests,
    LockWaits,
    /// All that a kernel program missed because it was already running on that CPU.
    KernelEvents,
}

impl LossKind {
    /// What is lost, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::ThreadAccounts => "thread accounts",
            Self::DiskRequests => "disk requests",
            Self::LockWaits => "lock waits",
            Self::KernelEvents => "kernel events",
        }
    }

    /// What helps against it.
    pub fn advice(self) -> Claim {
        match self {
            Self::Samples => claim!("a lower rate (-F 49), or fewer targets"),
            Self::ThreadAccounts => claim!("fewer targets: -p rather than -a, or no --children"),
            Self::DiskRequests => claim!("more kernel memory (--kernel-memory), or --block-io off"),
            Self::LockWaits => claim!("fewer targets, or --locks off"),
            Self::KernelEvents => claim!("fewer targets, or stop other tracers"),
        }
    }

    /// Whose loss it is; of kernel events, any program's, and so the ledger's.
    pub fn instrument(self) -> InstrumentId {
        match self {
            Self::Samples => InstrumentId::OnCpu,
            Self::ThreadAccounts | Self::KernelEvents => InstrumentId::Ledger,
            Self::DiskRequests => InstrumentId::BlockIo,
            Self::LockWaits => InstrumentId::Locks,
        }
    }

    /// Whether the times of the ledger lack it, and not only the stacks.
    pub fn is_about_time(self) -> bool {
        self.instrument() == InstrumentId::Ledger
    }
}

/// What was lost of one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub kind: LossKind,
    pub lost: u64,
    pub arrived: u64,
}

impl Loss {
    /// Share of all of them that was lost.
    pub fn ratio(&self) -> f64 {
        ratio(self.lost, self.lost.saturating_add(self.arrived)).unwrap_or(0.0)
    }
}

/// All kinds, also those of which nothing was lost.
pub fn losses(recording: &Span) -> Vec<Loss> {
    let quality = &recording.quality;
    let sum =
        |stats: &[Stat]| stats.iter().fold(0_u64, |sum, &stat| sum.saturating_add(counted(recording, stat)));
    let samples = sum(&[Stat::OnCpuSamples, Stat::OffCpuSamples]);
    // Both have arrived, and were of no use.
    let left_out = quality.malformed_records.saturating_add(quality.samples_over_limit);
    let requests = recording.block_io.requests.iter();
    let lost_waits = counted(recording, Stat::LocksDropped);
    vec![
        Loss {
            kind: LossKind::Samples,
            lost: sum(&[Stat::OnCpuDropped, Stat::OffCpuDropped]).saturating_add(left_out),
            arrived: samples.saturating_sub(left_out),
        },
        Loss {
            kind: LossKind::ThreadAccounts,
            lost: sum(&[Stat::ThreadsFull, Stat::EndsDropped, Stat::ProcessEventsDropped])
                .saturating_add(quality.threads_unseen as u64),
            arrived: recording.threads.len() as u64,
        },
        Loss {
            kind: LossKind::DiskRequests,
            lost: sum(&[Stat::RequestsFull, Stat::RequestTotalsFull]),
            arrived: requests.fold(0, |sum: u64, part| sum.saturating_add(part.count)),
        },
        Loss {
            kind: LossKind::LockWaits,
            lost: lost_waits,
            arrived: counted(recording, Stat::LocksSeen).saturating_sub(lost_waits),
        },
        Loss {
            kind: LossKind::KernelEvents,
            lost: quality.recursion_misses,
            arrived: samples.saturating_add(switches(recording)),
        },
    ]
}
