//! `LOCK_USER`: threads wait for a lock of the program.

use profiler_common::state::{self, Group};

use super::finding::{Finding, gain};
use super::{Agreement, Facts, Outcome, Rule, VerdictId};
use crate::analyze::ledger::group;
use crate::analyze::lock_kinds::FutexKind;
use crate::analyze::locks::{FutexRow, lock_name};
use crate::analyze::numbers::percent;
use crate::analyze::state_name;
use crate::recording::Party;

const SHARE: f64 = 0.1;
/// The first lock has at least this part of it.
const TOP: f64 = 0.5;
/// Fewer waits, and shorter in all, are chance.
const WAITS: f64 = 50.0;
const LONG_NS: u64 = 1_000_000_000;
/// Waits whose holder is known, as a share that tells.
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
            return Outcome::NotEnoughData(
                "locks were not followed (`--locks off`), so no lock can be named".to_owned(),
            );
        }
        let Some(row) = top(facts) else {
            return Outcome::NotEnoughData(format!(
                "{} of the working time waits for locks, but no sample saw which",
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
    let mut evidence = vec![format!(
        "{} {name}: {} of the waits for locks, {} threads, about {:.0} waits",
        row.kind.words(),
        percent(part),
        row.waiters.len(),
        row.waits
    )];
    evidence.extend(holder(facts, row));
    if !row.waited_in.is_empty() {
        evidence.push(format!("waited for in {}", row.waited_in.join(" ← ")));
    }
    if !row.released_in.is_empty() {
        evidence.push(format!("given up in {}", row.released_in.join(" ← ")));
    }
    let mut counter_evidence = vec![];
    if part < TOP {
        counter_evidence.push(format!("the first lock has only {} of the waits for locks", percent(part)));
    }
    if row.holder.known_ratio < HOLDER_KNOWN {
        counter_evidence
            .push(format!("the holder is known for {} of the waits only", percent(row.holder.known_ratio)));
    }
    if row.used_as_lock {
        counter_evidence.push(
            "it is a semaphore: that it is used as a lock is inferred from that its waiters wake each other"
                .to_owned(),
        );
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
        sentence: format!(
            "threads wait for {} {name}, for {} of their working time",
            row.kind.words(),
            percent(share)
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
fn next_step(row: &FutexRow) -> String {
    match row.holder.meanwhile.first() {
        _ if row.kind == FutexKind::InterpreterLock => {
            "one thread of the interpreter runs at a time: let processes share the work, or do it in calls that release the lock"
                .to_owned()
        }
        Some(&(state::ON_CPU, _)) => {
            "hold it for less work, split it, or do the work outside of it".to_owned()
        }
        Some(&(code, _)) if group(code) == Group::Idle => {
            format!(
                "the holder itself waits ({}) while it holds the lock: let go of it before",
                state_name(code)
            )
        }
        Some(&(code, _)) if group(code) == Group::RunQueue => {
            "the holder waits for a CPU while it holds the lock".to_owned()
        }
        _ => "hold it for less time; the stacks that wait and that give it up show where".to_owned(),
    }
}

/// Who held it, how that is known, and what that one did meanwhile.
pub fn holder(facts: &Facts<'_>, row: &FutexRow) -> Option<String> {
    sentence(facts, &row.holder)
}

/// The same for any lock.
pub fn sentence(facts: &Facts<'_>, holder: &crate::analyze::Holder) -> Option<String> {
    let (party, part) = holder.parties.first()?;
    let name = match party {
        Party::Thread(thread) => facts.thread_name(*thread),
        Party::Stranger { tgid, comm, .. } => format!("{comm} (pid {tgid}, not recorded)"),
        Party::Nobody => return None,
    };
    let how = if holder.observed { "as the lock says" } else { "inferred from who woke" };
    let others = if holder.parties.len() > 1 {
        format!(" and {} others", holder.parties.len() - 1)
    } else {
        String::new()
    };
    let doing: Vec<String> = holder
        .meanwhile
        .iter()
        .take(3)
        .map(|&(code, part)| format!("{} {}", state_name(code), percent(part)))
        .collect();
    let doing = if doing.is_empty() { String::new() } else { format!("; meanwhile: {}", doing.join(", ")) };
    Some(format!("held by {name} ({}){others}, {how}{doing}", percent(*part)))
}

fn of_database(facts: &Facts<'_>, share: f64) -> Outcome {
    Outcome::Found(Finding {
        id: VerdictId::LockUser,
        share,
        sentence: format!(
            "threads wait for locks of the database, for {} of their working time",
            percent(share)
        ),
        evidence: vec![format!(
            "in PostgreSQL's `ProcSleep` (rows, tables) and `LWLockAcquire`: {} of the working time",
            percent(facts.share(facts.database_lock_ns))
        )],
        counter_evidence: vec![
            "who holds them is the database's knowledge: this is told by the functions that wait".to_owned(),
        ],
        next_steps: vec![
            "look at `pg_locks` and `pg_stat_activity` (wait_event_type = 'Lock'): which rows, held by whom"
                .to_owned(),
            "shorter transactions, or fewer that change the same rows".to_owned(),
        ],
        max_gain: gain(share),
        agreement: vec![Agreement::Agrees, Agreement::Agrees, Agreement::Silent],
        precedence: 0.1,
        ..Finding::default()
    })
}
