//! Is this thread recorded? Membership is an account in `THREADS`.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use profiler_common::config::{target, target_bits};

use crate::{config, maps::TARGETS, task::Task};

/// Whether a thread without an account becomes a member when it is seen. `task` must be the current task.
#[inline(always)]
pub fn enters_at_first_sight(task: Task) -> bool {
    if task.tgid() == config!(own_tgid) {
        return false;
    }
    match config!(target) {
        target::ALL => true,
        target::CGROUP => current_ancestor(config!(cgroup_level)) == config!(cgroup_id),
        _ => false,
    }
}

/// The id of the current task's cgroup at a depth below the root; 0, which is no cgroup's id, if it has none that deep.
#[inline(always)]
fn current_ancestor(level: u32) -> u64 {
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
