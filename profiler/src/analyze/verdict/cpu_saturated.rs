//! `CPU_SATURATED`: threads are ready to run and wait for a CPU.

use super::facts::BUSY;
use super::finding::{Finding, gain};
use super::{Agreement, Facts, Outcome, Rule};
use crate::analyze::numbers::{percent, seconds};

/// Of the time in which threads ran or wanted to.
const SHARE: f64 = 0.2;
/// Of the working time.
const FELT: f64 = 0.1;

pub struct CpuSaturated;

impl Rule for CpuSaturated {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let work = &facts.work;
        let wanted = work.on_cpu_ns.saturating_add(work.run_queue_ns);
        let of_wanted = work.run_queue_ns as f64 / wanted.max(1) as f64;
        let share = facts.share(work.run_queue_ns);
        if of_wanted < SHARE || share < FELT {
            return Outcome::Clear;
        }
        let busy = facts.machine_busy();
        let pressure = facts.pressure(|pressure| pressure.cpu_some_ns);
        let mut evidence = vec![format!(
            "{} of the time in which threads ran or wanted to, they waited for a CPU",
            percent(of_wanted)
        )];
        evidence.extend(busy.map(|busy| format!("the machine's CPUs were busy for {}", percent(busy))));
        evidence.extend(
            pressure.map(|some| {
                format!("pressure: some task waited for a CPU for {} of the time", percent(some))
            }),
        );
        let mut next_steps = vec![];
        let others: Vec<_> = facts
            .machine
            .busiest_others
            .iter()
            .filter(|other| other.cpu_ns as f64 > 0.1 * facts.elapsed_ns as f64)
            .collect();
        if let Some(first) = others.first() {
            let names: Vec<String> = others
                .iter()
                .map(|other| format!("{} (pid {}) {}", other.comm, other.tgid, seconds(other.cpu_ns)))
                .collect();
            evidence.push(format!("others used the CPUs meanwhile: {}", names.join(", ")));
            next_steps.push(format!(
                "move {} (pid {}) elsewhere, or give it a lower weight",
                first.comm, first.tgid
            ));
        }
        next_steps.push("more CPUs, or fewer threads that want to run at once".to_owned());
        let mut counter_evidence = vec![];
        // A machine that is half idle: the threads are bound to few CPUs, or wait for each other on one.
        let is_narrow = facts.allowed_cpus < f64::from(facts.recording.meta.cpus);
        if let Some(busy) = busy.filter(|busy| *busy < BUSY) {
            counter_evidence.push(format!("the machine's CPUs were idle for {}", percent(1.0 - busy)));
            if is_narrow {
                next_steps.insert(
                    0,
                    format!(
                        "the threads may use {} of {} CPUs only: look at their affinity",
                        facts.allowed_cpus, facts.recording.meta.cpus
                    ),
                );
            }
        }
        if let Some(steal) = facts.steal().filter(|steal| *steal > 0.05) {
            counter_evidence.push(format!(
                "the hypervisor took {} of the CPUs' time: the machine is slower than it seems",
                percent(steal)
            ));
        }
        let saturated = if is_narrow { Some(facts.cpus_used() / facts.allowed_cpus) } else { busy };
        let agreement = [
            Agreement::by(saturated, 0.85, 0.6),
            Agreement::by(pressure, 0.1, 0.03),
            facts.cross_check.map(|check| {
                let differs = (check.run_queue_ns - check.schedstat_run_queue_ns).abs()
                    > 0.3 * check.schedstat_run_queue_ns.max(1.0);
                if differs { Agreement::Silent } else { Agreement::Agrees }
            }),
        ];
        Outcome::Found(Finding {
            id: "CPU_SATURATED",
            share,
            sentence: format!(
                "threads that could run wait for a CPU, for {} of their working time",
                percent(share)
            ),
            evidence,
            counter_evidence,
            next_steps,
            max_gain: gain(share),
            explains: &["CPU_BOUND", "CPU_SINGLE_THREAD"],
            // It is told before what the threads do when they run, but not where the CPUs were not busy: there it is what
            // each wake-up takes.
            precedence: if agreement.contains(&Some(Agreement::Contradicts)) { 0.0 } else { 0.3 },
            agreement: agreement.into_iter().flatten().collect(),
            ..Finding::default()
        })
    }
}
