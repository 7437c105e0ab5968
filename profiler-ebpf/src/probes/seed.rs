//! Which threads are there already, and in which state? One pass of the task iterator, after everything is attached.
//!
//! A thread may change state while its account is opened. Its first event after that sets the record right: a switch
//! away charges the time to the CPU, and an arrival on a CPU without a wake-up charges it to the run queue.

use profiler_common::{ledger::flags, state};

use super::ledger::{Account, Opening, now_ns, open};
use crate::{
    classify::classify,
    filter, maps,
    task::{Task, Wait},
};

/// Opens the account of one thread if it is a target and has none.
#[inline(always)]
pub fn on_task(task: Task) -> Option<()> {
    let level = Task::current().ns_level();
    // SAFETY: the pointer into the map is not null. Later openings read it.
    unsafe { (*maps::control()?).ns_level = level };
    let (ns_tid, ns_tgid) = task.ids_at_level(level);
    let tid = task.tid();
    if !filter::is_listed(task, ns_tid, ns_tgid) || Account::of(task, tid).is_some() {
        return None;
    }
    let task_state = task.state();
    let state = if task.is_on_cpu() {
        state::ON_CPU
    } else if task_state == 0 {
        state::RUNQ_PREEMPT
    } else {
        classify(&Wait::new(task, task_state))
    };
    open(task, &Opening { tid, state, flags: flags::STATE_IS_A_GUESS, at_ns: now_ns() }).map(|_| ())
}
