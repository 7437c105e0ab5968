//! Requests to block devices, and the waits of threads that they end.
//!
//! A request is known by the address of its `struct request` from its first arrival to its completion. What is summed up is
//! keyed by device, which is that of the whole disk: requests know no partitions.

use crate::{histogram::BUCKETS, ledger::COMM_BYTES};

/// What a request does. Codes are part of the capture.
pub mod operation {
    /// Reads.
    pub const READ: u32 = 0;
    /// Writes.
    pub const WRITE: u32 = 1;
    /// Writes that are to be on the medium when they are done (`REQ_FUA`).
    pub const WRITE_THROUGH: u32 = 2;
    /// A flush as it was asked for: a request without data that ends when all writes before it are on the medium.
    pub const FLUSH: u32 = 3;
    /// A flush as the device gets it: one may stand for several that were asked for, or for a part of a write.
    pub const DEVICE_FLUSH: u32 = 4;
    /// Discards.
    pub const DISCARD: u32 = 5;
    /// Zeroing, secure erasure and changes of zones.
    pub const OTHER: u32 = 6;

    /// Names in every output, by code.
    pub const NAMES: [&str; 7] =
        ["read", "write", "write_through", "flush", "device_flush", "discard", "other"];
}

/// A request from its arrival to its completion. Value of the map `REQUESTS`, keyed by the request's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it arrived, CLOCK_MONOTONIC: before all merging and queueing.
    pub arrived_ns: u64,
    /// When it was given to the device; 0 until then. Set anew when it is given again after a requeue.
    pub issued_ns: u64,
    /// Kernel id of the cgroup that the kernel charges it to: for write-back that of whoever dirtied the pages. 0: not known.
    pub cgroup: u64,
    /// The disk, as [`device`] makes it; 0 if there is none.
    pub device: u32,
    /// A code of [`operation`].
    pub operation: u32,
    /// The thread that submitted it, in the initial PID namespace.
    pub tid: u32,
    /// Its process, in the initial PID namespace.
    pub tgid: u32,
    /// Bits of [`submitter`].
    pub submitter: u32,
    /// 1: it begins where the one before it ended.
    pub sequential: u32,
    /// Name of the thread.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Request>() == 48 + COMM_BYTES, "kernel/user ABI");

/// Bits of [`Request::submitter`].
pub mod submitter {
    /// A recorded thread.
    pub const MEMBER: u32 = 1;
    /// A thread of the kernel: for a write, write-back of what others have dirtied.
    pub const KERNEL_THREAD: u32 = 2;
}

/// A disk's number for keys: major and minor, as the kernel's own `dev_t` packs them.
pub const fn device(major: u32, minor: u32) -> u32 {
    major << 20 | minor & 0xf_ffff
}

/// Major and minor number of a [`device`].
pub const fn major_minor(device: u32) -> (u32, u32) {
    (device >> 20, device & 0xf_ffff)
}

/// Length of a disk's name in the kernel, with its final zero (`DISK_NAME_LEN`).
pub const DISK_NAME_BYTES: usize = 32;

/// Key of the map `REQUEST_TOTALS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TotalsKey {
    pub device: u32,
    /// A code of [`operation`].
    pub operation: u32,
    /// 1: requests of recorded threads; 0: of all others.
    pub of_members: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TotalsKey>() == 16, "kernel/user ABI");

/// Completed requests of one kind: value of the map `REQUEST_TOTALS`. Histograms are [`crate::histogram`]s.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTotals {
    pub count: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Those that began where the one before them had ended.
    pub sequential: u64,
    /// From the arrival to the device, summed up. Those that never reached the device have none.
    pub queue_ns: u64,
    /// In the device, summed up.
    pub device_ns: u64,
    /// From the arrival to the completion, summed up.
    pub total_ns: u64,
    /// Those that reached the device.
    pub issued: u64,
    /// The sector behind the last one that arrived.
    pub next_sector: u64,
    /// Name of the disk: some have none in `/proc/diskstats` (a path of a multipath nvme).
    pub disk_name: [u8; DISK_NAME_BYTES],
    pub queue: [u32; BUCKETS],
    pub device: [u32; BUCKETS],
    pub total: [u32; BUCKETS],
}

const _: () = assert!(size_of::<RequestTotals>() == 72 + DISK_NAME_BYTES + 12 * BUCKETS, "kernel/user ABI");

/// Key of the map `REQUEST_SHARES`: whose requests.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareKey {
    /// A process's id in the initial PID namespace, a cgroup's id, or an inode's number.
    pub id: u64,
    /// A code of [`share`].
    pub kind: u32,
    pub device: u32,
    /// A code of [`operation`].
    pub operation: u32,
    /// Of an inode: the device of its file system, as [`device`] makes it; else 0.
    pub file_system: u32,
}

const _: () = assert!(size_of::<ShareKey>() == 24, "kernel/user ABI");

/// Codes of [`ShareKey::kind`].
pub mod share {
    /// The process that submitted.
    pub const PROCESS: u32 = 0;
    /// The cgroup that the kernel charges.
    pub const CGROUP: u32 = 1;
    /// The file whose pages a thread of the kernel writes back.
    pub const WRITTEN_BACK_FILE: u32 = 2;
}

/// Completed requests of one share: value of the map `REQUEST_SHARES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub count: u64,
    pub bytes: u64,
    pub queue_ns: u64,
    pub device_ns: u64,
    /// Bits of [`submitter`], of the first one.
    pub submitter: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the thread that submitted the first one.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Share>() == 40 + COMM_BYTES, "kernel/user ABI");

/// The request that was completed last on a CPU. One value a CPU, read by the wake-ups that follow from it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// When, CLOCK_MONOTONIC.
    pub at_ns: u64,
    pub queue_ns: u64,
    pub device_ns: u64,
    /// The thread that submitted it, in the initial PID namespace.
    pub tid: u32,
    pub device: u32,
    /// A code of [`operation`].
    pub operation: u32,
    /// Bits of [`submitter`].
    pub submitter: u32,
    /// The thread that was on the CPU, in the initial PID namespace: the one that was interrupted, or that completes.
    pub current: u32,
    /// Zero.
    pub reserved: u32,
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Completion>() == 48 + COMM_BYTES, "kernel/user ABI");

/// Key of the map `DISK_WAITS`: waits of recorded threads for disks and files, by what ended them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitKey {
    /// State of the thread, see [`crate::state`].
    pub state: u32,
    /// A code of [`ended_by`].
    pub ended_by: u32,
    /// Of a request; else 0.
    pub device: u32,
    /// Of a request: a code of [`operation`].
    pub operation: u32,
    /// Of a thread: its name. Of a request that another thread submitted: that thread's.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<WaitKey>() == 16 + COMM_BYTES, "kernel/user ABI");

/// Codes of [`WaitKey::ended_by`].
pub mod ended_by {
    /// The completion of a request that the waiting thread itself had submitted.
    pub const OWN_REQUEST: u32 = 0;
    /// That of a request of another thread: write-back, read-ahead, or a page that both wanted.
    pub const OTHERS_REQUEST: u32 = 1;
    /// A thread of the kernel: a journal, a worker that finishes what a device has done.
    pub const KERNEL_THREAD: u32 = 2;
    /// A thread of a program: one that held a lock of the file system.
    pub const THREAD: u32 = 3;
    /// An interrupt that was no completion: a timer, or a device that is none of the block layer's.
    pub const INTERRUPT: u32 = 4;
}

/// Waits of one kind: value of the maps `DISK_WAITS` and `FILE_WAITS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    pub count: u64,
    pub blocked_ns: u64,
    /// Of the requests that ended them: in the queue, and in the device.
    pub queue_ns: u64,
    pub device_ns: u64,
}

const _: () = assert!(size_of::<Waits>() == 32, "kernel/user ABI");

/// Key of the map `FILE_WAITS`: waits of recorded threads in calls on a descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    pub inode: u64,
    /// Of the file system, as [`device`] makes it.
    pub file_system: u32,
    /// State of the thread, see [`crate::state`].
    pub state: u32,
}

const _: () = assert!(size_of::<FileKey>() == 16, "kernel/user ABI");

/// Ring record: a file was waited for that had not been before; its path can still be asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSeen {
    /// [`crate::event_kind::FILE_SEEN`].
    pub kind: u32,
    /// Process id in the profiler's PID namespace.
    pub ns_tgid: u32,
    /// The descriptor by which the thread knows the file.
    pub descriptor: i32,
    pub file_system: u32,
    pub inode: u64,
}

const _: () = assert!(size_of::<FileSeen>() == 24, "kernel/user ABI");
