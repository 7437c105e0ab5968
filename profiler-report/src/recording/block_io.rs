//! What block devices did during the recording, and what the recorded threads waited for at them.

use serde::{Deserialize, Serialize};

use super::StackId;
use super::sum::{Keyed, Sum, add_buckets, add_number, add_rows};

/// Everything about block devices and files in a [`super::Span`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockIo {
    /// Whether requests were followed. If not, all but [`BlockIo::devices`] is empty, and [`super::Recording::skipped`] says why if
    /// that was not asked for.
    pub followed: bool,
    /// Parallel to [`super::Recording::disks`].
    pub devices: Vec<Device>,
    pub requests: Vec<Requests>,
    pub shares: Vec<RequestShare>,
    pub waits: Vec<DiskWait>,
    pub files: Vec<FileWait>,
    /// The largest first.
    pub submitters: Vec<Submitter>,
}

/// What block devices did in one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIoRows {
    pub disks: Vec<DiskUse>,
    pub requests: Vec<Requests>,
    pub shares: Vec<RequestShare>,
    pub waits: Vec<DiskWait>,
    pub files: Vec<FileWait>,
    pub submitters: Vec<Submitter>,
}

impl Sum for BlockIoRows {
    fn add(&mut self, later: &Self) {
        add_rows(&mut self.disks, &later.disks);
        add_rows(&mut self.requests, &later.requests);
        add_rows(&mut self.shares, &later.shares);
        add_rows(&mut self.waits, &later.waits);
        add_rows(&mut self.files, &later.files);
        add_rows(&mut self.submitters, &later.submitters);
    }
}

impl BlockIoRows {
    /// Rows of all tables together.
    pub fn len(&self) -> usize {
        self.disks.len()
            + self.requests.len()
            + self.shares.len()
            + self.waits.len()
            + self.files.len()
            + self.submitters.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One disk: a whole one, not a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    pub major: u32,
    pub minor: u32,
    /// As in `/sys/block`; empty for one that was gone before its name could be read.
    pub name: String,
    /// It is made of other block devices (dm, md, loop), to which its requests go again: their time is not its own.
    pub stacked: bool,
}

/// What the kernel itself counted of a disk in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskUse {
    /// Row of [`super::Recording::disks`].
    pub disk: u32,
    pub counters: DiskCounters,
    /// Time of all requests under way, summed up: the mean number of them is this by the window's length.
    pub in_flight_ns: u64,
}

/// One disk in a [`super::Span`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    pub disk: Disk,
    /// What the kernel itself counted, if it was there.
    pub counters: Option<DiskCounters>,
    /// Mean number of requests under way in each window of the span.
    pub depth: Vec<f32>,
    /// Length of the first of those windows; but for the last one, all have it.
    pub depth_interval_ns: u64,
}

impl std::ops::Deref for Device {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.disk
    }
}

impl std::ops::DerefMut for Device {
    fn deref_mut(&mut self) -> &mut Disk {
        &mut self.disk
    }
}

/// Differences of the kernel's counters of a disk (`/proc/diskstats`, Documentation/admin-guide/iostats.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[serde(default)]
pub struct Requests {
    /// Row of [`super::Recording::disks`] and of [`BlockIo::devices`].
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
#[serde(default)]
pub struct RequestShare {
    /// A code of `profiler_common::block_io::share`.
    pub kind: u32,
    /// The process's id in the initial PID namespace, the cgroup's id, or the inode's number.
    pub id: u64,
    /// Name of the thread that submitted first, path of the cgroup, or path of the file; empty if it is not known.
    pub name: String,
    /// A recorded process.
    pub of_target: bool,
    /// Row of [`super::Recording::disks`] and of [`BlockIo::devices`].
    pub device: u32,
    pub operation: u32,
    pub count: u64,
    pub bytes: u64,
    pub queue_ns: u64,
    pub device_ns: u64,
}

/// Requests that recorded threads submitted from the same stack. Sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Submitter {
    pub stack: StackId,
    /// Row of [`super::Recording::disks`] and of [`BlockIo::devices`].
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
#[serde(default)]
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
#[serde(default)]
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
#[serde(default)]
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

impl Sum for DiskCounters {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.elapsed_ns, later.elapsed_ns);
        add_number(&mut self.reads, later.reads);
        add_number(&mut self.reads_merged, later.reads_merged);
        add_number(&mut self.read_bytes, later.read_bytes);
        add_number(&mut self.writes, later.writes);
        add_number(&mut self.writes_merged, later.writes_merged);
        add_number(&mut self.written_bytes, later.written_bytes);
        add_number(&mut self.discards, later.discards);
        add_number(&mut self.discarded_bytes, later.discarded_bytes);
        add_number(&mut self.flushes, later.flushes);
        add_number(&mut self.busy_ns, later.busy_ns);
    }
}

impl Sum for DiskUse {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.in_flight_ns, later.in_flight_ns);
        self.counters.add(&later.counters);
    }
}

impl Keyed for DiskUse {
    type Key = u32;

    fn key(&self) -> Self::Key {
        self.disk
    }
}

impl Sum for Requests {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.count, later.count);
        add_number(&mut self.bytes, later.bytes);
        add_number(&mut self.errors, later.errors);
        add_number(&mut self.sequential, later.sequential);
        add_number(&mut self.issued, later.issued);
        add_number(&mut self.queue_ns, later.queue_ns);
        add_number(&mut self.device_ns, later.device_ns);
        add_number(&mut self.total_ns, later.total_ns);
        add_buckets(&mut self.queue, &later.queue);
        add_buckets(&mut self.in_device, &later.in_device);
        add_buckets(&mut self.total, &later.total);
    }
}

impl Keyed for Requests {
    type Key = (u32, u32, bool);

    fn key(&self) -> Self::Key {
        (self.device, self.operation, self.of_target)
    }
}

impl Sum for RequestShare {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.count, later.count);
        add_number(&mut self.bytes, later.bytes);
        add_number(&mut self.queue_ns, later.queue_ns);
        add_number(&mut self.device_ns, later.device_ns);
        self.of_target |= later.of_target;
        if self.name.is_empty() {
            self.name.clone_from(&later.name);
        }
    }
}

impl Keyed for RequestShare {
    type Key = (u32, u64, u32, u32);

    fn key(&self) -> Self::Key {
        (self.kind, self.id, self.device, self.operation)
    }
}

impl Sum for Submitter {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.samples, later.samples);
        add_number(&mut self.count, later.count);
        add_number(&mut self.bytes, later.bytes);
    }
}

impl Keyed for Submitter {
    type Key = (StackId, u32, u32);

    fn key(&self) -> Self::Key {
        (self.stack, self.device, self.operation)
    }
}

impl Sum for DiskWait {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.count, later.count);
        add_number(&mut self.blocked_ns, later.blocked_ns);
        add_number(&mut self.queue_ns, later.queue_ns);
        add_number(&mut self.device_ns, later.device_ns);
    }
}

impl Keyed for DiskWait {
    type Key = (u32, u32, Option<u32>, u32, String);

    fn key(&self) -> Self::Key {
        (self.state, self.ended_by, self.device, self.operation, self.by.clone())
    }
}

impl Sum for FileWait {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.count, later.count);
        add_number(&mut self.blocked_ns, later.blocked_ns);
        if self.path.is_empty() {
            self.path.clone_from(&later.path);
        }
    }
}

impl Keyed for FileWait {
    type Key = (u64, u32, u32, u32);

    fn key(&self) -> Self::Key {
        (self.inode, self.major, self.minor, self.state)
    }
}
