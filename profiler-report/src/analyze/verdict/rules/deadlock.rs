//! `DEADLOCK`: threads wait for each other in a circle.

use crate::analyze::claim::{Claim, claim, seconds};
use crate::analyze::locks::lock_name;
use crate::analyze::verdict::finding::Finding;
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

pub struct Deadlock;

impl Rule for Deadlock {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let Some(deadlock) = facts.locks.deadlocks.first() else { return Outcome::Clear };
        let step = |&(thread, lock): &(u32, u32)| {
            claim!("{} waits for {}", facts.thread_name(thread), lock_name(facts.recording, lock))
        };
        let circle: Vec<Claim> = deadlock.steps.iter().map(step).collect();
        let first = deadlock.steps.first().map_or_else(String::new, |&(thread, _)| facts.thread_name(thread));
        let since = seconds(facts.recording.meta.ended_at_ns.saturating_sub(deadlock.since_ns));
        Outcome::Found(Finding {
            id: VerdictId::Deadlock,
            share: 1.0,
            sentence: claim!(
                "deadlock: {} threads have waited for each other for at least {}",
                deadlock.steps.len(),
                since
            ),
            evidence: vec![claim!("{}, held by {}", Claim::list(", held by the next; ", &circle), first)],
            counter_evidence: vec![],
            next_steps: vec![claim!(
                "take these locks in the same order everywhere; the stacks below show where"
            )],
            max_gain: None,
            // The owners are the locks' own word, and nobody who could release them runs.
            agreement: vec![Agreement::Agrees],
            explains: &[VerdictId::LockUser, VerdictId::LockKernel, VerdictId::LockHeldAcrossIo],
            precedence: 1.0,
            ..Finding::default()
        })
    }
}
