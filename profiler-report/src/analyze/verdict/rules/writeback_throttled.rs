//! `WRITEBACK_THROTTLED`: writers are held up until what is dirty has been written.

use crate::analyze::claim::{claim, percent};
use crate::analyze::stacks::kernel_paths::Path;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

const SHARE: f64 = 0.05;

pub struct WritebackThrottled;

impl Rule for WritebackThrottled {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let ns = facts.waiting_paths.get(&Path::WriteThrottle).copied().unwrap_or(0);
        let share = facts.share(ns);
        if share < SHARE {
            return Outcome::Clear;
        }
        let memory = facts.machine.memory;
        let full = memory
            .filter(|memory| memory.dirty_limit_pages > 0)
            .map(|memory| memory.dirty_pages as f64 / memory.dirty_limit_pages as f64);
        let mut evidence =
            vec![claim!("in `balance_dirty_pages` for {} of the working time", percent(share))];
        evidence.extend(full.map(|full| claim!("dirty pages at the end: {} of the limit", percent(full))));
        let agreement = [
            Agreement::by(full, 0.5, 0.0),
            Agreement::by(facts.pressure(|pressure| pressure.io_some_ns), 0.05, 0.005),
        ];
        Outcome::Found(Finding {
            id: VerdictId::WritebackThrottled,
            share,
            sentence: claim!(
                "writers are throttled for {} of their working time, because pages are dirtied faster than the disk writes them",
                percent(share)
            ),
            evidence,
            counter_evidence: vec![],
            next_steps: vec![claim!(
                "write less, or to a faster disk; `vm.dirty_bytes` and `vm.dirty_background_bytes` only delay the throttling"
            )],
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            explains: &[VerdictId::DiskWriteBound],
            precedence: 0.3,
            ..Finding::default()
        })
    }
}
