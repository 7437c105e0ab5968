//! The joint of the program: everything that one recording saw, as tables that refer to each other by index, and windows
//! of rows.
//!
//! Tables only grow: threads, stacks, locks, disks. [`Window`]s have what was seen from one moment to another, and add
//! up: the whole recording, and each [`Span`] of it, is the sum of its windows. Times are nanoseconds; `*_at_ns` and the
//! bounds of windows are CLOCK_MONOTONIC.
//!
//! ```
//! use profiler_report::recording::{Meta, Recording, Window};
//!
//! let second = 1_000_000_000;
//! let window = |from_s: u64| Window { from_ns: from_s * second, to_ns: (from_s + 1) * second, ..Window::default() };
//! let recording = Recording {
//!     meta: Meta { ended_at_ns: 3 * second, ..Meta::default() },
//!     windows: vec![window(0), window(1), window(2)],
//!     ..Recording::default()
//! };
//! assert_eq!(recording.whole().elapsed_ns(), 3 * second);
//! let part = recording.span(recording.windows_between(second, 3 * second));
//! assert_eq!(part.elapsed_ns(), 2 * second);
//! ```

mod sum;
mod window;
mod span;
mod threads;
mod stacks;
mod wait_times;
mod block_io;
mod locks;
mod machine;
mod quality;
mod cost;
mod instrument_id;
mod skip;
mod validate;
#[cfg(test)]
mod tests;

pub use block_io::{
    BlockIo, BlockIoRows, Device, Disk, DiskCounters, DiskUse, DiskWait, FileWait, ProcessIo, RequestShare,
    Requests, Submitter,
};
pub use cost::{Budget, Cost, Detail, DetailStep, ProgramCost};
pub use instrument_id::InstrumentId;
pub use locks::{
    Held, KernelWaits, Lock, LockId, LockRows, Locks, OpenWait, Party, Peer, Place, Release, Wake, WakeKey,
};
pub use machine::{CpuTime, Group, Machine, MemoryEvents, OtherProcess, Pressure};
pub use quality::{Debuginfod, Quality};
pub use skip::{Skip, SkipCause};
pub use span::{Part, Span, ThreadSum};
pub use stacks::{Broken, Frame, Method, Module, Name, Sample, Stack, StackEnd};
pub use sum::{Keyed, Sum};
pub use threads::{KernelCounters, Process, Thread, ThreadTimes, TimeInState};
pub use validate::Invalid;
pub use wait_times::WaitTimes;
pub use window::{MOST_WINDOWS, Window, Windows};

use serde::{Deserialize, Serialize};

/// Index into [`Recording::processes`].
pub type ProcessId = u32;
/// Index into [`Recording::threads`].
pub type ThreadId = u32;
/// Index into [`Recording::modules`].
pub type ModuleId = u32;
/// Index into [`Recording::frames`].
pub type FrameId = u32;
/// Index into [`Recording::stacks`].
pub type StackId = u32;

/// Everything that one recording saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    pub meta: Meta,
    pub followed: Followed,
    pub processes: Vec<Process>,
    pub threads: Vec<Thread>,
    pub modules: Vec<Module>,
    pub frames: Vec<Frame>,
    /// Names of each frame, parallel to `frames`; empty until symbolized. Innermost (inlined) function first.
    pub names: Vec<Vec<Name>>,
    pub stacks: Vec<Stack>,
    pub locks: Vec<Lock>,
    pub disks: Vec<Disk>,
    /// In order of time, without gaps between them.
    pub windows: Vec<Window>,
    /// What is off or degraded on this machine, and why.
    pub skipped: Vec<Skip>,
    /// Files of debug information that servers were asked for.
    pub debuginfod: Debuginfod,
    pub budget: Budget,
}

/// Which optional instruments took part. What one of them would have seen is empty if it did not, and
/// [`Recording::skipped`] says why if that was not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Followed {
    /// Requests to block devices.
    pub block_io: bool,
    /// Ends of waits, and holders of locks.
    pub locks: bool,
    /// Contention for the kernel's own locks.
    pub kernel_locks: bool,
}

/// Where, when and how the recording was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Version of the program that recorded.
    pub profiler_version: String,
    /// What was recorded, in the words of the command line.
    pub target: String,
    /// Start, nanoseconds since 1970 (CLOCK_REALTIME): the only wall-clock time.
    pub started_unix_ns: u64,
    pub started_at_ns: u64,
    pub ended_at_ns: u64,
    pub hostname: String,
    /// `uname -r`.
    pub kernel_release: String,
    pub architecture: String,
    pub cpus: u32,
    /// Samples a second that were asked for.
    pub sample_hz: u32,
    /// What drives the on-CPU sampler: `cycles` or `cpu-clock`.
    pub sample_source: String,
    /// Exit status of `-- CMD` if it ended within the recording, as a shell reports it.
    pub command_exit_code: Option<i32>,
}

impl Recording {
    /// Length of the recording.
    pub fn elapsed_ns(&self) -> u64 {
        self.meta.ended_at_ns.saturating_sub(self.meta.started_at_ns)
    }
}
