//! Who held a lock: as its own word said at the ticks, or else by who ended the waits for it.

use std::collections::{BTreeMap, HashMap};

use crate::analyze::add;
use crate::recording::{LockId, Party, Span};

/// Fewer ticks at which the lock's owner was seen than this say nothing.
const FEW_TICKS: u64 = 5;

/// Who held a lock while others waited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holder {
    /// The lock's own word said so; else it was whoever ended the waits.
    pub observed: bool,
    /// Share of the waits for which a holder is known.
    pub known_ratio: f64,
    /// Holders by their share of those, the largest first.
    pub parties: Vec<(Party, f64)>,
    /// What they did meanwhile: states by their share, the largest first. Empty if that is not known.
    pub meanwhile: Vec<(u32, f64)>,
}

/// Who held a lock, by its own word at the ticks, or else by who ended the waits for it.
pub(in crate::analyze) fn holder(recording: &Span, lock: LockId) -> Holder {
    let held = recording.locks.held.iter().filter(|held| held.lock == lock);
    let (mut ticks, mut known) = (0_u64, 0_u64);
    let (mut parties, mut meanwhile): (HashMap<Party, u64>, BTreeMap<u32, u64>) =
        (HashMap::new(), BTreeMap::new());
    for held in held {
        ticks = ticks.saturating_add(held.ticks);
        if held.owner != Party::Nobody {
            known = known.saturating_add(held.ticks);
            add(parties.entry(held.owner.clone()).or_insert(0), held.ticks);
            if let Some(state) = held.owner_state {
                add(meanwhile.entry(state).or_insert(0), held.ticks);
            }
        }
    }
    if known >= FEW_TICKS && known.saturating_mul(4) >= ticks {
        return finished(true, ticks, known, parties, meanwhile);
    }
    let (mut all, mut known, mut parties, mut meanwhile) = (0_u64, 0_u64, HashMap::new(), BTreeMap::new());
    for wake in recording.locks.wakes.iter().filter(|wake| wake.lock == Some(lock)) {
        all = all.saturating_add(wake.weight_ns);
        if !wake.interrupted && wake.waker != Party::Nobody {
            known = known.saturating_add(wake.weight_ns);
            let sum = parties.entry(wake.waker.clone()).or_insert(0_u64);
            *sum = sum.saturating_add(wake.weight_ns);
            for &(state, ns) in &wake.meanwhile {
                let sum = meanwhile.entry(state).or_insert(0_u64);
                *sum = sum.saturating_add(ns);
            }
        }
    }
    finished(false, all, known, parties, meanwhile)
}

fn finished(
    observed: bool,
    all: u64,
    known: u64,
    parties: HashMap<Party, u64>,
    meanwhile: BTreeMap<u32, u64>,
) -> Holder {
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let mut parties: Vec<(Party, f64)> =
        parties.into_iter().map(|(party, part)| (party, share(part, known))).collect();
    parties.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| format!("{:?}", a.0).cmp(&format!("{:?}", b.0))));
    let told = meanwhile.values().fold(0_u64, |sum, &part| sum.saturating_add(part));
    let mut meanwhile: Vec<(u32, f64)> =
        meanwhile.into_iter().map(|(state, part)| (state, share(part, told))).collect();
    meanwhile.sort_by(|a, b| b.1.total_cmp(&a.1));
    Holder { observed, known_ratio: share(known, all).min(1.0), parties, meanwhile }
}
