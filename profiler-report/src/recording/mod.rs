//! The joint of the program: everything that one recording saw, as plain tables that refer to each other by index.
//!
//! In: what [`crate::collect`] puts into it. Out: what [`crate::analyze`] and [`crate::report`] read, and
//! [`crate::capture`] saves. Times are nanoseconds; `*_at_ns` are CLOCK_MONOTONIC.

mod block_io;
mod locks;
mod machine;
mod validate;

pub use block_io::{
    BlockIo, Device, DiskCounters, DiskInterval, DiskWait, FileWait, ProcessIo, RequestShare, Requests,
    Submitter, WatchCost,
};
pub use locks::{Held, KernelWaits, Lock, LockId, Locks, OpenWait, Party, Peer, Place, Release, Wake};
pub use machine::{CpuTime, Group, Machine, MemoryEvents, OtherProcess, Pressure};
pub use validate::Invalid;

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    pub meta: Meta,
    pub processes: Vec<Process>,
    pub threads: Vec<Thread>,
    pub modules: Vec<Module>,
    pub frames: Vec<Frame>,
    /// Names of each frame, parallel to `frames`; empty until symbolized. Innermost (inlined) function first.
    pub names: Vec<Vec<Name>>,
    pub stacks: Vec<Stack>,
    pub samples: Vec<Sample>,
    pub block_io: BlockIo,
    pub locks: Locks,
    pub machine: Machine,
    pub quality: Quality,
    pub cost: Cost,
}

/// Where, when and how the recording was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Exit status of `-- CMD` if it ended within the recording, as a shell tells it.
    pub command_exit_code: Option<i32>,
}

/// One process, by the ids of the profiler's PID namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub tgid: u32,
    pub comm: String,
    /// Command line, arguments joined by spaces; empty if it could not be read in time.
    pub command_line: String,
    /// What the kernel itself counted of its reads and writes, where both edges could be read.
    pub io: Option<ProcessIo>,
}

/// One thread and its account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    pub process: ProcessId,
    pub tid: u32,
    pub comm: String,
    /// From when to when the recording has to account for this thread: the part of its life inside the recording.
    pub from_ns: u64,
    pub to_ns: u64,
    pub born_inside: bool,
    pub ended_inside: bool,
    pub kernel_thread: bool,
    /// Nanoseconds in each state, by code (`profiler_common::state`).
    pub state_ns: Vec<u64>,
    /// Intervals in each state, by code.
    pub state_count: Vec<u32>,
    /// Switches away from the CPU that the thread did not ask for.
    pub preemptions: u32,
    /// What the kernel itself counted for this thread over the same time, where both edges could be read.
    pub kernel_counters: Option<KernelCounters>,
}

/// The kernel's own account of a thread, as differences over the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// `/proc/PID/task/TID/schedstat`, first field.
    pub run_ns: u64,
    /// `/proc/PID/task/TID/schedstat`, second field: time on a run queue.
    pub run_queue_ns: u64,
    /// `/proc/PID/task/TID/stat`, utime; in units of a clock tick, mostly 10 ms.
    pub user_ns: u64,
    /// `/proc/PID/task/TID/stat`, stime.
    pub system_ns: u64,
    /// What the ledger had at the same two readings, which lie a little inside the recording.
    pub elapsed_ns: u64,
}

/// One mapped file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Module {
    /// Path in the process's own mount namespace, or a name in brackets such as `[vdso]`.
    pub path: String,
    /// GNU build id; empty if the file has none.
    pub build_id: Vec<u8>,
}

/// One code address, made independent of where its module was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Frame {
    /// Kernel address, of this boot.
    Kernel { address: u64 },
    /// Offset in a module's file.
    User { module: ModuleId, file_offset: u64 },
    /// Address of a process in no mapped file (JIT code, or a mapping that was gone before it could be read).
    Unmapped { process: ProcessId, address: u64 },
}

/// One function at a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Name {
    /// Demangled.
    pub function: String,
    /// Inlined into the next name.
    pub inlined: bool,
    /// Source file, empty if unknown.
    pub file: String,
    pub line: u32,
}

/// One stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack {
    pub kernel: Vec<FrameId>,
    pub user: Vec<FrameId>,
    pub end: StackEnd,
    pub method: Method,
}

/// How the user part of a stack was unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Method {
    /// By unwind tables alone.
    Tables,
    /// At least one caller was found by the frame pointer or by what lay on the stack, where there was no table: a good
    /// guess where code keeps frame pointers.
    FramePointers,
    /// Not at all: a kernel thread's, or one of a process that was gone.
    None,
}

/// How the user part of a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StackEnd {
    /// Reached the thread's first function.
    Complete,
    /// The snapshot of the stack was too short.
    Cut,
    /// Could not be unwound further.
    Broken(Broken),
    /// A kernel thread.
    NoUserStack,
}

/// Why a stack could not be unwound to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Broken {
    /// The stack's memory could not be read.
    StackUnreadable,
    /// The address lies in no file that could be read.
    NoModule,
    /// The module has no usable unwind information there, and the frame pointer led nowhere.
    NoUnwindInfo,
    /// More frames than are kept.
    TooDeep,
    /// The process was gone before its mappings were read.
    ProcessGone,
    /// It goes on on another stack: that of what a signal interrupted, or of the goroutine for which Go's runtime runs.
    OtherStack,
}

/// Samples of one thread in one state with one stack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub thread: ThreadId,
    /// `profiler_common::state` code.
    pub state: u32,
    pub stack: StackId,
    /// The lock that the thread waited for, or on which it spun.
    pub lock: Option<LockId>,
    /// Ticks that these samples stand for. Says how the ledger's time in `state` is shared out, not a time itself.
    pub weight: f64,
    /// Stacks really taken.
    pub count: u32,
}

/// What was lost, cut or skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Each cause that the kernel programs count, by its name in `profiler_common::stat`.
    pub kernel_counts: Vec<(String, u64)>,
    /// Threads that `/proc` shows at the end and the ledger has never seen.
    pub threads_unseen: u32,
    /// Off-CPU candidates that a pass had no room for.
    pub offcpu_over_limit: u64,
    /// Ticks at which the off-CPU sampler ran, and those that it came too late for.
    pub offcpu_passes: u64,
    pub offcpu_passes_missed: u64,
    /// Records that did not decode.
    pub malformed_records: u64,
    /// Repeats of a wait whose sample was lost.
    pub repeats_without_sample: u64,
    /// Rows about locks and the ends of waits left out because a table of the recording was full.
    pub locks_over_limit: u64,
    /// Samples left out because a table of the recording was full.
    pub samples_over_limit: u64,
    /// What is off or degraded on this machine, and why, as sentences.
    pub skipped: Vec<String>,
    /// Events that a kernel program missed because it was already running on that CPU.
    pub recursion_misses: u64,
    /// Files of debug information that servers were asked for.
    pub debuginfod: Debuginfod,
}

/// What became of the files that debuginfod servers were asked for, or that their clients' cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debuginfod {
    /// Files that were asked for over the network.
    pub asked: u64,
    /// Files that were in the cache.
    pub cached: u64,
    /// Of those asked for: received, and of the right build.
    pub found: u64,
    /// Not known to the servers, now or in the last ten minutes.
    pub unknown: u64,
    /// A server could not be asked, or what it sent was of no use.
    pub failed: u64,
    /// Not received when the time was up.
    pub late: u64,
}

/// What the recording cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// From the start of the profiler to the first moment at which everything was attached.
    pub startup_ns: u64,
    /// How much of the machine's CPU time the recording was allowed to cost.
    pub budget_ratio: f64,
    /// Changes of the detail, made to keep to it.
    pub steps: Vec<DetailStep>,
}

/// How much is recorded. Each has less than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// As asked for.
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

    /// One on-CPU sample is taken of so many, at random.
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
pub struct ProgramCost {
    pub name: String,
    /// It runs in the CPU time of the profiler's process, which is [`Cost::own_cpu_ns`]; the others run in that of others.
    pub in_own_time: bool,
    pub run_ns: u64,
    pub runs: u64,
}

impl Recording {
    /// Length of the recording.
    pub fn elapsed_ns(&self) -> u64 {
        self.meta.ended_at_ns.saturating_sub(self.meta.started_at_ns)
    }

    /// Time of it in which optional probes took part: requests to block devices and locks are of no other.
    pub fn optional_ns(&self) -> u64 {
        let (mut sum, mut since, mut takes_part) = (0_u64, 0, true);
        let steps = self.cost.steps.iter().map(|step| (step.at_ns, step.detail.has_optional_probes()));
        for (at_ns, next) in steps.chain([(self.elapsed_ns(), false)]) {
            if takes_part {
                sum = sum.saturating_add(at_ns.saturating_sub(since));
            }
            (since, takes_part) = (at_ns, next);
        }
        sum.min(self.elapsed_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_probes_take_part_until_they_rest_and_after() {
        let step = |at_ns, detail| DetailStep { at_ns, detail, cost_ratio: 0.0 };
        let of = |steps| Recording {
            meta: Meta { started_at_ns: 100, ended_at_ns: 1100, ..Meta::default() },
            cost: Cost { steps, ..Cost::default() },
            ..Recording::default()
        };
        assert_eq!(of(vec![]).optional_ns(), 1000);
        let rested = vec![step(200, Detail::HalfRate), step(600, Detail::NoOptionalProbes)];
        assert_eq!(of(rested.clone()).optional_ns(), 600);
        let again = [rested, vec![step(700, Detail::LedgerOnly), step(900, Detail::QuarterRate)]].concat();
        assert_eq!(of(again).optional_ns(), 700);
    }
}
