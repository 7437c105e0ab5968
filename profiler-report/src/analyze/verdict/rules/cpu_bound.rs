//! `CPU_BOUND`: the threads run nearly all the time.

use crate::analyze::claim::{Claim, claim, decimal, percent, plural};
use crate::analyze::verdict::finding::Finding;
use crate::analyze::verdict::times::Times;
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

/// Of the working time on the CPU, at least.
pub const SHARE: f64 = 0.7;
/// Of the working threads' whole time, at least: with less there is room left,
const BUSY: f64 = 0.7;
/// but not where they use so much of the CPUs that they may use: short-lived processes wait for each other's ends in turn;
const ALL: f64 = 0.85;
/// nor where they have this part of CPUs that others have the rest of;
const MOST: f64 = 0.5;
/// nor where lives shorter than half the recording, one after another, keep a CPU busy.
const ONE: f64 = 0.85;
/// A function that is on the CPU for this share of it is worth looking at.
const HOT: f64 = 0.1;

pub struct CpuBound;

impl Rule for CpuBound {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let share = facts.share(facts.work.on_cpu_ns);
        let busy = facts.work.on_cpu_ns as f64 / facts.work.elapsed_ns.max(1) as f64;
        let used = facts.cpus_used();
        let is_full =
            facts.allowed_busy().is_some_and(|busy| busy >= ALL) && used >= MOST * facts.allowed_cpus;
        let is_sure = busy >= BUSY || used >= ALL * facts.allowed_cpus || is_full;
        if share < SHARE || !(is_sure || used >= ONE && is_of_short_lives(facts)) {
            return Outcome::Clear;
        }
        let (hot, spins) = hottest(facts);
        let mut evidence = vec![
            claim!(
                "{} on the CPU for {} of the time",
                plural(facts.working.len() as u64, "active thread"),
                percent(busy)
            ),
            claim!("{} of {} CPUs used", decimal(facts.cpus_used(), 2), facts.allowed_cpus),
        ];
        evidence.extend(hot.iter().cloned());
        let mut counter_evidence = vec![];
        counter_evidence.extend(spins.clone());
        if !is_sure {
            counter_evidence.push(claim!(
                "threads are short-lived and CPUs are free, so one may be waiting for another to end"
            ));
        }
        if let Some(steal) = facts.steal().filter(|steal| *steal > 0.05) {
            counter_evidence.push(claim!("the hypervisor took {} of the CPU time", percent(steal)));
        }
        let next = if spins.is_some() {
            claim!("it spins for a lock: the holder is not running, or holds it for long")
        } else {
            claim!("see the on-CPU stacks below, or a flamegraph: `-o cpu.svg --view cpu`")
        };
        Outcome::Found(Finding {
            id: VerdictId::CpuBound,
            share,
            sentence: claim!("active threads spend {} of their working time on the CPU", percent(share)),
            evidence,
            counter_evidence,
            next_steps: vec![next],
            max_gain: hot_gain(facts),
            agreement: agreement(facts)
                .into_iter()
                .chain((!is_sure).then_some(Agreement::Contradicts))
                .collect(),
            samples: Some(facts.trust.on_cpu_samples).filter(|samples| *samples > 0),
            is_plain: true,
            ..Finding::default()
        })
    }
}

/// Whether most of the time on the CPU is that of threads that lived for less than half the recording.
fn is_of_short_lives(facts: &Facts<'_>) -> bool {
    let is_short = |times: &Times| times.elapsed_ns < facts.elapsed_ns / 2;
    let short = facts.working.iter().filter(|working| is_short(&working.times));
    let short = short.fold(0_u64, |sum, working| sum.saturating_add(working.times.on_cpu_ns));
    short > facts.work.on_cpu_ns / 2
}

/// What other sources say of time on the CPU.
pub fn agreement(facts: &Facts<'_>) -> Vec<Agreement> {
    let checked = facts.cross_check.filter(|check| check.schedstat_run_ns > 0.0);
    let difference =
        checked.map(|check| (check.on_cpu_ns - check.schedstat_run_ns).abs() / check.schedstat_run_ns);
    let schedstat = Agreement::by(difference.map(|difference| 1.0 - difference), 0.9, 0.7);
    // Who runs all the time keeps that many CPUs busy.
    let used = facts.cpus_used() / f64::from(facts.recording.meta.cpus.max(1));
    let machine = Agreement::by(facts.machine_busy().map(|busy| busy - 0.9 * used), 0.0, -0.2);
    [schedstat, machine].into_iter().flatten().collect()
}

/// The function with the most time, and whether it only spins.
pub fn hottest(facts: &Facts<'_>) -> (Option<Claim>, Option<Claim>) {
    let hot = facts
        .hot
        .on_cpu
        .rows
        .first()
        .filter(|row| row.ns as f64 >= HOT * facts.hot.on_cpu.total_ns.max(1) as f64);
    let Some(row) = hot else { return (None, None) };
    let name = row
        .kernel
        .clone()
        .or_else(|| row.user.first().map(|function| function.name.clone()))
        .unwrap_or_default();
    let share = row.ns as f64 / facts.hot.on_cpu.total_ns.max(1) as f64;
    let callers: Vec<&str> = row.user.iter().take(4).map(|function| function.name.as_str()).collect();
    let is_spin = callers.iter().chain([&name.as_str()]).any(|name| spins(name));
    let sentence =
        claim!("the hottest stack has {} of the time on the CPU: {}", percent(share), callers.join(" ← "));
    (
        Some(sentence),
        is_spin.then(|| claim!("{} of the time on the CPU is spinning in `{}`", percent(share), name)),
    )
}

/// By its name.
fn spins(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("spin_lock")
        || name.contains("spinlock")
        || name.contains("pthread_spin")
        || name.contains("spin_loop")
}

/// By how much it gets faster at most if the hottest stack costs nothing.
fn hot_gain(facts: &Facts<'_>) -> Option<f64> {
    let row = facts.hot.on_cpu.rows.first()?;
    crate::analyze::verdict::finding::gain(facts.share(row.ns).min(0.95))
}
