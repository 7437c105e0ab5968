//! `LOCK_HELD_ACROSS_IO`: threads wait for a lock whose holder waits for something else.
//!
//! Where the holder waits for a CPU, that is the cause, and it is reported as such.

use profiler_common::state::Group;

use super::lock_user;
use crate::analyze::claim::{Claim, claim, percent};
use crate::analyze::ledger::group;
use crate::analyze::locks::{FutexRow, lock_name};
use crate::analyze::state_name;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

const SHARE: f64 = 0.1;
/// The holder's time while others wait that it spends in waiting itself.
const HELD: f64 = 0.5;

/// What a holder waits in that is no CPU.
const HOLDER_WAITS: &[Group] = &[Group::Disk, Group::Net, Group::Ipc];

pub struct LockHeldAcrossIo;

impl Rule for LockHeldAcrossIo {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let share = facts.share(facts.work.lock_ns);
        let Some(row) = lock_user::top(facts).filter(|row| share >= SHARE && lock_user::is_contended(row))
        else {
            return Outcome::Clear;
        };
        if meanwhile(row, &[Group::RunQueue]) >= HELD {
            return Outcome::Found(holder_waits_for_a_cpu(facts, row, share));
        }
        let waits = meanwhile(row, HOLDER_WAITS);
        if waits < HELD {
            Outcome::Clear
        } else {
            Outcome::Found(holder_waits_itself(facts, row, share, waits))
        }
    }
}

/// Of the holder's time while others waited, the part in states of these groups.
fn meanwhile(row: &FutexRow, wanted: &[Group]) -> f64 {
    let states = row.holder.meanwhile.iter().filter(|(code, _)| wanted.contains(&group(*code)));
    states.map(|(_, part)| part).sum()
}

/// Whether the looks at the holder say much: how many of them knew what it did.
fn looks(row: &FutexRow) -> Option<Agreement> {
    Agreement::by(Some(row.holder.known_ratio), 0.6, 0.2)
}

fn holder_waits_for_a_cpu(facts: &Facts<'_>, row: &FutexRow, share: f64) -> Finding {
    let name = lock_name(facts.recording, row.lock);
    // The ledger knows for how long all threads waited for a CPU; the holder is only seen sometimes.
    let ledger = Agreement::by(facts.run_queue_of_wanted(), 0.2, 0.1);
    let pressure = Agreement::by(facts.pressure(|pressure| pressure.cpu_some_ns), 0.1, 0.02);
    Finding {
        id: VerdictId::CpuSaturated,
        share,
        sentence: claim!(
            "threads wait {} of their working time for {} {}, whose holder waits for a CPU",
            percent(share),
            row.kind.words(),
            name
        ),
        evidence: lock_user::holder(facts, row).into_iter().collect(),
        counter_evidence: vec![claim!(
            "it may be a lock problem: threads wait {} of the working time for the lock",
            percent(share)
        )],
        next_steps: vec![claim!("give the holder a CPU: more CPUs, fewer threads, or a higher priority")],
        max_gain: gain(share),
        agreement: [looks(row), ledger, pressure].into_iter().flatten().collect(),
        explains: &[VerdictId::LockUser, VerdictId::CpuSaturated],
        precedence: 0.35,
        ..Finding::default()
    }
}

fn holder_waits_itself(facts: &Facts<'_>, row: &FutexRow, share: f64, waits: f64) -> Finding {
    let name = lock_name(facts.recording, row.lock);
    let main = row.holder.meanwhile.iter().find(|(code, _)| HOLDER_WAITS.contains(&group(*code)));
    let what =
        main.map_or_else(Claim::default, |&(code, part)| claim!("{} {}", state_name(code), percent(part)));
    let mut evidence = vec![claim!(
        "{} of the working time is spent waiting for {} {}",
        percent(share),
        row.kind.words(),
        name
    )];
    evidence.extend(lock_user::holder(facts, row));
    if !row.released_in.is_empty() {
        evidence.push(claim!("released in {}", row.released_in.join(" ← ")));
    }
    let is_inferred = !row.holder.observed;
    Finding {
        id: VerdictId::LockHeldAcrossIo,
        share,
        sentence: claim!(
            "threads wait {} of their working time for {} {}, while its holder waits: {}",
            percent(share),
            row.kind.words(),
            name,
            what
        ),
        evidence,
        counter_evidence: Vec::from_iter(
            is_inferred.then(|| claim!("the holder is inferred from who woke the waiters")),
        ),
        next_steps: vec![claim!(
            "do not do I/O while holding the lock: release it first, or make the I/O faster"
        )],
        max_gain: gain(share),
        agreement: [looks(row), Some(if waits >= 0.7 { Agreement::Agrees } else { Agreement::Silent })]
            .into_iter()
            .flatten()
            .collect(),
        explains: &[
            VerdictId::LockUser,
            VerdictId::FsyncBound,
            VerdictId::DiskWriteBound,
            VerdictId::DiskReadBound,
        ],
        precedence: 0.3,
        ..Finding::default()
    }
}
