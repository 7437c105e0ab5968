//! `LOCK_USER`: threads wait for a lock of the program.

use profiler_common::state::{self, Group};

use crate::analyze::FutexKind;
use crate::analyze::claim::{Claim, claim, percent, plural};
use crate::analyze::ledger::group;
use crate::analyze::locks::{FutexRow, lock_name};
use crate::analyze::state_name;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};
use crate::recording::Party;

const SHARE: f64 = 0.1;
/// The first lock has at least this part of it.
const TOP: f64 = 0.5;
/// Fewer waits, and shorter in total, are chance.
const WAITS: f64 = 50.0;
const LONG_NS: u64 = 1_000_000_000;
/// Waits whose holder is known, as a share that says something.
const HOLDER_KNOWN: f64 = 0.6;

pub struct LockUser;

impl Rule for LockUser {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let ns = facts.work.lock_ns;
        let share = facts.share(ns);
        if share < SHARE {
            return Outcome::Clear;
        }
        if facts.database_lock_ns.saturating_mul(2) > ns {
            return of_database(facts, share);
        }
        if !facts.recording.locks.followed {
            return Outcome::NotEnoughData(claim!(
                "locks were not followed (`--locks off`), so no lock can be named"
            ));
        }
        let Some(row) = top(facts) else {
            return Outcome::NotEnoughData(claim!(
                "{} of the working time is lock waits, but no sample shows which lock",
                percent(share)
            ));
        };
        if !is_contended(row) {
            return Outcome::Clear;
        }
        Outcome::Found(describe(facts, row, share))
    }
}

/// The lock that is waited for the longest.
pub fn top<'a>(facts: &'a Facts<'_>) -> Option<&'a FutexRow> {
    facts.locks.futexes.iter().find(|row| row.is_lock())
}

/// At least two threads want it, often or for long: one waits and another holds it, or several wait.
pub fn is_contended(row: &FutexRow) -> bool {
    let holders = row
        .holder
        .parties
        .iter()
        .filter(|(party, _)| !matches!(party, Party::Thread(thread) if row.waiters.contains(thread)));
    let threads = row.waiters.len() + holders.count();
    threads >= 2 && (row.waits >= WAITS || row.waited_ns >= LONG_NS)
}

fn describe(facts: &Facts<'_>, row: &FutexRow, share: f64) -> Finding {
    let name = lock_name(facts.recording, row.lock);
    let part = row.waited_ns as f64 / facts.locks.futex_lock_ns().max(1) as f64;
    let mut evidence = vec![claim!(
        "{} {}: {} of the waits for locks, {}, about {}",
        row.kind.words(),
        name,
        percent(part),
        plural(row.waiters.len() as u64, "thread"),
        plural(row.waits.round() as u64, "wait")
    )];
    evidence.extend(holder(facts, row));
    if !row.waited_in.is_empty() {
        evidence.push(claim!("waits in {}", row.waited_in.join(" ← ")));
    }
    if !row.released_in.is_empty() {
        evidence.push(claim!("released in {}", row.released_in.join(" ← ")));
    }
    let mut counter_evidence = vec![];
    if part < TOP {
        counter_evidence.push(claim!("the first lock has only {} of the waits for locks", percent(part)));
    }
    if row.holder.known_ratio < HOLDER_KNOWN {
        counter_evidence
            .push(claim!("the holder is known for only {} of the waits", percent(row.holder.known_ratio)));
    }
    if row.used_as_lock {
        counter_evidence
            .push(claim!("it is a semaphore, and counts as a lock because its waiters wake each other"));
    }
    let mut agreement = vec![
        if part >= TOP { Agreement::Agrees } else { Agreement::Silent },
        if row.holder.known_ratio >= HOLDER_KNOWN { Agreement::Agrees } else { Agreement::Silent },
        if row.waits >= 2.0 * WAITS { Agreement::Agrees } else { Agreement::Silent },
    ];
    agreement.extend(row.used_as_lock.then_some(Agreement::Contradicts));
    let is_interpreters = row.kind == FutexKind::InterpreterLock;
    Finding {
        id: VerdictId::LockUser,
        share,
        sentence: claim!(
            "threads wait {} of their working time for {} {}",
            percent(share),
            row.kind.words(),
            name
        ),
        evidence,
        counter_evidence,
        next_steps: vec![next_step(row)],
        // Behind an interpreter's lock one CPU is used.
        max_gain: gain(share).map(|gain| if is_interpreters { gain.min(facts.allowed_cpus) } else { gain }),
        agreement,
        precedence: 0.1,
        ..Finding::default()
    }
}

/// By what the holder does while others wait.
fn next_step(row: &FutexRow) -> Claim {
    match row.holder.meanwhile.first() {
        _ if row.kind == FutexKind::InterpreterLock => {
            claim!("only one thread runs Python at a time: use processes, or calls that release the lock")
        }
        Some(&(state::ON_CPU, _)) => claim!("hold it for less work, split it, or do the work outside it"),
        Some(&(code, _)) if group(code) == Group::Idle => {
            claim!("the holder waits ({}) while it holds the lock: release it before", state_name(code))
        }
        Some(&(code, _)) if group(code) == Group::RunQueue => {
            claim!("the holder waits for a CPU while it holds the lock")
        }
        _ => claim!("hold it for less time; the waiting and releasing stacks show where"),
    }
}

/// Who held it, how that is known, and what that one did meanwhile.
pub fn holder(facts: &Facts<'_>, row: &FutexRow) -> Option<Claim> {
    sentence(facts, &row.holder)
}

/// The same for any lock.
pub fn sentence(facts: &Facts<'_>, holder: &crate::analyze::Holder) -> Option<Claim> {
    let (party, part) = holder.parties.first()?;
    let name = match party {
        Party::Thread(thread) => facts.thread_name(*thread),
        Party::Stranger { tgid, comm, .. } => format!("{comm} (pid {tgid}, not recorded)"),
        Party::Nobody => return None,
    };
    let how = if holder.observed { "from the lock itself" } else { "inferred from who woke the waiters" };
    let others = if holder.parties.len() > 1 {
        claim!(" and {}", plural(holder.parties.len() as u64 - 1, "other"))
    } else {
        Claim::default()
    };
    let doing: Vec<Claim> = holder
        .meanwhile
        .iter()
        .take(3)
        .map(|&(code, part)| claim!("{} {}", state_name(code), percent(part)))
        .collect();
    let doing = if doing.is_empty() {
        Claim::default()
    } else {
        claim!("; meanwhile: {}", Claim::list(", ", &doing))
    };
    Some(claim!("held by {} ({}){}, {}{}", name, percent(*part), others, how, doing))
}

fn of_database(facts: &Facts<'_>, share: f64) -> Outcome {
    Outcome::Found(Finding {
        id: VerdictId::LockUser,
        share,
        sentence: claim!("threads wait {} of their working time for database locks", percent(share)),
        evidence: vec![claim!(
            "in PostgreSQL's `ProcSleep` (rows, tables) and `LWLockAcquire`: {} of the working time",
            percent(facts.share(facts.database_lock_ns))
        )],
        counter_evidence: vec![claim!(
            "the holders are known only to the database; this is inferred from the waiting functions"
        )],
        next_steps: vec![
            claim!(
                "see `pg_locks` and `pg_stat_activity` (wait_event_type = 'Lock') for the rows and the holders"
            ),
            claim!("make transactions shorter, or let fewer change the same rows"),
        ],
        max_gain: gain(share),
        agreement: vec![Agreement::Agrees, Agreement::Agrees, Agreement::Silent],
        precedence: 0.1,
        ..Finding::default()
    })
}
