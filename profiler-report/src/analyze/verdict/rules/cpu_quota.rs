//! `CPU_QUOTA`: the control group has used up its CPU time, and its threads wait for the next period.

use crate::analyze::claim::{claim, decimal, percent};
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

/// Share of periods in which the limit was met, or of the time for which the group stood still.
const PERIODS: f64 = 0.1;
const TIME: f64 = 0.05;
/// The threads wait for a CPU for at least this share of their time: a limit that nobody feels is none.
const FELT: f64 = 0.1;
/// With so much of the machine idle, nothing else explains the wait for a CPU.
const ROOM: f64 = 0.2;

pub struct CpuQuota;

impl Rule for CpuQuota {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let throttled = facts.machine.groups.iter().filter(|group| {
            let periods = group.throttled_periods as f64 / group.periods.max(1) as f64;
            let time = group.throttled_ns as f64 / group.elapsed_ns.max(1) as f64;
            group.cpu_limit.is_some() && (group.periods >= 5 && periods >= PERIODS || time >= TIME)
        });
        let Some(group) = throttled
            .min_by(|a, b| a.cpu_limit.partial_cmp(&b.cpu_limit).unwrap_or(std::cmp::Ordering::Equal))
        else {
            return Outcome::Clear;
        };
        let share = facts.share(facts.work.run_queue_ns);
        if share < FELT {
            return Outcome::Clear;
        }
        let limit = group.cpu_limit.unwrap_or(0.0);
        let used = facts.cpus_used();
        let busy = facts.machine_busy();
        let mut counter_evidence = vec![];
        if let Some(busy) = busy.filter(|busy| *busy > 1.0 - ROOM) {
            counter_evidence.push(claim!(
                "the machine is {} busy, which also makes threads wait for a CPU",
                percent(busy)
            ));
        }
        let agreement = [
            Some(Agreement::Agrees),
            Agreement::by(busy.map(|busy| 1.0 - busy), ROOM, 0.05),
            // The group's use is near its limit; the target may be a part of the group only.
            Agreement::by(Some(used / limit.max(1e-9)), 0.7, 0.0),
        ];
        Outcome::Found(Finding {
            id: VerdictId::CpuQuota,
            share,
            sentence: claim!(
                "the CPU limit of control group {} ({} CPUs) was reached in {} of its periods; its threads wait {} of their working time",
                group.path,
                decimal(limit, 2),
                percent(group.throttled_periods as f64 / group.periods.max(1) as f64),
                percent(share)
            ),
            evidence: vec![
                claim!("{} of {} periods throttled", group.throttled_periods, group.periods),
                claim!("{} CPUs used by the target, {} allowed", decimal(used, 2), decimal(limit, 2)),
            ],
            counter_evidence,
            next_steps: vec![
                claim!(
                    "raise or remove the limit of {}: `cpu.max` (version 2) or `cpu.cfs_quota_us` (version 1)",
                    group.path
                ),
                claim!("or use fewer threads, so that the quota lasts longer in each period"),
            ],
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            explains: &[VerdictId::CpuSaturated, VerdictId::CpuBound, VerdictId::CpuSingleThread],
            precedence: 0.5,
            ..Finding::default()
        })
    }
}
