//! Is this thread recorded? Membership is an account in `THREADS`.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use profiler_common::config::{target, target_bits};

use crate::{config, maps::TARGETS, task::Task};

/// Whether a thread without an account becomes a member when it is seen. `task` must be the current task.
#[inline(always)]
pub fn enters_at_first_sight(task: Task) -> bool {
    match config!(target) {
        target::ALL => task.tgid() != config!(own_tgid),
        // SAFETY: a helper without pointers. At a level that does not exist it answers 0, which is no cgroup's id.
        target::CGROUP => {
            (unsafe { bpf_get_current_ancestor_cgroup_id(config!(cgroup_level) as i32) })
                == config!(cgroup_id)
        }
        _ => false,
    }
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
