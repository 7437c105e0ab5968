//! Each map, with its capacity and its memory.

use aya_ebpf::{
    helpers::generated::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use profiler_common::{
    block_io::{Completion, FileKey, Request, RequestTotals, Share, ShareKey, SubmitWindow, WaitKey, Waits},
    config::{Config, Control, Pass},
    go::GoOffsets,
    ledger::ThreadRecord,
    lock::{KernelLockKey, KernelLockWaits, WakeRecord},
    offsets::Offsets,
    sample::{LARGE_ROOM, SampleRecord},
    stat::Stat,
    syscall,
    wait_times::{self, WaitTimes},
};

/// Constants of this run. The loader overwrites it before the programs are verified.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    target: 0,
    children: 0,
    cgroup_id: 0,
    cgroup_level: 0,
    stack_bytes: 0,
    has_task_pt_regs: 0,
    kernel_stack_bytes: 0,
    tell_every_exec: 0,
    own_tgid: 0,
    captures_per_pass: 0,
    off_cpu_stack_bytes: 0,
    has_current_task_btf: 0,
    block_io: 0,
    has_io_start: 0,
    fua_flag: 0,
    preflush_flag: 0,
    locks: 0,
    request_mask: 0,
    totals_mask: 0,
    block_io_only: 0,
    log: 0,
};

/// Where the kernel keeps the fields that are read. Overwritten like [`CONFIG`].
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::absent();

/// A constant of this run.
#[macro_export]
macro_rules! config {
    ($field:ident) => {
        $crate::maps::constant(&$crate::maps::CONFIG.$field)
    };
}

/// An offset in a kernel struct.
#[macro_export]
macro_rules! offset {
    ($field:ident) => {
        $crate::maps::constant(&$crate::maps::OFFSETS.$field)
    };
}

/// Reads a load-time constant. Volatile, because the loader replaces the value that the compiler sees.
#[inline(always)]
pub fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::read_volatile(value) }
}

/// The account of each recorded thread, by tid. Preallocated: it is written under the run queue's lock, where
/// memory cannot be allocated. The loader sets the capacity to twice the threads that it finds, at least 4,096, and 8,192
/// where processes may join: 4,096 × (680 B + about 64 B of bucket and links) ≈ 3 MiB.
#[map]
pub static THREADS: HashMap<u32, ThreadRecord> = HashMap::with_max_entries(4096, 0);

/// Ids of the processes or threads to record, in the profiler's PID namespace, with bits of `target_bits`. Read only
/// by the seeding pass. The loader gives it the capacity of `THREADS`.
#[map]
pub static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

/// A zeroed account, from which a new one is made: it is larger than the 512 bytes of a program's stack.
#[map]
static BLANK: Array<ThreadRecord> = Array::with_max_entries(1, 0);

/// Switched by userspace while the programs run.
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// The present pass of the off-CPU sampler.
#[map]
static PASS: Array<Pass> = Array::with_max_entries(1, 0);

/// Where the off-CPU sampler builds a sample. One, because only the profiler runs that iterator, one pass at a time.
/// 69 KiB.
#[map]
static SCRATCH: Array<SampleRecord<LARGE_ROOM>> = Array::with_max_entries(1, 0);

/// Where the on-CPU sampler builds a sample of more than the usual size, by CPU: the loader sets their number. 69 KiB each,
/// which is more than a per-CPU map can hold (`PCPU_MIN_UNIT_SIZE`, 32 KiB).
#[map]
static CPU_SCRATCH: Array<SampleRecord<LARGE_ROOM>> = Array::with_max_entries(1, 0);

/// Threads whose stacks were cut, and how many bytes are taken of them from then on. By tid, written by userspace.
/// 4,096 × (8 B + about 72 B) ≈ 0.3 MiB; of threads beyond them the stacks stay cut.
#[map]
static DEEP_STACKS: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// Go programs in which a stack was met that goes on on another one. By process id in the profiler's PID namespace, written
/// by userspace. 1,024 × (24 B + about 72 B) ≈ 0.1 MiB; in processes beyond them such stacks stay as they are.
#[map]
static GO_PROCESSES: HashMap<u32, GoOffsets> = HashMap::with_max_entries(1024, 0);

/// Samples and the ends of accounts. The loader sets the size, so that it holds what a quarter of a second brings at
/// worst with 16 KiB of each stack: 21 KiB a sample, 4 MiB on two CPUs at 99 Hz. It is emptied at each tick.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(2 * 1024 * 1024, 0);

/// Counted causes of loss, by [`Stat`].
#[map]
pub static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Stat::ALL.len() as u32, 0);

/// What a thread waits for that blocks in a system call, by its number. 512 values, each rounded
/// up to 8 bytes: 4 KiB.
#[map]
static SYSCALL_CLASSES: Array<u8> = Array::with_max_entries(syscall::SLOTS, 0);

/// Requests to block devices between arrival and completion. An array in which each is found by its address, not a hash: look-ups in
/// arrays become some instructions (`array_map_gen_lookup`). With hashes for requests and sums a request took 1.9 µs of the three
/// programs' time, so it takes 1.3 (run times of 160,000 requests on 6.18, in a virtual machine).
/// 16,384 × 80 B ≈ 1.3 MiB; disks have some hundred to some thousand requests each.
#[map]
pub static REQUESTS: Array<Request> = Array::with_max_entries(16_384, 0);

/// Completed requests, summed up. An array for the same reason. 256 × 4.9 KiB ≈ 1.2 MiB: 14 kinds each of 18 disks; most disks
/// have 4 kinds.
#[map]
pub static REQUEST_TOTALS: Array<RequestTotals> = Array::with_max_entries(256, 0);

/// Slots of `REQUEST_TOTALS` that are taken: of two CPUs that insert the same one at once the kernel refuses one.
#[map]
pub static TOTALS_TAKEN: HashMap<u32, u32> = HashMap::with_max_entries(256, 0);

/// Whose requests they were. 4,096 × (56 B + 24 B + about 64 B) ≈ 0.6 MiB.
#[map]
pub static REQUEST_SHARES: HashMap<ShareKey, Share> = HashMap::with_max_entries(4096, 0);

/// The last completion on each CPU. 56 B a CPU.
#[map]
pub static COMPLETIONS: PerCpuArray<Completion> = PerCpuArray::with_max_entries(1, 0);

/// How many stacks of submitters were taken of late. 16 B a CPU.
#[map]
pub static SUBMIT_WINDOW: PerCpuArray<SubmitWindow> = PerCpuArray::with_max_entries(1, 0);

/// Waits for disks and files, by what ended them. 512 × (32 B + 32 B + about 64 B) ≈ 64 KiB.
#[map]
pub static DISK_WAITS: HashMap<WaitKey, Waits> = HashMap::with_max_entries(512, 0);

/// Waits in calls on a descriptor, by file. 2,048 × (32 B + 16 B + about 64 B) ≈ 0.2 MiB.
#[map]
pub static FILE_WAITS: HashMap<FileKey, Waits> = HashMap::with_max_entries(2048, 0);

/// Waits for locks of the kernel. 1,024 × (24 B + 16 B + about 64 B) ≈ 0.1 MiB; waits for further locks are added up by kind.
#[map]
pub static KERNEL_LOCKS: HashMap<KernelLockKey, KernelLockWaits> = HashMap::with_max_entries(1024, 0);

/// Where the end of a wait is built. 0.7 KiB a CPU.
#[map]
static WAKE_SCRATCH: PerCpuArray<WakeRecord> = PerCpuArray::with_max_entries(1, 0);

/// Threads in PID namespaces of their own: (process, thread id there) → thread id in the initial namespace. The loader gives it
/// the capacity of `THREADS`: 4,096 × (12 B + about 68 B) ≈ 0.3 MiB.
#[map]
pub static OWN_TIDS: HashMap<[u32; 2], u32> = HashMap::with_max_entries(1024, 0);

/// How long waits lasted, by group. Per CPU, so that CPUs share no line, and with a group a value, which
/// userspace reads with one system call for all CPUs. 6 × 1,600 B = 9.4 KiB a CPU.
#[map]
static WAIT_TIMES: PerCpuArray<WaitTimes> = PerCpuArray::with_max_entries(wait_times::GROUPS.len() as u32, 0);

/// How long waits of a group lasted, on this CPU.
#[inline(always)]
pub fn wait_times(group: u32) -> Option<*mut WaitTimes> {
    WAIT_TIMES.get_ptr_mut(group)
}

/// The end of a wait, on this CPU.
#[inline(always)]
pub fn wake_scratch() -> Option<*mut WakeRecord> {
    WAKE_SCRATCH.get_ptr_mut(0)
}

/// Each so much time of a thread's waits one of their ends is told; 0: none.
#[inline(always)]
pub fn wake_period_ns() -> u64 {
    // SAFETY: non-null pointer into the map; volatile, since userspace writes it meanwhile.
    control().map_or(0, |control| unsafe {
        let rests = core::ptr::read_volatile(&raw const (*control).optional_stopped) != 0;
        if rests { 0 } else { core::ptr::read_volatile(&raw const (*control).wake_period_ns) }
    })
}

/// The stack that submits a request is taken when a random number is at most this.
#[inline(always)]
pub fn submit_threshold() -> u32 {
    // SAFETY: non-null pointer into the map; volatile, since userspace writes it meanwhile.
    control().map_or(0, |control| unsafe { core::ptr::read_volatile(&raw const (*control).submit_threshold) })
}

/// A thread's id in the initial namespace, by its id in its own.
#[inline(always)]
pub fn initial_tid(tgid: u32, own_tid: u32) -> Option<u32> {
    // SAFETY: the value is read at once.
    unsafe { OWN_TIDS.get([tgid, own_tid]) }.copied()
}

/// Whether the budget has no room for optional probes at the moment, or the recording is over.
#[inline(always)]
pub fn optional_stopped() -> bool {
    // SAFETY: non-null pointer into the map; volatile, since userspace writes it meanwhile.
    control().is_none_or(|control| unsafe {
        core::ptr::read_volatile(&raw const (*control).stopped)
            | core::ptr::read_volatile(&raw const (*control).optional_stopped)
            != 0
    })
}

/// The blank account.
#[inline(always)]
pub fn blank() -> Option<&'static ThreadRecord> {
    BLANK.get(0)
}

/// The switches of this run.
#[inline(always)]
pub fn control() -> Option<*mut Control> {
    CONTROL.get_ptr_mut(0)
}

/// Whether the recording is over.
#[inline(always)]
pub fn stopped() -> bool {
    // SAFETY: non-null pointer into the map; volatile, since userspace writes it meanwhile.
    control().is_none_or(|control| unsafe { core::ptr::read_volatile(&raw const (*control).stopped) } != 0)
}

/// With which probability a tick takes a sample, as [`Control::on_cpu_threshold`] has it.
#[inline(always)]
pub fn on_cpu_threshold() -> u32 {
    // SAFETY: non-null pointer into the map; volatile, since userspace writes it meanwhile.
    control().map_or(u32::MAX, |control| unsafe {
        core::ptr::read_volatile(&raw const (*control).on_cpu_threshold)
    })
}

/// The present pass.
#[inline(always)]
pub fn pass() -> Option<*mut Pass> {
    PASS.get_ptr_mut(0)
}

/// The off-CPU sampler's buffer.
#[inline(always)]
pub fn scratch() -> Option<*mut SampleRecord<LARGE_ROOM>> {
    SCRATCH.get_ptr_mut(0)
}

/// The on-CPU sampler's buffer on this CPU. Not preempted there: the perf event's interrupt does not nest.
#[inline(always)]
pub fn cpu_scratch() -> Option<*mut SampleRecord<LARGE_ROOM>> {
    // SAFETY: a helper without arguments.
    CPU_SCRATCH.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })
}

/// How much is taken of the stack of a thread that was cut.
#[inline(always)]
pub fn deep_stack_bytes(tid: u32) -> Option<u32> {
    // SAFETY: the value is read at once; an entry that is taken away meanwhile costs one sample's length.
    unsafe { DEEP_STACKS.get(tid) }.copied()
}

/// Where a process keeps its goroutines, if it is one of those programs.
#[inline(always)]
pub fn go_process(ns_tgid: u32) -> Option<GoOffsets> {
    // SAFETY: non-null pointer into the map; volatile, since userspace writes it meanwhile.
    let count = unsafe { core::ptr::read_volatile(&raw const (*control()?).go_processes) };
    if count == 0 {
        return None;
    }
    // SAFETY: the value is read at once; an entry that is taken away meanwhile costs one stack.
    unsafe { GO_PROCESSES.get(ns_tgid) }.copied()
}

/// The class of a system call.
#[inline(always)]
pub fn syscall_class(number: u32) -> u8 {
    SYSCALL_CLASSES.get(number).copied().unwrap_or(syscall::OTHER)
}
