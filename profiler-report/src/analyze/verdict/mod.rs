//! The verdict: what the bottleneck is, how sure that is, what speaks against it, what to look at next, and what mending it can gain
//! at the most. docs/verdicts.md has each rule in words.
//!
//! In: [`Facts`]. Out: one [`Verdict`]. A rule is a file; it sees plain data and may answer that there is not enough of it. That nothing
//! is wrong is a good answer, and so is that it cannot be told.

mod id;
mod facts;
mod finding;
mod nothing;
mod reasons;
mod rules;
mod runtimes;
mod times;
mod disk_kinds;
#[cfg(test)]
mod tests;

pub use facts::Facts;
pub use finding::{Agreement, Confidence, Finding};
pub use id::VerdictId;
pub use times::Parts;

use crate::analyze::claim::{Claim, claim, percent, seconds};

/// What a rule says.
pub enum Outcome {
    Found(Finding),
    Clear,
    /// Its cause may be there, but what would show it is missing.
    NotEnoughData(Claim),
}

/// One cause.
pub trait Rule: Sync {
    /// Looks for it.
    fn check(&self, facts: &Facts<'_>) -> Outcome;
}

/// Each rule. Of two findings that explain the same time, the first one in this order stands.
const RULES: &[&dyn Rule] = &[
    &rules::deadlock::Deadlock,
    &rules::cpu_quota::CpuQuota,
    &rules::memory_pressure::MemoryPressure,
    &rules::lock_held_across_io::LockHeldAcrossIo,
    &rules::lock_user::LockUser,
    &rules::lock_kernel::LockKernel,
    &rules::writeback_throttled::WritebackThrottled,
    &rules::fsync_bound::FsyncBound,
    &rules::disk_bound::DiskRead,
    &rules::disk_bound::DiskWrite,
    &rules::cpu_saturated::CpuSaturated,
    &rules::cpu_single_thread::CpuSingleThread,
    &rules::cpu_bound::CpuBound,
    &rules::downstream_wait::DownstreamWait,
    &rules::ipc_wait::IpcWait,
];

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub id: VerdictId,
    pub confidence: Confidence,
    /// From 0 to 1.
    pub score: f64,
    /// What it is, with its numbers.
    pub sentence: Claim,
    pub evidence: Vec<Claim>,
    pub counter_evidence: Vec<Claim>,
    pub next_steps: Vec<Claim>,
    /// So many times as fast, if the cause were gone and nothing else came in its place: an upper bound.
    pub max_gain: Option<f64>,
    /// Other causes that were found, the largest first: which, and its share of the working time.
    pub also: Vec<(VerdictId, f64)>,
}

/// Above this share of losses nothing is said.
const LOST_LIMIT: f64 = 0.01;
/// Below this share of blocked time with a reason.
const CLASSIFIED_LIMIT: f64 = 0.8;
/// Above this residual.
const RESIDUAL_LIMIT: f64 = 0.05;
/// Shorter recordings are not judged: a second of a service says little, and the kernel's counters have a grain of 10 ms.
const SHORTEST_NS: u64 = 900_000_000;
/// Two causes whose shares are this near are reported as a mixture.
const NEAR: f64 = 0.05;
/// All threads together do less than this, as a share of the recording's length: nobody waits for them.
const IDLE: f64 = 0.05;

impl Verdict {
    /// Judges.
    pub fn of(facts: &Facts<'_>) -> Self {
        if let Some(verdict) = insufficient(facts) {
            return verdict;
        }
        let mut missing = Vec::new();
        let mut found: Vec<Finding> = Vec::new();
        for rule in RULES {
            match rule.check(facts) {
                Outcome::Found(finding) => found.push(finding),
                Outcome::Clear => {}
                Outcome::NotEnoughData(why) => missing.push(why),
            }
        }
        choose(facts, found, &missing)
    }
}

/// Why nothing can be said at all.
fn insufficient(facts: &Facts<'_>) -> Option<Verdict> {
    let trust = facts.trust;
    let mut why = Vec::new();
    let mut next = Vec::new();
    if facts.elapsed_ns < SHORTEST_NS {
        why.push(claim!("the recording is only {} long", seconds(facts.elapsed_ns)));
        next.push(claim!("record for longer: `-d 10`"));
    }
    if facts.recording.threads.is_empty() {
        why.push(claim!("no thread was seen"));
    }
    if trust.lost_ratio > LOST_LIMIT {
        why.push(claim!("{} of the events were lost", percent(trust.lost_ratio)));
        if let Some(worst) = trust.losses.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio())) {
            next.push(claim!("try: {}", worst.kind.advice()));
        }
    }
    let classified = facts.ledger.classified_ratio();
    if classified < CLASSIFIED_LIMIT && facts.ledger.unknown_ns as f64 > IDLE * facts.elapsed_ns as f64 {
        why.push(claim!("the reason is known for only {} of the blocked time", percent(classified)));
    }
    if facts.ledger.residual_ratio() > RESIDUAL_LIMIT {
        why.push(claim!("the books do not close: {} is missing", percent(facts.ledger.residual_ratio())));
    }
    if why.is_empty() {
        return None;
    }
    let sentence = claim!("not enough data for a verdict: {}", Claim::list("; ", &why));
    Some(Verdict {
        id: VerdictId::InsufficientData,
        confidence: Confidence::Low,
        score: 0.0,
        sentence,
        evidence: why,
        counter_evidence: vec![],
        next_steps: next,
        max_gain: None,
        also: vec![],
    })
}

/// The one that counts, of those that were found.
fn choose(facts: &Facts<'_>, found: Vec<Finding>, missing: &[Claim]) -> Verdict {
    let mut left: Vec<Finding> = Vec::new();
    for finding in found {
        // What another one explains already is no cause of its own.
        if !left.iter().any(|other| other.explains.contains(&finding.id)) {
            left.push(finding);
        }
    }
    left.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
    let mut left = left.into_iter();
    let Some(first) = left.next() else { return nothing::verdict(facts, missing) };
    let others: Vec<Finding> = left.collect();
    let also = others.iter().map(|other| (other.id, other.share)).collect();
    if let Some(second) = others.first().filter(|second| is_mixture(&first, second)) {
        return mixture(facts, &first, second, also);
    }
    let score = finding::score(facts, &first).min(finding::most(&first, &others));
    let mut counter_evidence = first.counter_evidence;
    for other in &others {
        counter_evidence.push(claim!("{}: {} of the working time", other.id, percent(other.share)));
    }
    Verdict {
        id: first.id,
        confidence: Confidence::of(score),
        score,
        sentence: first.sentence,
        evidence: first.evidence,
        counter_evidence,
        next_steps: first.next_steps,
        max_gain: first.max_gain,
        also,
    }
}

/// Reads and writes are one cause, the disk, and each mentions the other.
fn is_mixture(first: &Finding, second: &Finding) -> bool {
    let is_disk =
        |finding: &Finding| matches!(finding.id, VerdictId::DiskReadBound | VerdictId::DiskWriteBound);
    !(is_disk(first) && is_disk(second))
        && (first.share - second.share).abs() < NEAR
        && first.is_plain
        && second.is_plain
}

fn mixture(facts: &Facts<'_>, first: &Finding, second: &Finding, also: Vec<(VerdictId, f64)>) -> Verdict {
    let score = finding::score(facts, first).min(finding::score(facts, second)).min(finding::BELOW_HIGH);
    let evidence = [first, second].map(|finding| claim!("{}: {}", finding.id, finding.sentence)).to_vec();
    Verdict {
        id: VerdictId::Mixed,
        confidence: Confidence::of(score),
        score,
        sentence: claim!(
            "two causes: {} ({} of the working time) and {} ({})",
            first.id,
            percent(first.share),
            second.id,
            percent(second.share)
        ),
        evidence,
        counter_evidence: vec![],
        next_steps: first.next_steps.iter().chain(&second.next_steps).cloned().collect(),
        max_gain: first.max_gain.zip(second.max_gain).map(|(a, b)| a.max(b)),
        also: [(first.id, first.share)].into_iter().chain(also).collect(),
    }
}
