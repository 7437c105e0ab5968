//! `CPU_SINGLE_THREAD`: one thread runs nearly all the time, the others hardly, and there are CPUs left.

use super::cpu_bound;
use crate::analyze::claim::{claim, decimal, percent, plural};
use crate::analyze::verdict::finding::Finding;
use crate::analyze::verdict::{Facts, Outcome, Rule, VerdictId};

/// Of the thread's own time on the CPU, or ready for one.
const BUSY: f64 = 0.8;
/// All others together, as a share of one CPU.
const OTHERS: f64 = 0.3;

pub struct CpuSingleThread;

impl Rule for CpuSingleThread {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let Some(busiest) = facts.busiest() else { return Outcome::Clear };
        let times = &busiest.times;
        let elapsed = facts.elapsed_ns.max(1) as f64;
        let own = times.on_cpu_ns as f64 / elapsed;
        let others = facts.cpus_used() - own;
        let share = facts.share(facts.work.on_cpu_ns);
        if own < BUSY || others > OTHERS || facts.allowed_cpus < 1.5 || share < 0.5 {
            return Outcome::Clear;
        }
        let name = facts.thread_name(busiest.thread);
        let (hot, spins) = cpu_bound::hottest(facts);
        let mut evidence = vec![
            claim!("{} is on the CPU for {} of the recording", name, percent(own)),
            claim!("all other threads use {} CPUs; {} allowed", decimal(others, 2), facts.allowed_cpus),
        ];
        evidence.extend(hot);
        let mut counter_evidence = vec![];
        counter_evidence.extend(spins);
        if facts.recording.threads.len() > 1 {
            let waits_for_it = facts
                .edges(|_| true)
                .filter(|edge| edge.ender == crate::analyze::Ender::Thread(busiest.thread));
            let waited: u64 = waits_for_it.fold(0, |sum, edge| sum.saturating_add(edge.waited_ns));
            if waited > 0 {
                evidence.push(claim!(
                    "it ended {} of other threads' waits",
                    crate::analyze::claim::seconds(waited)
                ));
            }
        }
        Outcome::Found(Finding {
            id: VerdictId::CpuSingleThread,
            share,
            sentence: claim!(
                "one thread is the limit: {} is on the CPU for {} of the time, with {} idle",
                name,
                percent(own),
                plural((facts.allowed_cpus - facts.cpus_used()).max(1.0).round() as u64, "CPU")
            ),
            evidence,
            counter_evidence,
            next_steps: vec![claim!(
                "make {} cheaper, or divide its work among threads; its stacks are below",
                name
            )],
            max_gain: Some(facts.allowed_cpus.max(1.0)),
            agreement: cpu_bound::agreement(facts),
            samples: Some(facts.trust.on_cpu_samples).filter(|samples| *samples > 0),
            explains: &[VerdictId::CpuBound],
            precedence: 0.01,
            is_plain: true,
        })
    }
}
