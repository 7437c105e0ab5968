//! What is said where no rule has found anything: `IDLE`, `NO_BOTTLENECK`, or `MIXED` where there is a lot to do and no single cause.

use profiler_common::state;

use super::finding::{self, Confidence};
use super::{Facts, IDLE, Verdict, VerdictId, runtimes::hidden_waits};
use crate::analyze::claim::{Claim, claim, count, decimal, percent, plural};

fn own_dump() -> Claim {
    claim!("if it is slow: a dump of the runtime's own threads (jstack, goroutine dump)")
}
/// Above this part of their time the working threads have something to do all the time.
const BUSY: f64 = 0.7;
/// Waits for a futex without a timeout that end in each second: in a runtime that hides its waits so many are no rest.
const RESTLESS: f64 = 20.0;
/// At the most where rules lacked what they need.
const WITHOUT_ALL_RULES: f64 = 0.7;

/// The verdict. `missing` says what rules could not look at.
pub fn verdict(facts: &Facts<'_>, missing: &[Claim]) -> Verdict {
    let active = facts.all_active_ns as f64 / facts.elapsed_ns.max(1) as f64;
    let threads = facts.recording.threads.len();
    if facts.working.is_empty() && active < IDLE * (threads.max(1) as f64).min(4.0) {
        match hidden_waits(facts.recording).filter(|_| handed_on_a_second(facts) > RESTLESS) {
            Some(hidden) => cannot_tell(facts, hidden),
            None => idle(facts, active, missing),
        }
    } else if facts.busyness() > BUSY && !facts.working.is_empty() {
        no_single_cause(facts, missing)
    } else {
        room_left(facts, missing)
    }
}

fn handed_on_a_second(facts: &Facts<'_>) -> f64 {
    let waits = facts.ledger.account.state(state::FUTEX_WAIT).count;
    waits as f64 / (facts.elapsed_ns as f64 / 1e9).max(1e-9)
}

/// They do nothing, and wake each other all the time: for work that is soon done, or for each other.
fn cannot_tell(facts: &Facts<'_>, hidden: &str) -> Verdict {
    let why = claim!(
        "the threads wait and wake each other {} times a second; whether they wait for work is unknown, because {} look the same from outside",
        count(handed_on_a_second(facts) as u64),
        hidden
    );
    Verdict {
        id: VerdictId::InsufficientData,
        confidence: Confidence::Low,
        score: 0.0,
        sentence: claim!("not enough data for a verdict: {}", why),
        evidence: vec![why],
        counter_evidence: vec![],
        next_steps: vec![own_dump()],
        max_gain: None,
        also: vec![],
    }
}

/// Of threads that wait, whatever they wait for.
fn of_waiting(facts: &Facts<'_>, id: VerdictId, score: f64, missing: &[Claim]) -> Verdict {
    let mut counter_evidence = missing.to_vec();
    let mut next_steps = vec![];
    let mut score = score;
    if let Some(hidden) = hidden_waits(facts.recording) {
        // It may be blocked all over.
        score = score.min(finding::BELOW_HIGH);
        counter_evidence.push(claim!("{} look the same from outside as idle ones", hidden));
        next_steps.push(own_dump());
    }
    Verdict {
        id,
        confidence: Confidence::of(score),
        score,
        sentence: Claim::default(),
        evidence: vec![],
        counter_evidence,
        next_steps,
        max_gain: None,
        also: vec![],
    }
}

fn idle(facts: &Facts<'_>, active: f64, missing: &[Claim]) -> Verdict {
    let mut verdict = of_waiting(facts, VerdictId::Idle, finding::coverage(facts), missing);
    verdict.sentence = claim!("idle: threads were active for {} of one thread's time", percent(active));
    let threads = plural(facts.recording.threads.len() as u64, "thread");
    verdict.evidence.push(claim!("{}, each active less than 20 % of the time", threads));
    verdict.next_steps.insert(0, claim!("record while it is busy"));
    verdict
}

fn room_left(facts: &Facts<'_>, missing: &[Claim]) -> Verdict {
    let most = if missing.is_empty() { 1.0 } else { WITHOUT_ALL_RULES };
    let mut verdict = of_waiting(facts, VerdictId::NoBottleneck, finding::coverage(facts).min(most), missing);
    verdict.sentence =
        claim!("no bottleneck: {} of {} CPUs used", decimal(facts.cpus_used(), 2), facts.allowed_cpus);
    verdict.evidence = what_they_do(facts);
    verdict.next_steps.insert(0, claim!("record under the load that is slow"));
    verdict
}

/// The threads have something to do all the time, and yet no cause has a fifth of it.
fn no_single_cause(facts: &Facts<'_>, missing: &[Claim]) -> Verdict {
    let score = finding::coverage(facts).min(0.59);
    Verdict {
        id: VerdictId::Mixed,
        confidence: Confidence::of(score),
        score,
        sentence: claim!("no single cause has 20 % of the working time"),
        evidence: what_they_do(facts),
        counter_evidence: missing.to_vec(),
        next_steps: vec![claim!("see the ledger and the largest stacks below")],
        max_gain: None,
        also: vec![],
    }
}

fn what_they_do(facts: &Facts<'_>) -> Vec<Claim> {
    let used = claim!("{} of {} CPUs used", decimal(facts.cpus_used(), 2), facts.allowed_cpus);
    let threads = if facts.working.is_empty() {
        claim!("no thread is active for 20 % of the time")
    } else {
        claim!(
            "{} of {} threads are active, for {} of their time ({} of it on the CPU)",
            facts.working.len(),
            facts.recording.threads.len(),
            percent(facts.busyness()),
            percent(facts.share(facts.work.on_cpu_ns))
        )
    };
    vec![used, threads]
}
