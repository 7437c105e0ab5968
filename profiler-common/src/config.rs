//! What userspace tells the kernel programs.

/// Load-time constants. In read-only data, so that the verifier removes what they turn off.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// A code of [`target`].
    pub target: u32,
    /// 1: processes that a member forks become members.
    pub children: u32,
    /// Kernel id of the cgroup whose descendants are recorded, for [`target::CGROUP`].
    pub cgroup_id: u64,
    /// Depth of that cgroup below the root, which has depth 0.
    pub cgroup_level: u32,
    /// Bytes of user stack that a sample on the CPU takes at the most, unless the map `DEEP_STACKS` says more: at most
    /// [`crate::sample::MOST_STACK_BYTES`], as there.
    pub stack_bytes: u32,
    /// 1: `bpf_task_pt_regs` exists (Linux 5.15); else the registers lie at the top of `task->stack`.
    pub has_task_pt_regs: u32,
    /// Size of a kernel stack, for kernels without `bpf_task_pt_regs`.
    pub kernel_stack_bytes: u32,
    /// 1: every exec on the machine is told, for `--comm`.
    pub tell_every_exec: u32,
    /// Process id of the profiler in the initial PID namespace: never recorded with `-a`.
    pub own_tgid: u32,
    /// Off-CPU stacks taken in one pass at the most.
    pub captures_per_pass: u32,
    /// Bytes of user stack that a sample off the CPU takes at the most.
    pub off_cpu_stack_bytes: u32,
    /// 1: `bpf_get_current_task_btf` exists (Linux 5.11).
    pub has_current_task_btf: u32,
    /// 1: requests to block devices are followed, and waits for disks and files are told apart by what ends them.
    pub block_io: u32,
    /// 1: `block_io_start` tells each request's arrival (Linux 6.5); else it is the time at which the kernel allocated it.
    pub has_io_start: u32,
    /// Bit of a request that is to be on the medium when it is done (`REQ_FUA`).
    pub fua_flag: u32,
    /// Bit of a request before which all others are to be on the medium (`REQ_PREFLUSH`).
    pub preflush_flag: u32,
    /// 1: who ends waits is told, and who holds locks.
    pub locks: u32,
    /// Slots of the map of requests, and of that of their sums, less one: each a power of two less one.
    pub request_mask: u32,
    pub totals_mask: u32,
    /// 1: only requests are followed, and no thread has an account.
    pub block_io_only: u32,
    /// 1: the programs say what they do, line by line (`-vv`).
    pub log: u32,
}

const _: () = assert!(size_of::<Config>() == 88, "kernel/user ABI");

/// Codes of [`Config::target`].
pub mod target {
    /// The processes (and their later threads) whose ids are in `TARGETS`.
    pub const LISTED: u32 = 0;
    /// Every thread of the machine.
    pub const ALL: u32 = 1;
    /// Threads in a cgroup or below it.
    pub const CGROUP: u32 = 2;
}

/// Bits of the values of `TARGETS`, which is keyed by ids of the profiler's PID namespace.
pub mod target_bits {
    /// The key is a process: all of its threads.
    pub const PROCESS: u32 = 1;
    /// The key is a single thread.
    pub const THREAD: u32 = 2;
}

/// What userspace changes while the programs run. The one value of the map `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// 1: the recording is over; no account changes any more.
    pub stopped: u32,
    /// Depth of the profiler's PID namespace below the initial one. Written by the seeding pass, which runs in it.
    pub ns_level: u32,
    /// Entries of `GO_PROCESSES`: without any, nobody looks there.
    pub go_processes: u32,
    /// A tick of the on-CPU sampler takes a sample when a random `u32` is at most this; 0: never.
    pub on_cpu_threshold: u32,
    /// 1: optional probes do nothing any more.
    pub optional_stopped: u32,
    /// The stack that submits a request is taken when a random `u32` is at most this; 0: never.
    pub submit_threshold: u32,
    /// A thread's waits are told of each time that they add up to this much; 0: never.
    pub wake_period_ns: u64,
}

const _: () = assert!(size_of::<Control>() == 32, "kernel/user ABI");

/// One pass of the task iterator: how it is to sample, and what it saw. The one value of the map `PASS`, which userspace
/// writes before a pass and reads after it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The tick that asked for it, CLOCK_MONOTONIC. Whoever was preempted since then was so by the profiler, more likely than
    /// not: such waits are left to the next pass.
    pub tick_ns: u64,
    /// A candidate is sampled when a random `u32` is at most this.
    pub threshold: u32,
    /// For how many ticks a wait counts that is found for the first time.
    pub weight_new: u32,
    /// For how many ticks one counts that is found again: also for those of passes that were left out.
    pub weight_again: u32,
    /// What it saw.
    pub counts: PassCounts,
}

const _: () = assert!(size_of::<Pass>() == 48, "kernel/user ABI");

/// What one pass saw; zero before it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassCounts {
    /// Member threads that were off the CPU.
    pub off_cpu: u32,
    /// Those of them whose interval had no stack yet.
    pub candidates: u32,
    /// Those whose stack was taken.
    pub captured: u32,
    /// Candidates passed over because the pass had taken its number.
    pub over_limit: u32,
    /// Waits that still have no stack, for whatever reason: over the limit, by chance, because the ring was full or because
    /// they had only just begun.
    pub left_over: u32,
    /// Candidates that wait for something else than a CPU.
    pub new_waits: u32,
    /// Waits for locks that were told.
    pub locks: u32,
}
