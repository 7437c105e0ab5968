//! What the kernel says of the whole machine and of the target's control groups: evidence for and against a verdict.

use serde::{Deserialize, Serialize};

/// Differences over the recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// CPU time of all CPUs together, from `/proc/stat`; none if it could not be read.
    pub cpu: Option<CpuTime>,
    /// `/proc/pressure`; none where the kernel keeps no pressure information.
    pub pressure: Option<Pressure>,
    pub memory: Option<MemoryEvents>,
    /// CPUs on which the target's threads may run; none if they differ or are not known.
    pub allowed_cpus: Option<u32>,
    /// CPU time of those together.
    pub allowed_cpu: Option<CpuTime>,
    /// The control groups of the target's processes, each with its ancestors.
    pub groups: Vec<Group>,
    /// TCP ports on which somebody listens in the target's network namespace: connections from there are to clients.
    pub listening_ports: Vec<u16>,
    /// Processes that are not recorded, with the most CPU time.
    pub busiest_others: Vec<OtherProcess>,
}

/// CPU time of a process that is not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherProcess {
    pub tgid: u32,
    pub comm: String,
    pub cpu_ns: u64,
}

/// CPU time, summed over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    pub elapsed_ns: u64,
    pub busy_ns: u64,
    pub idle_ns: u64,
    /// Idle while a thread waited for a disk.
    pub iowait_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
}

/// Time in which tasks stood still (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    pub elapsed_ns: u64,
    /// At least one waited for a CPU, for a disk, for memory.
    pub cpu_some_ns: u64,
    pub io_some_ns: u64,
    pub memory_some_ns: u64,
    /// All of those that were not idle.
    pub io_full_ns: u64,
    pub memory_full_ns: u64,
}

/// Counts of `/proc/vmstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEvents {
    /// Pages that threads had to look at for something to free (`pgscan_direct`).
    pub scanned_directly: u64,
    pub swapped_in: u64,
    pub swapped_out: u64,
    /// Pages that were read again soon after they had been dropped (`workingset_refault_file` and `_anon`).
    pub refaults: u64,
    /// At the end: pages that are dirty or being written, and above how many writers are held up (`nr_dirty_threshold`).
    pub dirty_pages: u64,
    pub dirty_limit_pages: u64,
}

/// A control group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Below the mount point.
    pub path: String,
    pub elapsed_ns: u64,
    /// CPUs that it may use at once (`cpu.max`); none without a limit.
    pub cpu_limit: Option<f64>,
    /// Periods of that limit, those in which it was reached, and the time that its CPUs then stood still.
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
    /// Bytes; none without a limit (`memory.max` or `memory.high`).
    pub memory_limit_bytes: Option<u64>,
    pub memory_bytes: u64,
    /// Times that the limit was met (`memory.events`: `high` and `max`).
    pub memory_limit_hits: u64,
    pub oom_kills: u64,
    pub pressure: Option<Pressure>,
}
