//! `CPU_SATURATED`: threads are ready to run and wait for a CPU.

use super::facts::BUSY;
use super::finding::{Finding, gain};
use super::{Agreement, Facts, Outcome, Rule};
use crate::analyze::numbers::{percent, seconds};
use crate::recording::OtherProcess;

/// Of the time in which threads ran or wanted to.
const SHARE: f64 = 0.2;
/// Of the working time.
const FELT: f64 = 0.1;

pub struct CpuSaturated;

impl Rule for CpuSaturated {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let of_wanted = facts.run_queue_of_wanted().unwrap_or(0.0);
        let share = facts.share(facts.work.run_queue_ns);
        if of_wanted < SHARE || share < FELT {
            return Outcome::Clear;
        }
        let busy = facts.machine_busy();
        // The threads are bound to few CPUs.
        let is_narrow = facts.allowed_cpus < f64::from(facts.recording.meta.cpus);
        let agreement =
            agreement(facts, if is_narrow { Some(facts.cpus_used() / facts.allowed_cpus) } else { busy });
        let neighbours = neighbours(facts);
        let mut evidence = evidence(facts, of_wanted);
        let mut next_steps = vec![];
        if is_narrow && busy.is_some_and(|busy| busy < BUSY) {
            next_steps.push(format!(
                "the threads may use {} of {} CPUs only: look at their affinity",
                facts.allowed_cpus, facts.recording.meta.cpus
            ));
        }
        if let Some((sentence, step)) = neighbours {
            evidence.push(sentence);
            next_steps.push(step);
        }
        next_steps.push("more CPUs, or fewer threads that want to run at once".to_owned());
        Outcome::Found(Finding {
            id: "CPU_SATURATED",
            share,
            sentence: format!(
                "threads that could run wait for a CPU, for {} of their working time",
                percent(share)
            ),
            evidence,
            counter_evidence: counter_evidence(facts),
            next_steps,
            max_gain: gain(share),
            explains: &["CPU_BOUND", "CPU_SINGLE_THREAD"],
            // It is told before what the threads do when they run, but not where the CPUs were not busy: there it is what
            // each wake-up takes.
            precedence: if agreement.contains(&Agreement::Contradicts) { 0.0 } else { 0.3 },
            agreement,
            ..Finding::default()
        })
    }
}

fn evidence(facts: &Facts<'_>, of_wanted: f64) -> Vec<String> {
    let waited = format!(
        "{} of the time in which threads ran or wanted to, they waited for a CPU",
        percent(of_wanted)
    );
    let busy = facts.machine_busy().map(|busy| format!("the machine's CPUs were busy for {}", percent(busy)));
    let pressure = facts.pressure(|pressure| pressure.cpu_some_ns);
    let pressure = pressure
        .map(|some| format!("pressure: some task waited for a CPU for {} of the time", percent(some)));
    [Some(waited), busy, pressure].into_iter().flatten().collect()
}

/// Who else used the CPUs, and what to do about it.
fn neighbours(facts: &Facts<'_>) -> Option<(String, String)> {
    let is_busy = |other: &&OtherProcess| other.cpu_ns as f64 > 0.1 * facts.elapsed_ns as f64;
    let others: Vec<_> = facts.machine.busiest_others.iter().filter(is_busy).collect();
    let first = others.first()?;
    let name =
        |other: &&OtherProcess| format!("{} (pid {}) {}", other.comm, other.tgid, seconds(other.cpu_ns));
    let names: Vec<String> = others.iter().map(name).collect();
    let step = format!("move {} (pid {}) elsewhere, or give it a lower weight", first.comm, first.tgid);
    Some((format!("others used the CPUs meanwhile: {}", names.join(", ")), step))
}

fn counter_evidence(facts: &Facts<'_>) -> Vec<String> {
    // A machine that is half idle: the threads are bound to few CPUs, or wait for each other on one.
    let idle = facts.machine_busy().filter(|busy| *busy < BUSY);
    let idle = idle.map(|busy| format!("the machine's CPUs were idle for {}", percent(1.0 - busy)));
    let steal = facts.steal().filter(|steal| *steal > 0.05).map(|steal| {
        format!(
            "the hypervisor took {} of the CPUs' time: the machine is slower than it seems",
            percent(steal)
        )
    });
    [idle, steal].into_iter().flatten().collect()
}

/// By the CPUs that the threads may use, by pressure, and by the kernel's own account of run-queue time.
fn agreement(facts: &Facts<'_>, saturated: Option<f64>) -> Vec<Agreement> {
    let schedstat = facts.cross_check.map(|check| {
        let differs = (check.run_queue_ns - check.schedstat_run_queue_ns).abs()
            > 0.3 * check.schedstat_run_queue_ns.max(1.0);
        if differs { Agreement::Silent } else { Agreement::Agrees }
    });
    let pressure = Agreement::by(facts.pressure(|pressure| pressure.cpu_some_ns), 0.1, 0.03);
    [Agreement::by(saturated, 0.85, 0.6), pressure, schedstat].into_iter().flatten().collect()
}
