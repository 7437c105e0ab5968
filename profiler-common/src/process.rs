//! What happens to processes while they are recorded.

use crate::ledger::COMM_BYTES;

/// Ring record: a fork or an exec.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// [`crate::event_kind::FORK`] or [`crate::event_kind::EXEC`].
    pub kind: u32,
    /// Thread id in the initial PID namespace: of the new process (fork) or of the one that runs a new image.
    pub tid: u32,
    /// Process id in the profiler's PID namespace.
    pub ns_tgid: u32,
    /// The parent's process id in the profiler's PID namespace (fork), else 0.
    pub parent_ns_tgid: u32,
    /// When, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The name from then on.
    pub comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<ProcessEvent>() == 24 + COMM_BYTES, "kernel/user ABI");
