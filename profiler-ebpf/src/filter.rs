//! Is this thread recorded? Membership is an account in `THREADS`.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use profiler_common::{
    config::{target, target_bits},
    offsets::ABSENT,
};

use crate::{config, maps::TARGETS, offset, task::Task};

/// Whether a thread without an account becomes a member when it is seen. `task` must be the current task.
#[inline(always)]
pub fn enters_at_first_sight(task: Task) -> bool {
    if task.tgid() == config!(own_tgid) {
        return false;
    }
    match config!(target) {
        target::ALL => true,
        target::CGROUP => current_ancestor(task, config!(cgroup_level)) == config!(cgroup_id),
        _ => false,
    }
}

/// The id of the current task's cgroup at a depth below the root; 0, which is no cgroup's id, if it has none that deep.
///
/// Programs at tracepoints may call the helper since 5.16 only (95b861a7935bf75f647959073093ab8058b88c26). A kernel that is
/// asked for the ids themselves is one from before 6.1, where the struct still holds them.
#[inline(always)]
fn current_ancestor(task: Task, level: u32) -> u64 {
    if offset!(cgroup_ancestor_ids) != ABSENT {
        return task.ancestor_cgroup(level);
    }
    // SAFETY: a helper without pointers.
    unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) }
}

/// Whether the seeding pass opens an account for a thread, given its ids in the profiler's PID namespace.
#[inline(always)]
pub fn is_listed(task: Task, ns_tid: u32, ns_tgid: u32) -> bool {
    if config!(target) == target::ALL {
        return task.tgid() != config!(own_tgid);
    }
    has_bit(ns_tgid, target_bits::PROCESS) || has_bit(ns_tid, target_bits::THREAD)
}

#[inline(always)]
fn has_bit(id: u32, bit: u32) -> bool {
    // SAFETY: userspace changes `TARGETS` only between two passes.
    unsafe { TARGETS.get(id) }.is_some_and(|bits| bits & bit != 0)
}
