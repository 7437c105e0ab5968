//! `LOCK_KERNEL`: threads wait for a lock of the kernel, asleep or spinning.

use super::lock_user::sentence;
use crate::analyze::KernelLockRow;
use crate::analyze::claim::{Claim, claim, count, percent};
use crate::analyze::locks::lock_name;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

const SHARE: f64 = 0.1;
const TOP: f64 = 0.5;
/// All waits together, as a share of the recording's length: below it they are of no weight, whatever else there is.
const LEAST: f64 = 0.05;

pub struct LockKernel;

impl Rule for LockKernel {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let locks = &facts.recording.locks;
        let ns = facts
            .locks
            .kernel
            .iter()
            .fold(0_u64, |sum, row| sum.saturating_add(row.slept_ns).saturating_add(row.spun_ns));
        let is_small = (ns as f64) < LEAST * facts.elapsed_ns as f64;
        let share = if is_small { 0.0 } else { facts.share(ns).min(1.0) };
        if !locks.kernel_followed {
            let suspected =
                facts.share(facts.work.memory_ns.saturating_add(facts.work.file_wait_ns)) >= 2.0 * SHARE;
            return if suspected {
                Outcome::NotEnoughData(claim!(
                    "kernel locks were not followed, so waits in page faults, memory maps and files have no known lock"
                ))
            } else {
                Outcome::Clear
            };
        }
        let Some(row) = facts.locks.kernel.first().filter(|_| share >= SHARE) else { return Outcome::Clear };
        let own = row.slept_ns.saturating_add(row.spun_ns);
        let part = own as f64 / ns.max(1) as f64;
        let name = describe(facts, row);
        let mut evidence = vec![claim!(
            "{}: {} of kernel lock time, {} waits ({} asleep, {} spinning)",
            name,
            percent(part),
            count(row.count),
            percent(row.slept_ns as f64 / own.max(1) as f64),
            percent(row.spun_ns as f64 / own.max(1) as f64)
        )];
        evidence.extend(sentence(facts, &row.holder));
        evidence.extend(row.waited_in.as_ref().map(|function| claim!("requested in `{}`", function)));
        let counter_evidence = if part < TOP {
            vec![claim!("the first lock has only {} of these waits", percent(part))]
        } else {
            vec![]
        };
        let is_mmap =
            facts.recording.locks.locks.get(row.lock as usize).is_some_and(|lock| lock.name == "mmap_lock");
        let next = if is_mmap {
            claim!(
                "several threads of a process change its address space (mmap, munmap, mprotect) or fault in pages at once: do it less often, in larger pieces, or in several processes"
            )
        } else {
            claim!(
                "find the system call by the kernel function that requests the lock; call it less often, or from fewer threads at once"
            )
        };
        Outcome::Found(Finding {
            id: VerdictId::LockKernel,
            share,
            sentence: claim!(
                "threads wait {} of their working time for {} in the kernel",
                percent(share),
                name
            ),
            evidence,
            counter_evidence,
            next_steps: vec![next],
            max_gain: gain(share),
            agreement: vec![
                if part >= TOP { Agreement::Agrees } else { Agreement::Silent },
                // The kernel itself has reported each of these waits.
                Agreement::Agrees,
            ],
            explains: &[VerdictId::DiskWriteBound],
            precedence: 0.1,
            ..Finding::default()
        })
    }
}

/// `the rwsem mmap_lock`
fn describe(facts: &Facts<'_>, row: &KernelLockRow) -> Claim {
    let lock = facts.recording.locks.locks.get(row.lock as usize);
    match lock {
        Some(lock) if !lock.name.is_empty() => claim!("the {} `{}`", row.kind, lock.name),
        _ => {
            if let Some(function) = &row.waited_in {
                claim!("the {} requested in `{}`", row.kind, function)
            } else {
                claim!("the {} {}", row.kind, lock_name(facts.recording, row.lock))
            }
        }
    }
}
