//! Who ends waits, who holds locks, and which locks of the kernel are contended?
//!
//! Three answers of different cost. The kernel tells of contention itself, when a thread has to spin or sleep: that is summed up.
//! A wait's end is told each time that a thread's waits add up to a sampling period, with the waker. And the off-CPU sampler,
//! when it finds a thread that waits for a lock, asks the lock who holds it and the ledger what that one is doing.

use aya_ebpf::helpers::generated::{bpf_copy_from_user_task, bpf_get_stack, bpf_ringbuf_output};
use core::ffi::c_void;
use profiler_common::{
    config::Pass,
    event_kind,
    ledger::{COMM_BYTES, HISTORY, ThreadRecord, flags},
    lock::{
        KernelLockKey, KernelLockWaits, LockSeen, UNKNOWN_STATE, WAKER_FRAMES, Wake, contention, lock_name,
        waker,
    },
    offsets::ABSENT,
    sample::{DEFAULT_STACK_BYTES, SMALL_ROOM, SampleRecord},
    stat::Stat,
    state, syscall,
};

use super::ledger::{Account, now_ns};
use crate::{
    atomic::add,
    config,
    descriptor::peer_of,
    emit::{NO_WAKEUP, count, emit},
    maps::{self, EVENTS, KERNEL_LOCKS},
    offset,
    stack::{self, UserMemory},
    task::{PF_KTHREAD, Task, current_comm, probe},
};

/// Waits for locks that one pass of the off-CPU sampler tells: some 2 µs each.
const MOST_LOCKS_A_PASS: u32 = 64;
/// Operations of `futex(2)` on a lock with priority inheritance, and what in its word is the owner's tid (`FUTEX_TID_MASK`).
const LOCK_PI: u64 = 6;
const LOCK_PI2: u64 = 13;
const OPERATION_MASK: u64 = 0x7f;
const TID_MASK: u32 = 0x3fff_ffff;
/// The low bits of a kernel lock's owner are flags (`MUTEX_FLAGS`, `RWSEM_OWNER_FLAGS_MASK`).
const OWNER_FLAGS: u64 = 7;
/// Readers hold it: the owner is only one of them, and not reliable (`RWSEM_READER_OWNED`).
const READER_OWNED: u64 = 1;

/// The lock for which a thread off the CPU waits: one of the kernel's, or else the word of its futex; 0: none.
///
/// # Safety
/// `record` points to an account, that of `task`.
#[inline(always)]
pub unsafe fn waited_for(record: *const ThreadRecord, task: Task) -> u64 {
    // SAFETY: by the caller's word.
    let (kernel_lock, state) = unsafe { ((*record).kernel_lock, (*record).state) };
    let is_futex = matches!(state, state::FUTEX_LOCK | state::FUTEX_WAIT | state::FUTEX_TIMED);
    if kernel_lock != 0 || !is_futex {
        return kernel_lock;
    }
    let registers = task.user_registers();
    if registers.syscall_class() == Some(syscall::FUTEX) { registers.argument(0) } else { 0 }
}

/// The current thread begins to spin on a lock of the kernel, or to sleep until it gets it.
#[inline(always)]
pub fn on_contention_begin(lock: u64, kind: u32) -> Option<()> {
    let task = Task::current();
    let account = Account::of(task, task.tid())?;
    if maps::optional_stopped() {
        return None;
    }
    let (record, now) = (account.record(), now_ns());
    let kind = kind & contention::MASK;
    // SAFETY: the pointer into the map is not null; only the thread itself gets here.
    unsafe {
        if kind & contention::SPIN != 0 {
            // Another one in an interrupt that came while it spins is left out.
            if (*record).spin_lock == 0 {
                (*record).spin_lock_kind = kind | name_of(task, lock) << 8;
                (*record).spin_lock_since_ns = now;
                (*record).spin_lock = lock;
            }
            return Some(());
        }
        // A mutex is first spun on, and then slept for; it is told as two.
        if (*record).spin_lock == lock {
            spun(record, now);
        }
        if (*record).kernel_lock == 0 {
            (*record).kernel_lock_kind = kind | name_of(task, lock) << 8;
            (*record).kernel_lock_since_ns = now;
            (*record).kernel_lock = lock;
        }
    }
    Some(())
}

/// The current thread has the lock, or has given up.
#[inline(always)]
pub fn on_contention_end(lock: u64) -> Option<()> {
    let task = Task::current();
    let record = Account::of(task, task.tid())?.record();
    // SAFETY: the pointer into the map is not null; only the thread itself gets here.
    unsafe {
        if (*record).spin_lock == lock {
            spun(record, now_ns());
        } else if (*record).kernel_lock == lock {
            let kind = (*record).kernel_lock_kind;
            (*record).kernel_lock = 0;
            add_waits(lock, kind, now_ns().saturating_sub((*record).kernel_lock_since_ns));
        }
    }
    Some(())
}

#[inline(always)]
unsafe fn spun(record: *mut ThreadRecord, now: u64) {
    // SAFETY: by the caller's word.
    unsafe {
        let lock = (*record).spin_lock;
        (*record).spin_lock = 0;
        add_waits(lock, (*record).spin_lock_kind, now.saturating_sub((*record).spin_lock_since_ns));
    }
}

/// Known by where it lies.
#[inline(always)]
fn name_of(task: Task, lock: u64) -> u32 {
    let memory = task.memory();
    if offset!(mm_mmap_lock) != ABSENT && memory != 0 && lock == memory + u64::from(offset!(mm_mmap_lock)) {
        return lock_name::MMAP_LOCK;
    }
    if offset!(sighand_siglock) != ABSENT && lock == task.sighand() + u64::from(offset!(sighand_siglock)) {
        return lock_name::SIGLOCK;
    }
    lock_name::NONE
}

#[inline(always)]
fn add_waits(lock: u64, kind_and_name: u32, waited_ns: u64) {
    let mut key = KernelLockKey { lock, kind: kind_and_name & contention::MASK, name: kind_and_name >> 8 };
    let new = KernelLockWaits { count: 1, waited_ns, longest_ns: waited_ns };
    if add_to(&key, waited_ns) || KERNEL_LOCKS.insert(key, new, 1).is_ok() {
        return;
    }
    // Of this kind there is a place for all that have none of their own; userspace makes it beforehand.
    count(Stat::KernelLocksFull);
    key.lock = 0;
    key.name = lock_name::NONE;
    add_to(&key, waited_ns);
}

#[inline(always)]
fn add_to(key: &KernelLockKey, waited_ns: u64) -> bool {
    let Some(known) = KERNEL_LOCKS.get_ptr_mut(key) else { return false };
    // SAFETY: non-null pointer into the map. The longest of two at once may be lost, the sums are not.
    unsafe {
        add(&raw mut (*known).count, 1);
        add(&raw mut (*known).waited_ns, waited_ns);
        if (*known).longest_ns < waited_ns {
            (*known).longest_ns = waited_ns;
        }
    }
    true
}

/// A recorded thread's wait is over: the current context wakes it. Reported if its waits add up to a period by now; says
/// whether it was.
///
/// # Safety
/// `context` is that of the program.
#[inline(always)]
pub unsafe fn on_wait_over(context: *mut c_void, account: Account, task: Task, was: u32, now: u64) -> bool {
    let period = maps::wake_period_ns();
    let record = account.record();
    // SAFETY: the pointer into the map is not null.
    unsafe {
        if period == 0 || (*record).flags & flags::KERNEL_THREAD != 0 {
            return false;
        }
        let untold = (*record).untold_ns + now.saturating_sub((*record).since_ns);
        if untold < period {
            (*record).untold_ns = untold;
            return false;
        }
        let rest = untold % period;
        // What there was no room for is told with the thread's next wait.
        let is_told = tell(context, record, task, was, now, untold - rest).is_some();
        (*record).untold_ns = if is_told { rest } else { untold };
        is_told
    }
}

/// # Safety
/// `record` points to an account, that of `task`, and `context` is that of the program.
#[inline(always)]
unsafe fn tell(
    context: *mut c_void,
    record: *const ThreadRecord,
    task: Task,
    was: u32,
    now: u64,
    weight_ns: u64,
) -> Option<()> {
    let scratch = maps::wake_scratch()?;
    let current = Task::current();
    let registers = task.user_registers();
    // SAFETY: non-null pointers into maps; the scratch is this CPU's own, as interrupts are off at a wake-up.
    unsafe {
        let wake = &raw mut (*scratch).wake;
        (*wake).kind = event_kind::WAKE;
        (*wake).tid = (*record).tid;
        (*wake).ns_tgid = (*record).ns_tgid;
        (*wake).state = was;
        (*wake).since_ns = (*record).since_ns;
        (*wake).at_ns = now;
        (*wake).weight_ns = weight_ns;
        (*wake).arguments = [registers.argument(0), registers.argument(1), registers.argument(2)];
        (*wake).waker_tid = current.tid();
        (*wake).waker_tgid = current.tgid();
        (*wake).waker_comm = current_comm();
        (*wake).waker_changes = 0;
        (*wake).reserved = 0;
        (*wake).reserved_too = 0;
        (*wake).peer_family = 0;
        if matches!(was, state::NET_RECV | state::NET_SEND | state::NET_CONNECT)
            && let Some(peer) = peer_of(task, (*wake).arguments[0] as i32)
        {
            (*wake).peer_family = u32::from(peer.family);
            (*wake).peer_port = u32::from(peer.port);
            (*wake).local_port = u32::from(peer.local_port);
            (*wake).peer_address = peer.address;
        }
        let mut bits = 0;
        if current.flags() & PF_KTHREAD != 0 {
            bits |= waker::KERNEL_THREAD;
        }
        if current.was_interrupted() {
            bits |= waker::INTERRUPTED;
        }
        let its = if (*wake).waker_tid == 0 { None } else { Account::of(current, (*wake).waker_tid) };
        if let Some(its) = its {
            bits |= waker::MEMBER;
            (*wake).waker_changes = (*its.record()).changes;
            (*wake).waker_since_ns = (*its.record()).since_ns;
            (*wake).waker_history = (*its.record()).history;
        }
        let has_stack = was == state::FUTEX_LOCK && bits == waker::MEMBER;
        (*wake).waker = if has_stack { bits | waker::STACK_FOLLOWS } else { bits };
        let frames = (&raw mut (*scratch).frames).cast();
        let bytes = bpf_get_stack(context, frames, (8 * WAKER_FRAMES) as u32, 0) as i32;
        (*wake).kernel_bytes = bytes;
        let mut frame_bytes = bytes as u32 as usize;
        if bytes < 0 || frame_bytes > 8 * WAKER_FRAMES {
            frame_bytes = 0;
        }
        let ring = (&raw const EVENTS).cast_mut().cast();
        let length = (size_of::<Wake>() + frame_bytes) as u64;
        if bpf_ringbuf_output(ring, scratch.cast(), length, NO_WAKEUP) != 0 {
            count(Stat::WakesDropped);
            return None;
        }
        count(Stat::Wakes);
        if let Some(its) = its
            && has_stack
        {
            send_release(context, its.record(), current, record, (*wake).arguments[0], now);
        }
    }
    Some(())
}

/// The stack of a thread that gives up a lock for which another one has waited.
///
/// # Safety
/// The pointers are those to accounts, and `context` is that of the program.
#[inline(always)]
unsafe fn send_release(
    context: *mut c_void,
    holder: *const ThreadRecord,
    current: Task,
    waiter: *const ThreadRecord,
    lock: u64,
    now: u64,
) {
    let Some(mut entry) = EVENTS.reserve::<SampleRecord<SMALL_ROOM>>(0) else {
        return count(Stat::WakesDropped);
    };
    let sample = entry.as_mut_ptr();
    // SAFETY: the reserved entry is a whole record, the rest by the caller's word.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).kind = event_kind::RELEASE_SAMPLE;
        (*header).tid = (*holder).tid;
        (*header).ns_tgid = (*holder).ns_tgid;
        (*header).state = state::ON_CPU;
        (*header).at_ns = now;
        (*header).threshold = u32::MAX;
        (*header).own = [(*waiter).tid, 0, 0];
        (*header).lock = lock;
        stack::read_user_part(sample, current, UserMemory::Current, DEFAULT_STACK_BYTES);
        stack::read_kernel_part(sample, context);
    }
    entry.submit(NO_WAKEUP);
}

/// The off-CPU sampler meets a thread. If it waits for a lock, who holds that, and what is that one doing?
///
/// # Safety
/// `pass` points to the present pass.
#[inline(always)]
pub unsafe fn tell_holder(account: Account, task: Task, pass: *mut Pass) -> Option<()> {
    let record = account.record();
    // SAFETY: the pointer into the map is not null; `pass` by the caller's word.
    unsafe {
        let (was, kernel_lock) =
            (core::ptr::read_volatile(&raw const (*record).state), (*record).kernel_lock);
        if config!(locks) == 0 || maps::optional_stopped() || kernel_lock == 0 && was != state::FUTEX_LOCK {
            return None;
        }
        if (*pass).counts.locks >= MOST_LOCKS_A_PASS {
            count(Stat::LocksOverLimit);
            return None;
        }
        (*pass).counts.locks += 1;
        let is_known = (*record).sampled_seq == (*record).wait_seq;
        let mut seen = LockSeen {
            kind: event_kind::LOCK_SEEN,
            tid: (*record).tid,
            ns_tgid: (*record).ns_tgid,
            weight: if is_known { (*pass).weight_again } else { (*pass).weight_new },
            at_ns: now_ns(),
            since_ns: (*record).since_ns,
            lock: kernel_lock,
            lock_kind: contention::USER,
            operation: 0,
            word: 0,
            owner: 0,
            owner_tgid: 0,
            owner_state: UNKNOWN_STATE,
            owner_comm: [0; COMM_BYTES],
        };
        if kernel_lock == 0 {
            ask_futex(&mut seen, record, task, (*pass).tick_ns);
        } else {
            seen.lock_kind = (*record).kernel_lock_kind & contention::MASK;
            ask_kernel_lock(&mut seen, (*pass).tick_ns);
        }
        count(Stat::LocksSeen);
        emit(seen, Stat::LocksDropped);
    }
    Some(())
}

/// What a holder does, and would do if the profiler did not look. The loop takes a CPU from its tick on, before all others if it
/// may: a holder that waits for a CPU since then waits for the loop, more likely than not. (A hot mutex with priority inheritance on
/// two CPUs, waiting for a CPU for 9 % of the time in which it runs or wants to: at 60 % of the looks its holder did so.)
///
/// # Safety
/// `its` points into the map of the accounts.
#[inline(always)]
unsafe fn state_of_holder(its: *const ThreadRecord, tick_ns: u64) -> u32 {
    // SAFETY: by the caller's word.
    let (code, since_ns) = unsafe { (core::ptr::read_volatile(&raw const (*its).state), (*its).since_ns) };
    let waits_for_us = matches!(code, state::RUNQ_WAKE | state::RUNQ_PREEMPT) && since_ns >= tick_ns;
    if waits_for_us { state::ON_CPU } else { code }
}

/// glibc's `pthread_mutex_t` has its word first, a count, and then the owner's tid (`__owner`), on x86_64 and aarch64. What
/// stands there in other locks may be anything: it counts only if it is the tid of a thread of this process.
#[inline(always)]
unsafe fn ask_futex(
    seen: &mut LockSeen,
    record: *const ThreadRecord,
    task: Task,
    tick_ns: u64,
) -> Option<()> {
    let registers = task.user_registers();
    let (address, operation) = (registers.argument(0), registers.argument(1));
    seen.lock = address;
    seen.operation = operation as u32;
    let mut words = [0_u32; 3];
    // SAFETY: the helper writes as many bytes as it is told, and checks the source; the program is sleepable.
    let is_whole = unsafe {
        bpf_copy_from_user_task((&raw mut words).cast(), 12, address as *const c_void, task.as_ptr(), 0) == 0
    };
    if !is_whole {
        return None;
    }
    seen.word = words[0];
    let is_pi = matches!(operation & OPERATION_MASK, LOCK_PI | LOCK_PI2);
    let owner = if is_pi { words[0] & TID_MASK } else { words[2] };
    if owner == 0 {
        return None;
    }
    // SAFETY: by the caller's word.
    let (tid, own_tid, tgid) = unsafe { ((*record).tid, (*record).own_tid, (*record).tgid) };
    let owner = if own_tid == tid { owner } else { maps::initial_tid(tgid, owner)? };
    let its = Account::under(owner)?.record();
    // SAFETY: the pointer into the map is not null.
    unsafe {
        if (*its).tgid == tgid && owner != tid {
            seen.owner = owner;
            seen.owner_tgid = tgid;
            seen.owner_state = state_of_holder(its, tick_ns);
        }
    }
    Some(())
}

/// Mutexes and semaphores that somebody holds for writing know who it is.
#[inline(always)]
unsafe fn ask_kernel_lock(seen: &mut LockSeen, tick_ns: u64) -> Option<()> {
    let kind = seen.lock_kind;
    let place = if kind & contention::MUTEX != 0 {
        offset!(mutex_owner)
    } else if kind & (contention::READ | contention::WRITE) != 0
        && kind & (contention::PERCPU | contention::SPIN) == 0
    {
        offset!(rwsem_owner)
    } else {
        return None;
    };
    if place == ABSENT {
        return None;
    }
    let owner: u64 = probe(seen.lock, place)?;
    let is_read = kind & contention::MUTEX == 0 && owner & READER_OWNED != 0;
    let owner = owner & !OWNER_FLAGS;
    if owner == 0 || is_read {
        return None;
    }
    let tid: u32 = probe(owner, offset!(task_pid))?;
    seen.owner_tgid = probe(owner, offset!(task_tgid))?;
    seen.owner_comm = probe(owner, offset!(task_comm))?;
    seen.owner = tid;
    let its = Account::under(tid)?.record();
    // SAFETY: the pointer into the map is not null.
    unsafe {
        if (*its).task == owner {
            seen.owner_state = state_of_holder(its, tick_ns);
        }
    }
    Some(())
}

const _: () = assert!(HISTORY.is_power_of_two(), "the place in the history is a mask");
