//! What the kernel says of the whole machine and of the target's control groups: evidence for and against a verdict.

use serde::{Deserialize, Serialize};

use super::sum::{Keyed, Sum, add_number, add_option, add_rows};

/// Differences over a window, or over several. What has one value at a moment is that of the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// The control groups of the target's processes, each with its ancestors. Like the processes below, read less often where there
    /// are many.
    pub groups: Vec<Group>,
    /// TCP ports on which somebody listens in the target's network namespace: connections from there are to clients.
    pub listening_ports: Vec<u16>,
    /// Processes that are not recorded, with the most CPU time. Read less often than the rest: a window in which they
    /// were not read has none, and the next one has the time since they were read last.
    pub busiest_others: Vec<OtherProcess>,
}

/// CPU time of a process that is not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtherProcess {
    pub tgid: u32,
    pub comm: String,
    pub cpu_ns: u64,
}

/// CPU time, summed over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[serde(default)]
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
#[serde(default)]
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
#[serde(default)]
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

impl Sum for Machine {
    fn add(&mut self, later: &Self) {
        add_option(&mut self.cpu, later.cpu.as_ref());
        add_option(&mut self.pressure, later.pressure.as_ref());
        add_option(&mut self.memory, later.memory.as_ref());
        self.allowed_cpus = later.allowed_cpus.or(self.allowed_cpus);
        add_option(&mut self.allowed_cpu, later.allowed_cpu.as_ref());
        add_rows(&mut self.groups, &later.groups);
        if !later.listening_ports.is_empty() {
            self.listening_ports.clone_from(&later.listening_ports);
        }
        add_rows(&mut self.busiest_others, &later.busiest_others);
    }
}

impl Sum for OtherProcess {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.cpu_ns, later.cpu_ns);
    }
}

impl Keyed for OtherProcess {
    type Key = (u32, String);

    fn key(&self) -> Self::Key {
        (self.tgid, self.comm.clone())
    }
}

impl Sum for CpuTime {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.elapsed_ns, later.elapsed_ns);
        add_number(&mut self.busy_ns, later.busy_ns);
        add_number(&mut self.idle_ns, later.idle_ns);
        add_number(&mut self.iowait_ns, later.iowait_ns);
        add_number(&mut self.steal_ns, later.steal_ns);
    }
}

impl Sum for Pressure {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.elapsed_ns, later.elapsed_ns);
        add_number(&mut self.cpu_some_ns, later.cpu_some_ns);
        add_number(&mut self.io_some_ns, later.io_some_ns);
        add_number(&mut self.memory_some_ns, later.memory_some_ns);
        add_number(&mut self.io_full_ns, later.io_full_ns);
        add_number(&mut self.memory_full_ns, later.memory_full_ns);
    }
}

impl Sum for MemoryEvents {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.scanned_directly, later.scanned_directly);
        add_number(&mut self.swapped_in, later.swapped_in);
        add_number(&mut self.swapped_out, later.swapped_out);
        add_number(&mut self.refaults, later.refaults);
        self.dirty_pages = later.dirty_pages;
        self.dirty_limit_pages = later.dirty_limit_pages;
    }
}

impl Sum for Group {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.elapsed_ns, later.elapsed_ns);
        add_number(&mut self.periods, later.periods);
        add_number(&mut self.throttled_periods, later.throttled_periods);
        add_number(&mut self.throttled_ns, later.throttled_ns);
        add_number(&mut self.memory_limit_hits, later.memory_limit_hits);
        add_number(&mut self.oom_kills, later.oom_kills);
        self.cpu_limit = later.cpu_limit;
        self.memory_limit_bytes = later.memory_limit_bytes;
        self.memory_bytes = later.memory_bytes;
        add_option(&mut self.pressure, later.pressure.as_ref());
    }
}

impl Keyed for Group {
    type Key = String;

    fn key(&self) -> Self::Key {
        self.path.clone()
    }
}
