//! What crosses the kernel border, each type once: written by `profiler-ebpf`, read by `profiler`.
//!
//! Fixed-width integers in explicit order, no padding (asserted), and codes that stay `u32` until decoded, so that
//! every bit pattern of a record is a valid value.
#![no_std]

pub mod block_io;
pub mod config;
pub mod go;
pub mod histogram;
pub mod ledger;
pub mod lock;
pub mod offsets;
pub mod process;
pub mod sample;
pub mod stat;
pub mod state;
pub mod syscall;
pub mod wait_times;

/// First word of each record in the ring buffer: what the rest is.
pub mod event_kind {
    /// [`crate::sample::SampleHeader`] taken on the CPU, with kernel frames and a snapshot of the user stack.
    pub const ON_CPU_SAMPLE: u32 = 1;
    /// [`crate::sample::SampleHeader`] of a thread that is off the CPU.
    pub const OFF_CPU_SAMPLE: u32 = 2;
    /// [`crate::ledger::ThreadEnd`]: a thread's final account.
    pub const THREAD_END: u32 = 3;
    /// [`crate::process::ProcessEvent`]: a member forked a process.
    pub const FORK: u32 = 4;
    /// [`crate::process::ProcessEvent`]: a member runs a new image.
    pub const EXEC: u32 = 5;
    /// [`crate::process::ProcessEvent`]: a process that is not recorded runs a new image (`--comm` only).
    pub const STRANGER_EXEC: u32 = 6;
    /// [`crate::sample::SampleHeader`] with a snapshot of the stack on which the stack of the same thread's next sample, of
    /// the same moment, goes on.
    pub const OTHER_STACK: u32 = 7;
    /// [`crate::block_io::FileSeen`]: a file was waited for that had not been before.
    pub const FILE_SEEN: u32 = 8;
    /// [`crate::lock::LockSeen`]: a thread waits for a lock at a tick.
    pub const LOCK_SEEN: u32 = 9;
    /// [`crate::lock::Wake`], with kernel frames behind it: a wait ends.
    pub const WAKE: u32 = 10;
    /// [`crate::sample::SampleHeader`] of the thread that ends another's wait for a lock, at that moment.
    pub const RELEASE_SAMPLE: u32 = 11;
    /// [`crate::sample::SampleHeader`] of a thread that submits a request to a block device, at that moment.
    pub const SUBMIT_SAMPLE: u32 = 12;
}

/// Types of which every bit pattern is a valid value, and which have no padding.
///
/// # Safety
/// The type is `repr(C)`, of fixed-width integers (or such types) only, without padding.
pub unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for u32 {}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {$(
        // SAFETY: `repr(C)`, fixed-width integers only, and its size is asserted beside the type.
        unsafe impl Plain for $ty {}

        #[cfg(feature = "user")]
        // SAFETY: as above.
        unsafe impl aya::Pod for $ty {}
    )*};
}

plain!(
    block_io::Completion,
    block_io::FileKey,
    block_io::FileSeen,
    block_io::Request,
    block_io::RequestTotals,
    block_io::Share,
    block_io::ShareKey,
    block_io::TotalsKey,
    block_io::WaitKey,
    block_io::Waits,
    config::Config,
    config::Control,
    config::Pass,
    go::GoOffsets,
    ledger::ThreadEnd,
    ledger::ThreadRecord,
    lock::KernelLockKey,
    lock::KernelLockWaits,
    lock::LockSeen,
    lock::Wake,
    lock::WakeRecord,
    offsets::Offsets,
    process::ProcessEvent,
    sample::SampleHeader,
    wait_times::WaitTimes,
);
