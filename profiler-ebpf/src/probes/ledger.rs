//! How long is each thread in which state? Two look-ups a switch and one a wake-up; no stack is walked here.
//!
//! An account is charged whenever its thread changes state, so its totals cover its whole life without a gap.

use core::{ffi::c_void, ptr::NonNull};

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{
    event_kind,
    ledger::{HISTORY, ThreadEnd, ThreadRecord, flags},
    stat::Stat,
    state,
    wait_times::RUN_QUEUE,
};

use super::{disk_waits, locks, wait_times};
use crate::{
    classify::classify,
    config,
    emit::{NO_WAKEUP, count},
    filter, log,
    maps::{self, EVENTS, OWN_TIDS, THREADS},
    offset,
    task::Task,
    wait::{FileMemory, Wait},
};

/// `TASK_DEAD`: the thread has left a CPU for the last time.
pub const TASK_DEAD: u32 = 0x80;

/// CLOCK_MONOTONIC.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// One thread's account in `THREADS`.
///
/// Only the CPU that switches the thread, or the one that wakes it while it is off the CPU, writes to it; the scheduler
/// orders the two. The one overlap is a wake-up that comes while the thread is still leaving its CPU: that wake-up
/// changes nothing here (see [`Account::woken`]).
///
/// A pointer that is never null, so that no account is the null pointer itself. As a flag beside a pointer, which is what LLVM
/// made of it, the verifier of 6.1 and 5.10 forgets that the two belong together (seen with `-a`: "R1 invalid mem access
/// 'scalar'", the flag being 1 and the pointer 0).
#[derive(Clone, Copy)]
pub struct Account(NonNull<ThreadRecord>);

impl Account {
    /// The account of this very task, if it is recorded.
    #[inline(always)]
    pub fn of(task: Task, tid: u32) -> Option<Self> {
        let account = Self::under(tid)?;
        if account.is_of(task) { Some(account) } else { None }
    }

    /// Whether it is this very task's.
    #[inline(always)]
    fn is_of(self, task: Task) -> bool {
        // SAFETY: non-null pointer into the map. 0 is an account that is still being opened.
        unsafe { (*self.record()).task == task.identity() }
    }

    /// The record, for the log.
    #[inline(always)]
    pub fn shown(&self) -> &ThreadRecord {
        // SAFETY: non-null pointer into the map, to a whole record. What other CPUs change of it meanwhile
        // may show halfway.
        unsafe { self.0.as_ref() }
    }

    /// The account that stands under a tid, whoever it belongs to.
    #[inline(always)]
    pub fn under(tid: u32) -> Option<Self> {
        THREADS.get_ptr_mut(tid).and_then(NonNull::new).map(Self)
    }

    /// The record itself.
    #[inline(always)]
    pub fn record(self) -> *mut ThreadRecord {
        self.0.as_ptr()
    }

    #[inline(always)]
    fn state(self) -> u32 {
        // SAFETY: the pointer into the map is not null. Volatile for the order that `charge` writes in.
        unsafe { core::ptr::read_volatile(&raw const (*self.record()).state) }
    }

    /// Charges the time since the last change to `state`, and goes over to `next`. Returns how long that was.
    #[inline(always)]
    pub fn charge(self, state: u32, next: u32, now: u64) -> u64 {
        let record = self.record();
        // SAFETY: the pointer into the map is not null, and the index is checked: the verifier does not know that
        // codes are small.
        unsafe {
            let since = (*record).since_ns;
            // Two CPUs' clocks may differ by a little: never wrap, say how often.
            let passed = if now < since {
                count(Stat::ClockBackwards);
                0
            } else {
                now - since
            };
            if (state as usize) < state::SLOTS {
                (*record).state_ns[state as usize] += passed;
                (*record).state_count[state as usize] += 1;
            }
            if config!(locks) != 0 {
                let changes = (*record).changes;
                (*record).history[(changes as usize) & (HISTORY - 1)] = since << 6 | u64::from(state & 63);
                (*record).changes = changes.wrapping_add(1);
            }
            // In this order: a waker on another CPU that sees the new state must not charge from the old moment. Volatile
            // keeps the compiler to it, and x86_64 the CPU; aarch64 would need a barrier, which BPF has only since 5.12.
            core::ptr::write_volatile(&raw mut (*record).since_ns, now);
            core::ptr::write_volatile(&raw mut (*record).state, next);
            passed
        }
    }

    #[inline(always)]
    fn left_cpu(self, next: u32, now: u64) {
        self.charge(state::ON_CPU, next, now);
        // SAFETY: the pointer into the map is not null.
        unsafe { (*self.record()).wait_seq = (*self.record()).wait_seq.wrapping_add(1) };
    }

    #[inline(always)]
    fn entered_cpu(self, now: u64) {
        let mut was = self.state();
        if state::is_blocked(was) || was == state::ON_CPU {
            // Nobody woke it since it left the CPU, so it was ready all the time: it was woken while it was still
            // leaving (the wake-up came before the switch), or a signal kept it from blocking, which the tracepoint's
            // state shows only since 6.14.
            count(Stat::WakeBeforeSwitch);
            was = state::RUNQ_WAKE;
        }
        wait_times::add(RUN_QUEUE, self.charge(was, state::ON_CPU, now));
    }

    /// A waker came. Counts only for a thread that is blocked: one that is still on its CPU either does not block at all
    /// or is caught by `entered_cpu`.
    ///
    /// # Safety
    /// `context` is that of the program.
    #[inline(always)]
    unsafe fn woken(self, context: *mut c_void, task: Task, now: u64) {
        self.settle(task, now);
        let (was, mut over) = (self.state(), now);
        if state::is_blocked(was) {
            if config!(block_io) != 0 && disk_waits::may_wait_for_disk(was) {
                disk_waits::on_wait_over(self, task, was, now);
            }
            if config!(locks) != 0 {
                // SAFETY: by the caller's word.
                let is_told = unsafe { locks::on_wait_over(context, self, task, was, now) };
                // The kernel puts the thread on a run queue after this program, which has walked a stack: 8 to 18 µs here,
                // three times as long as an idle CPU then takes to run it. That is no wait for a CPU.
                if is_told {
                    over = now_ns();
                }
            }
            wait_times::add_in_state(was, self.charge(was, state::RUNQ_WAKE, over));
        }
    }

    /// Reads anew what a long wait is for, if its reason rests on memory. The thread is still in its wait, so all that the
    /// reason is made of is still there.
    #[inline(always)]
    pub fn settle(self, task: Task, now: u64) {
        // SAFETY: the pointer into the map is a whole record.
        let memory = unsafe { FileMemory::new(self.record(), now) };
        let was = self.state();
        if state::is_blocked(was) && memory.is_doubtful() {
            let task_state = task.state();
            let now_for = classify(&Wait::new(task, task_state, Some(memory)));
            // SAFETY: as above. A task that runs again by now has no state bits, and is left as it is; so is one whose
            // descriptor another thread has closed meanwhile, which says nothing of what the wait began for.
            unsafe {
                if task_state != 0 && now_for != state::UNKNOWN && (*self.record()).state == was {
                    (*self.record()).state = now_for;
                }
            }
        }
    }

    #[inline(always)]
    fn blocked(self, task: Task, task_state: u32, now: u64) {
        // SAFETY: the pointer into the map is a whole record.
        let memory = unsafe { FileMemory::new(self.record(), now) };
        self.left_cpu(classify(&Wait::new(task, task_state, Some(memory))), now);
        // What was decided is read back: kept over the charge, it would push something else out of the
        // registers for all.
        if config!(log) != 0 && self.state() == state::UNKNOWN {
            let registers = task.user_registers();
            let call = registers.read(offset!(regs_syscall)) as i32;
            let class = registers.syscall_class().map_or(-1, i32::from);
            log::wait_without_a_reason(self.shown(), call, class);
        }
    }

    /// Sets the first state anew, as long as nothing has happened to the account since it was opened.
    #[inline(always)]
    pub fn correct_guess(self, present_state: impl FnOnce() -> u32) {
        let record = self.record();
        // SAFETY: the pointer into the map is not null. Volatile, since another CPU may charge the account meanwhile: then
        // its own events are the better witness.
        unsafe {
            let untouched = || core::ptr::read_volatile(&raw const (*record).since_ns) == (*record).opened_ns;
            if (*record).flags & flags::STATE_IS_A_GUESS != 0 && untouched() {
                let state = present_state();
                if state != (*record).state && untouched() {
                    (*record).state = state;
                }
            }
        }
    }

    /// Closes the account and sends it. The caller removes it from the map.
    #[inline(always)]
    pub fn close(self, task: Option<Task>, now: u64) {
        let Some(mut entry) = EVENTS.reserve::<ThreadEnd>(0) else {
            return count(Stat::EndsDropped);
        };
        // SAFETY: both pointers are valid for a whole record; the verifier knows their sizes.
        unsafe {
            (*self.record()).ended_ns = now;
            if (*self.record()).own_tid != (*self.record()).tid {
                let _ = OWN_TIDS.remove([(*self.record()).tgid, (*self.record()).own_tid]);
            }
            if let Some(task) = task {
                task.read_comm(&raw mut (*self.record()).comm);
            }
            let end = entry.as_mut_ptr();
            (*end).kind = event_kind::THREAD_END;
            (*end).reserved = 0;
            core::ptr::copy_nonoverlapping(self.record(), &raw mut (*end).record, 1);
        }
        entry.submit(NO_WAKEUP);
    }
}

/// A new account: whose, in which state, since when.
pub struct Opening {
    pub tid: u32,
    pub state: u32,
    pub flags: u32,
    pub at_ns: u64,
}

/// Opens an account.
#[inline(always)]
pub fn open(task: Task, opening: &Opening) -> Option<Account> {
    let tid = opening.tid;
    // BPF_NOEXIST: two CPUs may see a thread for the first time at once (`-a`).
    if let Err(error) = THREADS.insert(tid, maps::blank()?, 1) {
        const EEXIST: i32 = -17;
        if error != EEXIST {
            count(Stat::ThreadsFull);
            log::no_room_for_an_account(tid, task.tgid());
        }
        return None;
    }
    let account = Account::under(tid)?;
    let record = account.record();
    // SAFETY: the pointers into the maps are not null. `task` is written last: until then the account counts as nobody's.
    unsafe {
        let level = maps::control().map_or(0, |control| (*control).ns_level);
        let (ns_tid, ns_tgid) = task.ids_at_level(level);
        (*record).since_ns = opening.at_ns;
        (*record).opened_ns = opening.at_ns;
        (*record).tid = tid;
        (*record).tgid = task.tgid();
        (*record).ns_tid = ns_tid;
        (*record).ns_tgid = ns_tgid;
        (*record).state = opening.state;
        (*record).flags = opening.flags | if task.is_kernel_thread() { flags::KERNEL_THREAD } else { 0 };
        (*record).wait_seq = 1;
        let own_tid = task.own_tid();
        (*record).own_tid = own_tid;
        if config!(locks) != 0 && own_tid != tid {
            // Where there is no room, the holders of this thread's locks are not known.
            let _ = OWN_TIDS.insert([(*record).tgid, own_tid], tid, 0);
        }
        task.read_comm(&raw mut (*record).comm);
        core::ptr::write_volatile(&raw mut (*record).task, task.identity());
    }
    count(Stat::LeftCpu);
    Some(account)
}

/// `prev` leaves the CPU and `next` enters it.
#[inline(always)]
pub fn on_switch(preempt: bool, prev: Task, next: Task, prev_state: u32) {
    let (prev_tid, next_tid) = (prev.tid(), next.tid());
    // All idle threads have tid 0; none is recorded.
    let leaving = if prev_tid == 0 { None } else { account_or_open(prev, prev_tid) };
    let entering = if next_tid == 0 { None } else { Account::of(next, next_tid) };
    if leaving.is_none() && entering.is_none() || maps::stopped() {
        return;
    }
    let now = now_ns();
    if let Some(account) = leaving {
        // The profiler itself has to run to look for waits. The one that it causes by that is none to look for.
        if next.tgid() != config!(own_tgid) {
            count(Stat::LeftCpu);
        }
        switched_out(account, preempt, prev, prev_tid, prev_state, now);
    }
    if let Some(account) = entering {
        account.entered_cpu(now);
    }
}

#[inline(always)]
fn switched_out(account: Account, preempt: bool, prev: Task, tid: u32, prev_state: u32, now: u64) {
    // A preempted thread stays ready whatever its state says: it may have been about to block.
    if preempt || prev_state == 0 {
        account.left_cpu(state::RUNQ_PREEMPT, now);
        // SAFETY: the pointer into the map is not null.
        unsafe { (*account.record()).preemptions += 1 };
    } else if prev_state & TASK_DEAD != 0 {
        account.left_cpu(state::EXIT, now);
        account.close(Some(prev), now);
        let _ = THREADS.remove(tid);
    } else {
        account.blocked(prev, prev_state, now);
    }
}

#[inline(always)]
fn account_or_open(task: Task, tid: u32) -> Option<Account> {
    let account = Account::of(task, tid);
    if account.is_some() || !filter::enters_at_first_sight(task) || maps::stopped() {
        return account;
    }
    if let Some(stale) = Account::under(tid) {
        // Another thread had this tid and its end was not seen, or the tid changed hands in an exec.
        count(Stat::TidReused);
        log::account_of_another(tid, task.tgid());
        stale.close(None, now_ns());
        let _ = THREADS.remove(tid);
    }
    // It was on the CPU; since when is not known, so its account begins here.
    let account = open(task, &Opening { tid, state: state::ON_CPU, flags: 0, at_ns: now_ns() })?;
    log::account_at_first_sight(account.shown());
    Some(account)
}

/// Somebody wakes `task`.
///
/// # Safety
/// `context` is that of the program.
#[inline(always)]
pub unsafe fn on_waking(context: *mut c_void, task: Task) -> Option<()> {
    let tid = task.tid();
    // Like `Account::of`, which does not tell a stranger from one whose id another has.
    let account = Account::under(tid)?;
    if !account.is_of(task) {
        log::woken_beside_its_account(tid, task.tgid());
        return None;
    }
    if !maps::stopped() {
        // SAFETY: by the caller's word.
        unsafe { account.woken(context, task, now_ns()) };
    }
    Some(())
}
