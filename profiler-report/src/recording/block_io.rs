//! What block devices did during the recording, and what the recorded threads waited for at them.

use serde::{Deserialize, Serialize};

use super::StackId;

/// Everything about block devices and files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockIo {
    /// Whether requests were followed. If not, all but [`BlockIo::devices`] is empty, and [`super::Quality::skipped`] says why if
    /// that was not asked for.
    pub followed: bool,
    pub devices: Vec<Device>,
    pub requests: Vec<Requests>,
    pub shares: Vec<RequestShare>,
    pub waits: Vec<DiskWait>,
    pub files: Vec<FileWait>,
    /// The largest first.
    pub submitters: Vec<Submitter>,
}

/// One disk: a whole one, not a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
    /// As in `/sys/block`; empty for one that was gone before its name could be read.
    pub name: String,
    /// It is made of other block devices (dm, md, loop), to which its requests go again: their time is not its own.
    pub stacked: bool,
    /// What the kernel itself counted, if it was there at both ends.
    pub counters: Option<DiskCounters>,
    /// Mean number of requests under way in each interval of [`Device::depth_interval_ns`], from `/proc/diskstats`.
    pub depth: Vec<f32>,
    pub depth_interval_ns: u64,
}

/// Differences of the kernel's counters of a disk (`/proc/diskstats`, Documentation/admin-guide/iostats.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounters {
    pub elapsed_ns: u64,
    pub reads: u64,
    pub reads_merged: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub writes_merged: u64,
    pub written_bytes: u64,
    pub discards: u64,
    pub discarded_bytes: u64,
    pub flushes: u64,
    /// Time in which at least one request was under way.
    pub busy_ns: u64,
}

/// Completed requests of one operation at one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Row of [`BlockIo::devices`].
    pub device: u32,
    /// A code of `profiler_common::block_io::operation`.
    pub operation: u32,
    /// Submitted by recorded threads.
    pub of_target: bool,
    pub count: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Those that began where the one before them had ended.
    pub sequential: u64,
    /// Those that reached the device.
    pub issued: u64,
    /// From the arrival to the device, in it, and from the arrival to the completion, summed up.
    pub queue_ns: u64,
    pub device_ns: u64,
    pub total_ns: u64,
    /// The same as histograms: (bucket of `profiler_common::histogram`, requests), those that are not empty.
    pub queue: Vec<(u32, u32)>,
    pub in_device: Vec<(u32, u32)>,
    pub total: Vec<(u32, u32)>,
}

/// Completed requests of a process, of a cgroup, or of the pages of a file that were written back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestShare {
    /// A code of `profiler_common::block_io::share`.
    pub kind: u32,
    /// The process's id in the initial PID namespace, the cgroup's id, or the inode's number.
    pub id: u64,
    /// Name of the thread that submitted first, path of the cgroup, or path of the file; empty if it is not known.
    pub name: String,
    /// A recorded process.
    pub of_target: bool,
    /// Row of [`BlockIo::devices`].
    pub device: u32,
    pub operation: u32,
    pub count: u64,
    pub bytes: u64,
    pub queue_ns: u64,
    pub device_ns: u64,
}

/// Requests that recorded threads submitted from the same stack. Sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitter {
    pub stack: StackId,
    /// Row of [`BlockIo::devices`].
    pub device: u32,
    /// A code of `profiler_common::block_io::operation`.
    pub operation: u32,
    /// Samples, and the requests and bytes that they stand for.
    pub samples: u64,
    pub count: u64,
    pub bytes: u64,
}

/// Waits of recorded threads for disks and files, by what ended them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWait {
    /// `profiler_common::state` code.
    pub state: u32,
    /// A code of `profiler_common::block_io::ended_by`.
    pub ended_by: u32,
    /// Of a request: row of [`BlockIo::devices`].
    pub device: Option<u32>,
    /// Of a request.
    pub operation: u32,
    /// Name of the thread that woke, or that submitted the request, if it was another one.
    pub by: String,
    pub count: u64,
    pub blocked_ns: u64,
    /// Of the requests that ended them.
    pub queue_ns: u64,
    pub device_ns: u64,
}

/// Waits of recorded threads in calls on a descriptor of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWait {
    /// Path as the process saw it; empty if it had closed the file before it was asked for.
    pub path: String,
    pub inode: u64,
    /// Device of the file system.
    pub major: u32,
    pub minor: u32,
    /// `profiler_common::state` code.
    pub state: u32,
    pub count: u64,
    pub blocked_ns: u64,
}

/// What the kernel counted of a process's reads and writes (`/proc/PID/io`), as differences over the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIo {
    /// Bytes that system calls returned: also from pipes, terminals, and sockets that are read by `read`.
    pub called_read_bytes: u64,
    pub called_written_bytes: u64,
    /// Bytes that were asked of disks on its behalf: what was not in the page cache, and what was read ahead.
    pub disk_read_bytes: u64,
    /// Bytes of pages that it dirtied.
    pub dirtied_bytes: u64,
    /// Page faults that had to wait for a disk.
    pub major_faults: u64,
}

/// What disks did in a while, for those who watch them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskInterval {
    /// When it began, in nanoseconds since 1970.
    pub started_unix_ns: u64,
    pub elapsed_ns: u64,
    pub block_io: BlockIo,
    /// Requests that are in none of the tables, and those that are only not in those of processes and cgroups.
    pub missing: u64,
    pub unshared: u64,
    /// What is off or degraded, as sentences. Told with all intervals together.
    pub skipped: Vec<String>,
    /// Of all intervals together.
    pub cost: Option<WatchCost>,
}

/// What watching disks has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WatchCost {
    /// Of the CPU time of the whole machine; none in the first second.
    pub machine_ratio: Option<f64>,
    /// The profiler's own CPU time and that of its kernel programs, as shares of one CPU. The latter is none where the kernel
    /// does not measure them.
    pub own_cpu_ratio: f64,
    pub programs_cpu_ratio: Option<f64>,
    pub rss_bytes: u64,
    pub kernel_bytes: u64,
    pub budget_ratio: f64,
    /// It ended because it cost more than that.
    pub is_over: bool,
}
