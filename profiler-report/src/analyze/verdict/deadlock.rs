//! `DEADLOCK`: threads wait for each other in a circle.

use super::finding::Finding;
use super::{Facts, Outcome, Rule, VerdictId};
use crate::analyze::locks::lock_name;
use crate::analyze::numbers::seconds;

pub struct Deadlock;

impl Rule for Deadlock {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let Some(deadlock) = facts.locks.deadlocks.first() else { return Outcome::Clear };
        let step = |&(thread, lock): &(u32, u32)| {
            format!("{} waits for {}", facts.thread_name(thread), lock_name(facts.recording, lock))
        };
        let circle: Vec<String> = deadlock.steps.iter().map(step).collect();
        let first = deadlock.steps.first().map_or(String::new(), |&(thread, _)| facts.thread_name(thread));
        let since = seconds(facts.recording.meta.ended_at_ns.saturating_sub(deadlock.since_ns));
        Outcome::Found(Finding {
            id: VerdictId::Deadlock,
            share: 1.0,
            sentence: format!(
                "deadlock: {} threads have waited for each other for at least {since}",
                deadlock.steps.len()
            ),
            evidence: vec![format!("{}, held by {first}", circle.join(", held by the next; "))],
            counter_evidence: vec![],
            next_steps: vec![
                "take these locks in the same order everywhere; the stacks below show where".to_owned(),
            ],
            max_gain: None,
            // The owners are the locks' own word, and nobody who could release them runs.
            agreement: vec![super::Agreement::Agrees],
            explains: &[VerdictId::LockUser, VerdictId::LockKernel, VerdictId::LockHeldAcrossIo],
            precedence: 1.0,
            ..Finding::default()
        })
    }
}
