//! A thread's account: which state it is in, since when, and its totals so far.

use crate::state;

/// Length of a thread's name in the kernel, with its final zero (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Intervals that an account remembers: what a thread did while others waited for it.
pub const HISTORY: usize = 8;

/// One thread's account. Value of the map `THREADS`, keyed by the thread's tid in the initial PID namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadRecord {
    /// Address of the `task_struct`: tells this thread from another that has its tid later (reuse, exec).
    pub task: u64,
    /// When the thread entered `state`, CLOCK_MONOTONIC.
    pub since_ns: u64,
    /// When its account was opened, CLOCK_MONOTONIC.
    pub opened_ns: u64,
    /// When it ended, CLOCK_MONOTONIC; 0 while it lives.
    pub ended_ns: u64,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Thread id in the profiler's PID namespace: what `/proc` shows.
    pub ns_tid: u32,
    /// Process id in the profiler's PID namespace.
    pub ns_tgid: u32,
    /// Code of the present state, see [`state`].
    pub state: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Counts the times that the thread left a CPU: names one off-CPU interval.
    pub wait_seq: u32,
    /// `wait_seq` of the last interval whose stack was taken.
    pub sampled_seq: u32,
    /// How many later ticks found that same interval still going on.
    pub repeats: u32,
    /// Switches away from the CPU that the thread did not ask for.
    pub preemptions: u32,
    /// When it was last read what `file_descriptor` refers to, CLOCK_MONOTONIC.
    pub file_at_ns: u64,
    /// The descriptor that the thread last waited on.
    pub file_descriptor: u32,
    /// What it refers to: a code of the kernel crate, meaningless outside of it.
    pub file_kind: u32,
    /// Blocked time that no [`crate::lock::Wake`] stands for yet.
    pub untold_ns: u64,
    /// The lock of the kernel for which the thread waits asleep, and since when; 0: none.
    pub kernel_lock: u64,
    pub kernel_lock_since_ns: u64,
    /// The lock of the kernel on which it spins, and since when; 0: none.
    pub spin_lock: u64,
    pub spin_lock_since_ns: u64,
    /// Of each: bits of [`crate::lock::contention`], and a code of [`crate::lock::lock_name`] 8 bits further left.
    pub kernel_lock_kind: u32,
    pub spin_lock_kind: u32,
    /// Thread id in the thread's own PID namespace: what a lock's owner word in its memory says.
    pub own_tid: u32,
    /// Intervals that have ended: the next one goes to this place of `history`, by turns.
    pub changes: u32,
    /// The last intervals that have ended: when each began, times 64, and the code of its state.
    pub history: [u64; HISTORY],
    /// Name of the thread at its end; before it, at the opening of the account.
    pub comm: [u8; COMM_BYTES],
    /// Time in each state, by code.
    pub state_ns: [u64; state::SLOTS],
    /// Number of intervals in each state that have ended, by code.
    pub state_count: [u32; state::SLOTS],
}

/// Bits of [`ThreadRecord::flags`].
pub mod flags {
    /// The thread was created during the recording; otherwise it was there when its account was opened.
    pub const BORN_INSIDE: u32 = 1;
    /// Thread of the kernel: has no user stack.
    pub const KERNEL_THREAD: u32 = 2;
    /// The first state is a reading of the task from outside and may be corrected by the first event.
    pub const STATE_IS_A_GUESS: u32 = 4;
}

const _: () = assert!(
    size_of::<ThreadRecord>() == 32 + 40 + 16 + 56 + 8 * HISTORY + 16 + 12 * state::SLOTS,
    "kernel/user ABI"
);

/// Ring record: the final account of a thread that has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadEnd {
    /// [`crate::event_kind::THREAD_END`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The account, closed.
    pub record: ThreadRecord,
}

const _: () = assert!(size_of::<ThreadEnd>() == 8 + size_of::<ThreadRecord>(), "kernel/user ABI");
