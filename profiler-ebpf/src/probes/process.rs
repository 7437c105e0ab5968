//! Which processes and threads come, go and change? Membership passes from a thread to what it creates.

use profiler_common::{config::target, event_kind, ledger::flags, process::ProcessEvent, stat::Stat, state};

use super::ledger::{Account, Opening, now_ns, open};
use crate::{
    config,
    emit::emit,
    filter, log,
    maps::{self, THREADS},
    task::Task,
};

/// A recorded thread creates a thread, a worker of io_uring, or a process.
#[inline(always)]
pub fn on_fork(parent: Task, child: Task) -> Option<()> {
    let _member = Account::of(parent, parent.tid())?;
    let is_thread = child.tgid() == parent.tgid();
    if maps::stopped() || !(is_thread || config!(children) != 0 || config!(target) != target::LISTED) {
        return None;
    }
    let now = now_ns();
    let tid = child.tid();
    // The idle thread of a CPU that comes online (`fork_idle`) is none.
    if tid == 0 {
        return None;
    }
    if let Some(stale) = Account::under(tid) {
        crate::emit::count(Stat::TidReused);
        log::account_of_another(tid, child.tgid());
        stale.close(None, now);
        let _ = THREADS.remove(tid);
    }
    // It is ready at once: `wake_up_new_task` follows without an event that the ledger sees.
    let account =
        open(child, &Opening { tid, state: state::RUNQ_WAKE, flags: flags::BORN_INSIDE, at_ns: now })?;
    log::account_of_a_created_thread(account.shown());
    if !is_thread {
        tell(event_kind::FORK, child, Some(parent), now);
    }
    Some(())
}

/// A thread runs a new image. If it was not the leader of its process it has the leader's tid from here on.
#[inline(always)]
pub fn on_exec(task: Task, old_tid: u32) -> Option<()> {
    if maps::stopped() {
        return None;
    }
    let (now, tid) = (now_ns(), task.tid());
    if old_tid != tid && Account::of(task, old_tid).is_some() {
        moved_to_leader(task, old_tid, tid, now);
    }
    if Account::of(task, tid).or_else(|| open_if_expected(task, tid, now)).is_some() {
        tell(event_kind::EXEC, task, None, now);
    } else if config!(tell_every_exec) != 0 {
        tell(event_kind::STRANGER_EXEC, task, None, now);
    }
    Some(())
}

/// A command that is started for the recording was named as a target and waits: its account begins with its first
/// instruction, and what it did before its exec is ours.
#[inline(always)]
fn open_if_expected(task: Task, tid: u32, now: u64) -> Option<Account> {
    if config!(target) != target::LISTED {
        return None;
    }
    // SAFETY: the pointer into the map is not null.
    let level = unsafe { (*maps::control()?).ns_level };
    let (ns_tid, ns_tgid) = task.ids_at_level(level);
    if !filter::is_listed(task, ns_tid, ns_tgid) {
        return None;
    }
    let account = open(task, &Opening { tid, state: state::ON_CPU, flags: flags::BORN_INSIDE, at_ns: now })?;
    log::account_at_exec(account.shown());
    Some(account)
}

/// Closes the accounts of the thread under its old tid and of the leader that it replaces, and opens one under the new
/// tid (`de_thread` and `exchange_tids` in fs/exec.c; all other threads of the process are dead by now).
#[inline(always)]
fn moved_to_leader(task: Task, old_tid: u32, tid: u32, now: u64) {
    if let Some(account) = Account::under(old_tid) {
        account.charge(state::ON_CPU, state::ON_CPU, now);
        account.close(Some(task), now);
        let _ = THREADS.remove(old_tid);
    }
    if let Some(leader) = Account::under(tid) {
        leader.charge(state::EXIT, state::EXIT, now);
        leader.close(None, now);
        let _ = THREADS.remove(tid);
    }
    if let Some(account) =
        open(task, &Opening { tid, state: state::ON_CPU, flags: flags::BORN_INSIDE, at_ns: now })
    {
        log::account_of_a_new_leader(account.shown(), old_tid);
    }
}

#[inline(always)]
fn tell(kind: u32, task: Task, parent: Option<Task>, now: u64) {
    // SAFETY: the pointer into the map is not null.
    let level = maps::control().map_or(0, |control| unsafe { (*control).ns_level });
    let event = ProcessEvent {
        kind,
        tid: task.tid(),
        ns_tgid: task.ids_at_level(level).1,
        parent_ns_tgid: parent.map_or(0, |parent| parent.ids_at_level(level).1),
        at_ns: now,
        comm: task.comm(),
    };
    emit(event, Stat::ProcessEventsDropped);
}
