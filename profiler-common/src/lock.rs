//! Locks, who holds them, and who ends waits.

use crate::ledger::{COMM_BYTES, HISTORY};

/// Ring record: a recorded thread waits for a lock at a tick of the off-CPU sampler.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockSeen {
    /// [`crate::event_kind::LOCK_SEEN`].
    pub kind: u32,
    /// The waiting thread, in the initial PID namespace.
    pub tid: u32,
    /// Its process, in the profiler's PID namespace.
    pub ns_tgid: u32,
    /// For how many ticks this one stands.
    pub weight: u32,
    /// When, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// When the wait began, CLOCK_MONOTONIC.
    pub since_ns: u64,
    /// Address of the lock: of the futex's word in the process, or in the kernel.
    pub lock: u64,
    /// Bits of [`contention`], or [`contention::USER`].
    pub lock_kind: u32,
    /// Of a futex: its operation, as the call has it.
    pub operation: u32,
    /// Of a futex: the word at that moment.
    pub word: u32,
    /// Who holds it, in the initial PID namespace, as the lock itself says; 0 if it does not.
    pub owner: u32,
    /// Its process, in the initial PID namespace; 0 if it is not known.
    pub owner_tgid: u32,
    /// State of the owner, see [`crate::state`]; [`UNKNOWN_STATE`] if it is not recorded.
    pub owner_state: u32,
    /// Name of the owner, if it is not recorded.
    pub owner_comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<LockSeen>() == 64 + COMM_BYTES, "kernel/user ABI");

/// No state of [`crate::state`].
pub const UNKNOWN_STATE: u32 = u32::MAX;

/// What kind of lock is contended: the kernel's own bits (`LCB_F_*`, include/trace/events/lock.h), part of its tracepoint.
pub mod contention {
    pub const SPIN: u32 = 1;
    pub const READ: u32 = 2;
    pub const WRITE: u32 = 4;
    pub const RT: u32 = 8;
    pub const PERCPU: u32 = 16;
    pub const MUTEX: u32 = 32;
    /// All of them.
    pub const MASK: u32 = 63;
    /// None of the kernel's: a futex.
    pub const USER: u32 = 0x8000_0000;
}

/// Key of the map `KERNEL_LOCKS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelLockKey {
    /// Address in the kernel; 0 for all locks that there was no room for.
    pub lock: u64,
    /// Bits of [`contention`].
    pub kind: u32,
    /// A code of [`lock_name`].
    pub name: u32,
}

const _: () = assert!(size_of::<KernelLockKey>() == 16, "kernel/user ABI");

/// Locks that are known by where they lie.
pub mod lock_name {
    /// Not known.
    pub const NONE: u32 = 0;
    /// `mm_struct.mmap_lock` of the waiting thread's own memory.
    pub const MMAP_LOCK: u32 = 1;
    /// `sighand_struct.siglock` of its process.
    pub const SIGLOCK: u32 = 2;
}

/// Waits of recorded threads for one lock of the kernel: value of the map `KERNEL_LOCKS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLockWaits {
    pub count: u64,
    pub waited_ns: u64,
    pub longest_ns: u64,
}

const _: () = assert!(size_of::<KernelLockWaits>() == 24, "kernel/user ABI");

/// Start of a ring record: a recorded thread's wait ends, told each time that its waits add up to a sampling period. After it come
/// the waker's kernel frames, innermost first: how it came to wake.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// [`crate::event_kind::WAKE`].
    pub kind: u32,
    /// The thread that waited, in the initial PID namespace.
    pub tid: u32,
    /// Its process, in the profiler's PID namespace.
    pub ns_tgid: u32,
    /// What it waited for, see [`crate::state`].
    pub state: u32,
    /// When the wait began and ended, CLOCK_MONOTONIC.
    pub since_ns: u64,
    pub at_ns: u64,
    /// For so much time of its waits this one stands.
    pub weight_ns: u64,
    /// First three arguments of the system call in which it waited: of a futex its address, operation and value.
    pub arguments: [u64; 3],
    /// The thread that was on the CPU when the wait ended, in the initial PID namespace. In an interrupt it has nothing to do
    /// with that.
    pub waker_tid: u32,
    /// Its process, in the initial PID namespace.
    pub waker_tgid: u32,
    /// Bits of [`waker`].
    pub waker: u32,
    /// Bytes of kernel frames, or the negative error of the helper.
    pub kernel_bytes: i32,
    /// Of a recorded waker: its last intervals, see [`HISTORY`], and how many there were.
    pub waker_history: [u64; HISTORY],
    pub waker_changes: u32,
    /// Zero.
    pub reserved: u32,
    /// Of a recorded waker: since when it is on the CPU.
    pub waker_since_ns: u64,
    /// Of a wait on an internet socket: the other end's address, of 4 or 16 bytes.
    pub peer_address: [u8; 16],
    /// Address family (`AF_INET` or `AF_INET6`); 0: no such wait.
    pub peer_family: u32,
    /// The other end's port, and the socket's own.
    pub peer_port: u32,
    pub local_port: u32,
    /// Zero.
    pub reserved_too: u32,
    /// Name of the waker.
    pub waker_comm: [u8; COMM_BYTES],
}

const _: () = assert!(size_of::<Wake>() == 128 + 8 * HISTORY + COMM_BYTES, "kernel/user ABI");

/// Bits of [`Wake::waker`].
pub mod waker {
    /// It is recorded.
    pub const MEMBER: u32 = 1;
    /// It is a thread of the kernel.
    pub const KERNEL_THREAD: u32 = 2;
    /// It was in user mode when an interrupt (or a fault) came.
    pub const INTERRUPTED: u32 = 4;
    /// Its stack follows as a record of its own, [`crate::event_kind::RELEASE_SAMPLE`].
    pub const STACK_FOLLOWS: u32 = 8;
}

/// Most kernel frames of a waker that are taken: from the wake-up through the network's layers to the entry of the interrupt
/// or of the system call there are some 45.
pub const WAKER_FRAMES: usize = 64;

/// A wake-up while it is built.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WakeRecord {
    pub wake: Wake,
    pub frames: [u64; WAKER_FRAMES],
}

const _: () = assert!(size_of::<WakeRecord>() == size_of::<Wake>() + 8 * WAKER_FRAMES, "kernel/user ABI");
