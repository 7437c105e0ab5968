//! Which threads are there already, and in which state? Two passes of the task iterator, after everything is attached.
//!
//! A thread may be switching while its account is opened: too late for its event to be seen, and too early for its
//! state to be final. So a second pass looks again at each account that has seen no event: no switch has begun since it
//! was opened, so what the task shows now is what it has been all the time. The first event also sets a wrong guess right:
//! a switch away charges the time to the CPU, an arrival on a CPU without a wake-up to the run queue.
//!
//! A last pass before the end settles the reasons of waits that outlast the recording.

use profiler_common::{ledger::flags, state};

use super::ledger::{Account, Opening, TASK_DEAD, now_ns, open};
use crate::{classify::classify, filter, log, maps, task::Task, wait::Wait};

/// Opens the account of one thread if it is a target, or looks again at the one that it has.
#[inline(always)]
pub fn on_task(task: Task) -> Option<()> {
    let tid = task.tid();
    if let Some(account) = Account::of(task, tid) {
        account.correct_guess(|| present_state(task));
        account.settle(task, now_ns());
        return Some(());
    }
    // It has ended, and its account was closed with that; it stays among the tasks until somebody has waited for it.
    if task.state() & TASK_DEAD != 0 {
        return None;
    }
    let level = Task::current().ns_level();
    // SAFETY: the pointer into the map is not null. Later openings read it.
    unsafe { (*maps::control()?).ns_level = level };
    let (ns_tid, ns_tgid) = task.ids_at_level(level);
    if !filter::is_listed(task, ns_tid, ns_tgid) {
        return None;
    }
    let state = present_state(task);
    let account = open(task, &Opening { tid, state, flags: flags::STATE_IS_A_GUESS, at_ns: now_ns() })?;
    log::account_of_a_present_thread(account.shown());
    Some(())
}

#[inline(always)]
fn present_state(task: Task) -> u32 {
    let task_state = task.state();
    if task.is_on_cpu() {
        state::ON_CPU
    } else if task_state == 0 {
        state::RUNQ_PREEMPT
    } else {
        classify(&Wait::new(task, task_state, None))
    }
}
