//! `MEMORY_PRESSURE`: threads free memory themselves, or read back what was taken from them.

use super::finding::{Finding, gain};
use super::{Agreement, Facts, Outcome, Rule};
use crate::analyze::kernel_paths::Path;
use crate::analyze::numbers::{bytes, percent};

const SHARE: f64 = 0.05;
/// With this much pressure, page faults that wait for the disk are for pages that had been there before.
const PRESSURE: f64 = 0.05;

pub struct MemoryPressure;

impl Rule for MemoryPressure {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let direct = facts.paths_ns(&[Path::Reclaim, Path::Compaction, Path::SwapIn]);
        let some = facts.pressure(|pressure| pressure.memory_some_ns);
        let full = facts.pressure(|pressure| pressure.memory_full_ns);
        let group = facts
            .machine
            .groups
            .iter()
            .filter(|group| group.memory_limit_bytes.is_some())
            .max_by_key(|group| group.memory_limit_hits);
        let hits = group.map_or(0, |group| group.memory_limit_hits);
        let refaults = facts.machine.memory.map_or(0, |memory| memory.refaults);
        let swapped = facts.machine.memory.map_or(0, |memory| memory.swapped_in);
        let is_short = some.is_some_and(|some| some >= PRESSURE) || hits > 100 || swapped > 100;
        // Of a machine or group that is short of memory, what has to be read again counts too.
        let again = if is_short && (refaults > 100 || swapped > 100) {
            facts.work.page_fault_io_ns.saturating_add(facts.work.disk_read_ns)
        } else {
            0
        };
        let share = facts.share(direct.max(again));
        if share < SHARE || !is_short && facts.share(direct) < 2.0 * SHARE {
            return Outcome::Clear;
        }
        let mut evidence = vec![];
        for path in [Path::Reclaim, Path::Compaction, Path::SwapIn] {
            let ns = facts.paths_ns(&[path]);
            if facts.share(ns) >= 0.01 {
                evidence.push(format!("{}: {} of the working time", path.words(), percent(facts.share(ns))));
            }
        }
        if again > direct {
            evidence.push(format!(
                "pages that are read again: {} of the working time, {refaults} such pages on the machine",
                percent(facts.share(again))
            ));
        }
        evidence.extend(
            some.map(|some| {
                format!("pressure: some task waited for memory for {} of the time", percent(some))
            }),
        );
        if let Some(group) = group.filter(|group| group.memory_limit_hits > 0) {
            evidence.push(format!(
                "the control group {} met its limit of {} {} times, and has {}",
                group.path,
                bytes(group.memory_limit_bytes.unwrap_or(0)),
                group.memory_limit_hits,
                bytes(group.memory_bytes)
            ));
        }
        let mut next_steps = vec![];
        match group.filter(|group| group.memory_limit_hits > 0) {
            Some(group) => next_steps
                .push(format!("raise the memory limit of {}, or make the program need less", group.path)),
            None => next_steps
                .push("give the machine more memory, or find who uses it: `ps --sort=-rss`".to_owned()),
        }
        let agreement = [
            Agreement::by(some, PRESSURE, 0.005),
            Agreement::by(full, 0.01, 0.0),
            group.map(|_| if hits > 0 { Agreement::Agrees } else { Agreement::Silent }),
            facts.machine.memory.map(|memory| {
                if memory.scanned_directly > 0 || memory.refaults > 0 || memory.swapped_in > 0 {
                    Agreement::Agrees
                } else {
                    Agreement::Contradicts
                }
            }),
        ];
        Outcome::Found(Finding {
            id: "MEMORY_PRESSURE",
            share,
            sentence: format!(
                "there is too little memory: {} of the working time goes to freeing it or to reading pages again",
                percent(share)
            ),
            evidence,
            counter_evidence: vec![],
            next_steps,
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            samples: None,
            explains: &[
                "DISK_READ_BOUND",
                "DISK_WRITE_BOUND",
                "CPU_BOUND",
                "CPU_SINGLE_THREAD",
                "LOCK_KERNEL",
            ],
            precedence: 0.4,
            ..Finding::default()
        })
    }
}
