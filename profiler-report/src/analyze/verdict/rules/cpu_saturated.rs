//! `CPU_SATURATED`: threads are ready to run and wait for a CPU.

use crate::analyze::claim::{Claim, claim, percent, seconds};
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};
use crate::recording::OtherProcess;

/// Of the time in which threads ran or wanted to.
const SHARE: f64 = 0.2;
/// Of the working time.
const FELT: f64 = 0.1;
/// CPUs that are busy for less of their time had some to spare: threads wait for one in bursts, or for what each wake-up takes.
const SATURATED: f64 = 0.85;

pub struct CpuSaturated;

impl Rule for CpuSaturated {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let of_wanted = facts.run_queue_of_wanted().unwrap_or(0.0);
        let share = facts.share(facts.work.run_queue_ns);
        if of_wanted < SHARE || share < FELT {
            return Outcome::Clear;
        }
        // The threads are bound to few CPUs.
        let is_narrow = facts.allowed_cpus < f64::from(facts.recording.meta.cpus);
        let busy = facts.allowed_busy();
        let agreement = agreement(facts, busy);
        let neighbours = neighbours(facts);
        let mut evidence = evidence(facts, of_wanted);
        let mut next_steps = vec![];
        if is_narrow && facts.machine_busy().is_some_and(|busy| busy < SATURATED) {
            next_steps.push(claim!(
                "the threads may use only {} of {} CPUs: check their affinity",
                facts.allowed_cpus,
                facts.recording.meta.cpus
            ));
        }
        if let Some((sentence, step)) = neighbours {
            evidence.push(sentence);
            next_steps.push(step);
        }
        next_steps.push(claim!("use more CPUs, or fewer runnable threads"));
        Outcome::Found(Finding {
            id: VerdictId::CpuSaturated,
            share,
            sentence: claim!("threads wait {} of their working time for a CPU", percent(share)),
            evidence,
            counter_evidence: counter_evidence(facts, busy),
            next_steps,
            max_gain: gain(share),
            explains: &[VerdictId::CpuBound, VerdictId::CpuSingleThread],
            // It is told before what the threads do when they run, but not where the CPUs had time to spare: there it is
            // what each wake-up takes.
            precedence: if busy.is_none_or(|busy| busy >= SATURATED) { 0.3 } else { 0.0 },
            agreement,
            ..Finding::default()
        })
    }
}

fn evidence(facts: &Facts<'_>, of_wanted: f64) -> Vec<Claim> {
    let waited = claim!(
        "threads waited for a CPU {} of the time in which they were running or ready",
        percent(of_wanted)
    );
    let busy = facts.allowed_busy().map(|busy| claim!("{} were busy for {}", cpus(facts), percent(busy)));
    let pressure = facts.pressure(|pressure| pressure.cpu_some_ns);
    let pressure =
        pressure.map(|some| claim!("CPU pressure: some task waited for a CPU {} of the time", percent(some)));
    [Some(waited), busy, pressure].into_iter().flatten().collect()
}

/// For a person.
fn cpus(facts: &Facts<'_>) -> Claim {
    let all = f64::from(facts.recording.meta.cpus);
    if facts.machine.allowed_cpu.is_none() || facts.allowed_cpus >= all {
        claim!("the machine's CPUs")
    } else {
        claim!("the CPUs that the threads may use ({} of {})", facts.allowed_cpus, all)
    }
}

/// Who else used the CPUs, and what to do about it.
fn neighbours(facts: &Facts<'_>) -> Option<(Claim, Claim)> {
    let is_busy = |other: &&OtherProcess| other.cpu_ns as f64 > 0.1 * facts.elapsed_ns as f64;
    let others: Vec<_> = facts.machine.busiest_others.iter().filter(is_busy).collect();
    let first = others.first()?;
    let name =
        |other: &&OtherProcess| claim!("{} (pid {}) {}", other.comm, other.tgid, seconds(other.cpu_ns));
    let names: Vec<Claim> = others.iter().map(name).collect();
    let step = claim!("move {} (pid {}) elsewhere, or lower its weight", first.comm, first.tgid);
    Some((claim!("other users of the CPUs: {}", Claim::list(", ", &names)), step))
}

fn counter_evidence(facts: &Facts<'_>, busy: Option<f64>) -> Vec<Claim> {
    let idle = busy.filter(|busy| *busy < SATURATED);
    let idle = idle.map(|busy| claim!("{} were idle for {}", cpus(facts), percent(1.0 - busy)));
    let steal = facts.steal().filter(|steal| *steal > 0.05).map(|steal| {
        claim!(
            "the hypervisor took {} of the CPU time, so the machine is slower than it looks",
            percent(steal)
        )
    });
    [idle, steal].into_iter().flatten().collect()
}

/// By the CPUs that the threads may use and by pressure. The kernel's own account of run-queue time tells whether the measurement is
/// right, and not what it means: where it agrees, that is no reason more.
fn agreement(facts: &Facts<'_>, busy: Option<f64>) -> Vec<Agreement> {
    let differs = facts.cross_check.is_some_and(|check| {
        (check.run_queue_ns - check.schedstat_run_queue_ns).abs()
            > 0.3 * check.schedstat_run_queue_ns.max(1.0)
    });
    let pressure = Agreement::by(facts.pressure(|pressure| pressure.cpu_some_ns), 0.1, 0.03);
    let schedstat = differs.then_some(Agreement::Silent);
    [Agreement::by(busy, SATURATED, 0.6), pressure, schedstat].into_iter().flatten().collect()
}
