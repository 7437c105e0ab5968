//! Locks of the kernel that recorded threads waited for, as its contention events report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use profiler_common::lock::contention;

use crate::analyze::add;
use crate::analyze::locks::holder::{Holder, holder};
use crate::analyze::stacks::label::frame_labels;
use crate::analyze::stacks::shares::Shares;
use crate::analyze::stacks::waits_in::telling;
use crate::recording::{LockId, Span};

/// One lock of the kernel that recorded threads waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelLockRow {
    pub lock: LockId,
    /// `mutex`, `rwsem`, `spinlock` and so on.
    pub kind: &'static str,
    pub count: u64,
    /// Asleep, and spinning.
    pub slept_ns: u64,
    pub spun_ns: u64,
    pub longest_ns: u64,
    pub holder: Holder,
    /// Kernel function in which most of it was waited for.
    pub waited_in: Option<String>,
}

/// The longest waited for first.
pub(in crate::analyze) fn kernel_locks(recording: &Span, shares: &Shares) -> Vec<KernelLockRow> {
    let mut rows: BTreeMap<LockId, KernelLockRow> = BTreeMap::new();
    for waits in &recording.locks.kernel_waits {
        let row = rows.entry(waits.lock).or_insert_with(|| KernelLockRow {
            lock: waits.lock,
            kind: kernel_kind(waits.kind),
            count: 0,
            slept_ns: 0,
            spun_ns: 0,
            longest_ns: 0,
            holder: holder(recording, waits.lock),
            waited_in: waited_in(recording, shares, waits.lock),
        });
        row.count = row.count.saturating_add(waits.count);
        row.longest_ns = row.longest_ns.max(waits.longest_ns);
        let sum = if waits.kind & contention::SPIN != 0 { &mut row.spun_ns } else { &mut row.slept_ns };
        *sum = sum.saturating_add(waits.waited_ns);
    }
    let mut rows: Vec<KernelLockRow> = rows.into_values().collect();
    rows.sort_by_key(|row| (Reverse(row.slept_ns.saturating_add(row.spun_ns)), row.lock));
    rows
}

/// What the kernel's bits say (`LCB_F_*`).
fn kernel_kind(bits: u32) -> &'static str {
    let has = |bit: u32| bits & bit != 0;
    if has(contention::MUTEX) {
        "mutex"
    } else if has(contention::PERCPU) {
        "percpu-rwsem"
    } else if has(contention::RT) {
        "rt_mutex"
    } else if has(contention::SPIN) {
        if has(contention::READ) || has(contention::WRITE) { "rwlock" } else { "spinlock" }
    } else if has(contention::READ) || has(contention::WRITE) {
        "rwsem"
    } else {
        "semaphore"
    }
}

/// The function that asks for it: the innermost that is neither the lock's own nor the scheduler's.
fn waited_in(recording: &Span, shares: &Shares, lock: LockId) -> Option<String> {
    let mut by_function: HashMap<String, u64> = HashMap::new();
    for (sample, &ns) in
        recording.samples.iter().zip(&shares.ns).filter(|(sample, _)| sample.lock == Some(lock))
    {
        let stack = &recording.stacks[sample.stack as usize];
        let labels: Vec<String> = crate::analyze::stacks::label::kernel_frames(recording, stack)
            .iter()
            .flat_map(|&frame| frame_labels(recording, frame))
            .map(|label| label.text.into_owned())
            .collect();
        let own = |name: &&str| !is_of_kernel_locks(name);
        if let Some(function) = telling(labels.iter().map(String::as_str).filter(own)) {
            add(by_function.entry(function.to_owned()).or_default(), ns.max(1));
        }
    }
    by_function.into_iter().max_by_key(|(name, ns)| (*ns, Reverse(name.clone()))).map(|(name, _)| name)
}

fn is_of_kernel_locks(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "mutex_",
        "rwsem_",
        "down_",
        "queued_spin_lock",
        "queued_read_lock",
        "queued_write_lock",
        "_raw_spin",
        "_raw_read",
        "_raw_write",
        "osq_lock",
        "percpu_down",
        "__percpu_",
        "rt_mutex",
        "native_queued",
    ];
    PARTS.iter().any(|part| name.trim_start_matches('_').starts_with(part.trim_start_matches('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_the_kernel_are_told_by_its_own_bits() {
        let kinds = [32 | 1, 32, 2, 4, 1, 1 | 2, 16 | 2, 8].map(kernel_kind);
        assert_eq!(
            kinds,
            ["mutex", "mutex", "rwsem", "rwsem", "spinlock", "rwlock", "percpu-rwsem", "rt_mutex"]
        );
    }
}
