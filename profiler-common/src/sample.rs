//! A stack sample: registers, kernel frames and a snapshot of the top of the user stack.

/// Most kernel frames of one sample: `PERF_MAX_STACK_DEPTH`, the kernel's own default limit.
pub const KERNEL_FRAMES: usize = 127;
/// Most bytes of user stack that a sample takes on the CPU, unless another number is asked for or its thread needs more.
pub const DEFAULT_STACK_BYTES: u32 = 16 * 1024;
/// Most bytes of user stack that any sample takes.
pub const MOST_STACK_BYTES: u32 = 64 * 1024;
/// The unit in which user stacks are read: a read that crosses into an unmapped page fails whole.
pub const PAGE_BYTES: usize = 4096;

/// Which stack a record of the kind [`crate::event_kind::OTHER_STACK`] is, see [`SampleHeader::other_stack`].
pub mod other_stack {
    /// The stack of the goroutine for which the thread runs on its own.
    pub const GOROUTINE: u32 = 0;
    /// The stack of whoever calls into the vDSO.
    pub const VDSO: u32 = 1;
}

/// Start of a sample in the ring. After it come `[u64; KERNEL_FRAMES]`, of which the first `kernel_bytes` are valid,
/// and then `stack_bytes` bytes of user stack, read from `sp` upward.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleHeader {
    /// One of the kinds of samples in [`crate::event_kind`].
    pub kind: u32,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// Process id in the profiler's PID namespace.
    pub ns_tgid: u32,
    /// State of the thread at that moment, see [`crate::state`].
    pub state: u32,
    /// When the sample was taken, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// User instruction pointer; 0 for a kernel thread.
    pub ip: u64,
    /// User stack pointer.
    pub sp: u64,
    /// User frame pointer (x86_64 `rbp`, aarch64 `x29`).
    pub fp: u64,
    /// Link register (aarch64 `x30`); 0 on x86_64.
    pub lr: u64,
    /// Bytes of kernel frames, or the negative error of the helper.
    pub kernel_bytes: i32,
    /// Bytes of user stack.
    pub stack_bytes: u32,
    /// A sample stands for `2^32 / (threshold + 1)` ticks or waits like it; `u32::MAX` for exactly one.
    pub threshold: u32,
    /// What only samples of this kind have: written and read as one of [`SampledWait`], [`SubmittedRequest`], the waiter of a
    /// release or the kind of another stack. Zeros on the CPU.
    pub own: [u32; 3],
    /// The lock for which the thread waits, on which it spins or which it releases: the address of a futex's word, or of a lock
    /// of the kernel. 0: none.
    pub lock: u64,
}

/// What an off-CPU sample says of waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledWait {
    /// The interval of which the stack is taken, [`crate::ledger::ThreadRecord::wait_seq`].
    pub seq: u32,
    /// The thread's interval that was sampled before this one.
    pub repeated_seq: u32,
    /// How many more ticks had found that earlier interval going on.
    pub repeats: u32,
}

/// The request that a [`crate::event_kind::SUBMIT_SAMPLE`] submits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmittedRequest {
    /// A disk's number, as [`crate::block_io::device`] makes it.
    pub device: u32,
    /// A code of [`crate::block_io::operation`].
    pub operation: u32,
    pub bytes: u32,
}

impl SampledWait {
    /// As [`SampleHeader::own`].
    #[inline]
    pub const fn own(self) -> [u32; 3] {
        [self.seq, self.repeated_seq, self.repeats]
    }
}

impl SubmittedRequest {
    /// As [`SampleHeader::own`].
    #[inline]
    pub const fn own(self) -> [u32; 3] {
        [self.device, self.operation, self.bytes]
    }
}

impl SampleHeader {
    /// Of an off-CPU sample.
    pub const fn wait(&self) -> SampledWait {
        let [seq, repeated_seq, repeats] = self.own;
        SampledWait { seq, repeated_seq, repeats }
    }

    /// Of a submission.
    pub const fn request(&self) -> SubmittedRequest {
        let [device, operation, bytes] = self.own;
        SubmittedRequest { device, operation, bytes }
    }

    /// Of a release: the thread id of the one that waited, in the initial PID namespace.
    pub const fn waiter(&self) -> u32 {
        self.own[0]
    }

    /// Of another stack: a code of [`other_stack`].
    pub const fn other_stack(&self) -> u32 {
        self.own[0]
    }
}

const _: () = assert!(size_of::<SampleHeader>() == 88, "kernel/user ABI");

/// Bytes of a sample in front of its user stack.
pub const FIXED_BYTES: usize = size_of::<SampleHeader>() + 8 * KERNEL_FRAMES;

/// Room for a user stack of up to [`DEFAULT_STACK_BYTES`].
pub const SMALL_ROOM: usize = room_for(DEFAULT_STACK_BYTES);
/// Room for one of up to [`MOST_STACK_BYTES`].
pub const LARGE_ROOM: usize = room_for(MOST_STACK_BYTES);

/// One page more than is taken at the most, because the verifier does not see that the last read, which begins anywhere in a
/// page, ends with the last of the bytes.
const fn room_for(stack_bytes: u32) -> usize {
    stack_bytes as usize + PAGE_BYTES
}

/// A sample while it is built, in the ring itself or in a buffer of which only the filled part is sent.
#[repr(C)]
pub struct SampleRecord<const ROOM: usize> {
    /// What follows.
    pub header: SampleHeader,
    /// Kernel frames, innermost first.
    pub kernel: [u64; KERNEL_FRAMES],
    /// Bytes of the user stack.
    pub stack: [u8; ROOM],
}

const _: () = assert!(FIXED_BYTES == 88 + 8 * KERNEL_FRAMES, "kernel/user ABI");
const _: () = assert!(size_of::<SampleRecord<SMALL_ROOM>>() == FIXED_BYTES + SMALL_ROOM, "kernel/user ABI");
const _: () = assert!(size_of::<SampleRecord<LARGE_ROOM>>() == FIXED_BYTES + LARGE_ROOM, "kernel/user ABI");
