//! What the rules' facts are made of: the parts of a report, and the time of each thread that did something.

use crate::analyze::locks::LockReport;
use crate::analyze::stacks::shares::Shares;
use crate::analyze::wakers::Wakers;
use crate::analyze::{CrossCheck, Disks, Hot, Ledger, ThreadAccount, Trust};
use crate::recording::ThreadId;

/// One thread that did something.
#[derive(Clone, Debug)]
pub struct Working {
    pub thread: ThreadId,
    pub times: Times,
}

/// Where time went, in the terms of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub elapsed_ns: u64,
    /// All but waiting for work.
    pub active_ns: u64,
    pub on_cpu_ns: u64,
    pub run_queue_ns: u64,
    pub disk_read_ns: u64,
    pub disk_write_ns: u64,
    pub fsync_ns: u64,
    /// In calls on files, but not for the device.
    pub file_wait_ns: u64,
    pub page_fault_io_ns: u64,
    /// Page faults and changes of the address space that wait for locks or memory.
    pub memory_ns: u64,
    /// Locks of the program.
    pub lock_ns: u64,
    /// For servers.
    pub net_ns: u64,
    pub ipc_ns: u64,
    /// Of [`Times::run_queue_ns`], from wake-ups that ended waits for threads and processes.
    pub ipc_wake_ns: u64,
    pub unknown_ns: u64,
}

impl Times {
    /// What the time of a thread that does something is made of.
    pub(super) fn parts(&self) -> [u64; 12] {
        [
            self.on_cpu_ns,
            self.run_queue_ns,
            self.disk_read_ns,
            self.disk_write_ns,
            self.fsync_ns,
            self.file_wait_ns,
            self.page_fault_io_ns,
            self.memory_ns,
            self.lock_ns,
            self.net_ns,
            self.ipc_ns,
            self.unknown_ns,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        let fields: [(&mut u64, u64); 15] = [
            (&mut self.elapsed_ns, other.elapsed_ns),
            (&mut self.active_ns, other.active_ns),
            (&mut self.on_cpu_ns, other.on_cpu_ns),
            (&mut self.run_queue_ns, other.run_queue_ns),
            (&mut self.disk_read_ns, other.disk_read_ns),
            (&mut self.disk_write_ns, other.disk_write_ns),
            (&mut self.fsync_ns, other.fsync_ns),
            (&mut self.file_wait_ns, other.file_wait_ns),
            (&mut self.page_fault_io_ns, other.page_fault_io_ns),
            (&mut self.memory_ns, other.memory_ns),
            (&mut self.lock_ns, other.lock_ns),
            (&mut self.net_ns, other.net_ns),
            (&mut self.ipc_ns, other.ipc_ns),
            (&mut self.ipc_wake_ns, other.ipc_wake_ns),
            (&mut self.unknown_ns, other.unknown_ns),
        ];
        for (sum, more) in fields {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a rule is given beside the recording, by the names of [`Facts`].
pub struct Parts<'a> {
    pub ledger: &'a Ledger,
    pub threads: &'a [ThreadAccount],
    pub shares: &'a Shares,
    pub trust: &'a Trust,
    pub hot: &'a Hot,
    pub disks: &'a Disks<'a>,
    pub locks: &'a LockReport,
    pub wakers: &'a Wakers,
    pub cross_check: Option<&'a CrossCheck>,
}
