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

/// A request from its arrival to its completion: a slot of the map `REQUESTS`, which are found by [`first_slot`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Address of the `struct request`; 0 if the slot was never used. The kernel uses the same ones again and again, so they keep
    /// their slots.
    pub identity: u64,
    /// When it arrived, CLOCK_MONOTONIC: before all merging and queueing. 0: it is done, and the slot is free for any other.
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
    /// Slot of its kind in the map `REQUEST_TOTALS`; a number beyond them if there was none.
    pub totals_slot: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the thread.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Request>() == 64 + COMM_BYTES, "kernel/user ABI");

/// Slots in which a request may be: so many in a row from its first one, at the end of the map from its beginning on.
pub const SLOTS_A_REQUEST: u32 = 16;

/// The first slot of a request by the lower half of its address, of as many as there are in all, a power of two (`mask` is one less).
/// Fibonacci hashing: times 2^32 divided by the golden ratio, of which the upper bits are mixed best.
#[allow(clippy::inline_always, reason = "a kernel program has no room for calls between its parts")]
#[inline(always)]
pub const fn first_slot(number: u32, mask: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b9) >> 12 & mask
}

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

/// Of which requests a slot of the map `REQUEST_TOTALS` has the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalsKey {
    pub device: u32,
    /// A code of [`operation`].
    pub operation: u32,
    /// 1: requests of recorded threads; 0: of all others.
    pub of_members: u32,
}

/// Slots in which the sums of a kind may be: so many in a row from its first one.
pub const SLOTS_A_KIND: u32 = 16;

#[allow(clippy::inline_always, reason = "a kernel program has no room for calls between its parts")]
impl TotalsKey {
    /// In one word, which is written at once; never 0, which is that of a free slot.
    #[inline(always)]
    pub const fn packed(self) -> u64 {
        (self.device as u64) << 32 | 1 << 16 | (self.of_members as u64) << 8 | self.operation as u64
    }

    /// What was packed; none of a free slot.
    pub const fn unpacked(packed: u64) -> Option<Self> {
        if packed == 0 {
            return None;
        }
        Some(Self {
            device: (packed >> 32) as u32,
            operation: packed as u32 & 0xff,
            of_members: packed as u32 >> 8 & 0xff,
        })
    }

    /// The first slot of the kind, of as many as there are in all, a power of two (`mask` is one less).
    #[inline(always)]
    pub const fn first_slot(self, mask: u32) -> u32 {
        (self.device ^ self.operation << 8 ^ self.of_members << 12).wrapping_mul(0x9e37_79b9) >> 16 & mask
    }
}

/// Completed requests of one kind: a slot of the map `REQUEST_TOTALS`. Histograms are [`crate::histogram`]s.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTotals {
    /// A packed [`TotalsKey`]. Two CPUs that meet a kind for the first time at once make two slots of it.
    pub key: u64,
    pub count: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Those that began where the one before them had ended.
    pub sequential: u64,
    /// From the arrival to the device, summed up. Those that never reached the device have none.
    pub queue_ns: u64,
    /// In the device, summed up.
    pub device_ns: u64,
    /// Those that never reached the device, and their time from the arrival to the completion, summed up.
    pub unissued: u64,
    pub unissued_ns: u64,
    /// The sector behind the last one that arrived.
    pub next_sector: u64,
    /// Name of the disk: some have none in `/proc/diskstats` (a path of a multipath nvme).
    pub disk_name: [u8; DISK_NAME_BYTES],
    pub queue: [u32; BUCKETS],
    pub device: [u32; BUCKETS],
    pub total: [u32; BUCKETS],
}

const _: () = assert!(size_of::<RequestTotals>() == 80 + DISK_NAME_BYTES + 12 * BUCKETS, "kernel/user ABI");

/// Key of the map `REQUEST_SHARES`: whose requests.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareKey {
    /// Kernel id of the cgroup that is charged, 0 if that is not known; or an inode's number.
    pub id: u64,
    /// A code of [`share_key`].
    pub kind: u32,
    /// The submitting process's id in the initial PID namespace; or the device of the inode's file system, as [`device`] makes it.
    pub of: u32,
    pub device: u32,
    /// A code of [`operation`].
    pub operation: u32,
}

const _: () = assert!(size_of::<ShareKey>() == 24, "kernel/user ABI");

/// Codes of [`ShareKey::kind`].
pub mod share_key {
    /// A process and the cgroup that the kernel charges.
    pub const OWNER: u32 = 0;
    /// The file whose pages a thread of the kernel writes back.
    pub const WRITTEN_BACK_FILE: u32 = 1;
}

/// Whose requests a sum is of. Codes are part of the capture.
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
    /// Bits of [`submitter`], of all of them.
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

/// Stacks that submit requests and were taken on a CPU of late. One value a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitWindow {
    /// CLOCK_MONOTONIC.
    pub since_ns: u64,
    pub taken: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<SubmitWindow>() == 16, "kernel/user ABI");

/// Key of the map `DISK_WAITS`: waits of recorded threads for disks and files, by what ended them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_packed_without_loss() {
        for key in [
            TotalsKey { device: device(259, 1 << 19), operation: operation::OTHER, of_members: 1 },
            TotalsKey { device: 1, operation: 0, of_members: 0 },
        ] {
            assert_eq!(TotalsKey::unpacked(key.packed()), Some(key));
        }
        assert_eq!(TotalsKey::unpacked(0), None);
    }

    #[test]
    fn requests_are_spread_over_all_slots() {
        // 8,192 requests of 512 bytes each, as a driver's tags have them, in as many slots: chance leaves 1/e of the slots empty.
        let mut used = [false; 8192];
        (0..8192).for_each(|tag| used[first_slot(0x8100_0000 + 512 * tag, 8191) as usize] = true);
        let empty = used.iter().filter(|used| !**used).count();
        assert!(empty <= 3014, "{empty} slots of 8,192 are empty");
    }
}
