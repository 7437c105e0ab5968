//! Locks: how long they were waited for, by whom, who held them and what that one did meanwhile.
//!
//! Times are the ledger's, shared out over the off-CPU samples that wait for the lock; where a kernel has none, what the told ends
//! of waits stand for. Who holds a lock is observed, if the lock's own word says it, or inferred: it was the one who woke.

mod deadlocks;
mod holder;
mod kernel;
mod kinds;

pub use deadlocks::Deadlock;
pub use holder::Holder;
pub use kernel::KernelLockRow;
pub use kinds::FutexKind;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use profiler_common::state;

use self::deadlocks::deadlocks;
use self::holder::holder;
use self::kernel::kernel_locks;
use self::kinds::{by_state, kind};
use crate::analyze::add;
use crate::analyze::stacks::label::frame_labels;
use crate::analyze::stacks::shares::Shares;
use crate::analyze::wakers::bounded;
use crate::recording::{LockId, Party, Place, Span, StackId, ThreadId};

/// Functions of a stack that are kept: the innermost show which call of the program it is.
const FUNCTIONS: usize = 6;
/// To take a semaphore for a lock: the share of its waits of which is known who ended them,
const TOLD: f64 = 0.6;
/// the share of those that was ended by one who waits for it, too,
const AMONG_THEMSELVES: f64 = 0.9;
/// and less than this share of the time before that spent in waiting.
const RESTED: f64 = 0.3;

/// Everything about locks.
#[derive(Debug, Default)]
pub struct LockReport {
    /// Locks in memory of processes, the longest waited for first. Condition variables and their like are in it too, and are no locks.
    pub futexes: Vec<FutexRow>,
    /// Locks of the kernel, the longest waited for first.
    pub kernel: Vec<KernelLockRow>,
    pub deadlocks: Vec<Deadlock>,
}

/// One futex that was waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct FutexRow {
    pub lock: LockId,
    pub kind: FutexKind,
    /// A semaphore that is used as a lock: those who wait for it wake each other, each after a time in which it did not wait.
    pub used_as_lock: bool,
    pub waited_ns: u64,
    /// Estimated from the ends of waits that were reported.
    pub waits: f64,
    pub waiters: BTreeSet<ThreadId>,
    pub holder: Holder,
    /// Where it is waited for and given up, each the one with the most time: functions of the program, innermost first.
    pub waited_in: Vec<String>,
    pub released_in: Vec<String>,
}

impl FutexRow {
    /// Whether somebody holds it, so that waiting for it is lost time.
    pub fn is_lock(&self) -> bool {
        self.kind.is_lock() || self.used_as_lock
    }
}

impl LockReport {
    pub(in crate::analyze) fn of(recording: &Span, shares: &Shares) -> Self {
        Self {
            futexes: futexes(recording, shares),
            kernel: kernel_locks(recording, shares),
            deadlocks: deadlocks(recording),
        }
    }

    /// Time in which threads waited for locks of their programs.
    pub fn futex_lock_ns(&self) -> u64 {
        let locks = self.futexes.iter().filter(|row| row.is_lock());
        locks.fold(0, |sum, row| sum.saturating_add(row.waited_ns))
    }
}

/// What belongs to one futex while it is added up.
#[derive(Default)]
struct Sum {
    by_kind: BTreeMap<FutexKind, u64>,
    waits: f64,
    woken_ns: u64,
    waiters: BTreeSet<ThreadId>,
    waiting: HashMap<StackId, u64>,
    releasing: HashMap<StackId, u64>,
}

fn is_futex(code: u32) -> bool {
    matches!(code, state::FUTEX_LOCK | state::FUTEX_WAIT | state::FUTEX_TIMED)
}

fn futexes(recording: &Span, shares: &Shares) -> Vec<FutexRow> {
    let mut sums: BTreeMap<LockId, Sum> = BTreeMap::new();
    let mut kinds: HashMap<(StackId, u32), FutexKind> = HashMap::new();
    for (sample, &ns) in recording.samples.iter().zip(&shares.ns) {
        let Some(lock) = sample.lock.filter(|_| is_futex(sample.state)) else { continue };
        let kind = *kinds
            .entry((sample.stack, sample.state))
            .or_insert_with(|| kind_of(recording, sample.stack, sample.state));
        let sum = sums.entry(lock).or_default();
        add(sum.by_kind.entry(kind).or_default(), ns);
        add(sum.waiting.entry(sample.stack).or_default(), ns);
        sum.waiters.insert(sample.thread);
    }
    let has_stacks = !sums.is_empty();
    for wake in recording.locks.wakes.iter().filter(|wake| is_futex(wake.state)) {
        let Some(lock) = wake.lock else { continue };
        let sum = sums.entry(lock).or_default();
        sum.waits += bounded(wake.waits);
        sum.woken_ns = sum.woken_ns.saturating_add(wake.weight_ns);
        sum.waiters.insert(wake.waiter);
        if !has_stacks {
            add(sum.by_kind.entry(by_state(wake.state)).or_default(), wake.weight_ns);
        }
    }
    for release in &recording.locks.releases {
        let sum = sums.entry(release.lock).or_default();
        let known = sum.releasing.entry(release.stack).or_default();
        *known = known.saturating_add(release.weight_ns);
    }
    let mut rows: Vec<FutexRow> =
        sums.into_iter().filter_map(|(lock, sum)| row(recording, lock, sum)).collect();
    rows.sort_by_key(|row| (Reverse(row.waited_ns), row.lock));
    rows
}

fn row(recording: &Span, lock: LockId, sum: Sum) -> Option<FutexRow> {
    let waited_ns = sum.by_kind.values().fold(0_u64, |all, &ns| all.saturating_add(ns));
    let (&kind, _) = sum.by_kind.iter().max_by_key(|&(_, &ns)| ns)?;
    let holder = holder(recording, lock);
    Some(FutexRow {
        lock,
        kind,
        used_as_lock: kind == FutexKind::Semaphore && is_used_as_lock(&sum.waiters, &holder),
        waited_ns,
        waits: sum.waits,
        waiters: sum.waiters,
        holder,
        waited_in: largest(&sum.waiting).map_or(vec![], |stack| functions(recording, stack)),
        released_in: largest(&sum.releasing).map_or(vec![], |stack| functions(recording, stack)),
    })
}

/// Whether those who wait for a semaphore are those who post it, each after a time in which it did not wait itself: they take turns, as
/// with a lock (CPython's `threading.Lock` is one). Workers that wait for work are woken by who brings it, and where they wake each other
/// they have waited as long themselves.
fn is_used_as_lock(waiters: &BTreeSet<ThreadId>, holder: &Holder) -> bool {
    let is_waiter = |party: &Party| matches!(party, Party::Thread(thread) if waiters.contains(thread));
    let own: Vec<f64> =
        holder.parties.iter().filter(|(party, _)| is_waiter(party)).map(|(_, share)| *share).collect();
    let is_wait = |code: u32| matches!(code, state::FUTEX_WAIT | state::FUTEX_TIMED);
    let waited: f64 =
        holder.meanwhile.iter().filter(|(code, _)| is_wait(*code)).map(|(_, share)| share).sum();
    !holder.observed
        && holder.known_ratio >= TOLD
        && own.len() >= 2
        && own.iter().sum::<f64>() >= AMONG_THEMSELVES
        && !holder.meanwhile.is_empty()
        && waited < RESTED
}

pub(in crate::analyze) fn kind_of(recording: &Span, stack: StackId, state: u32) -> FutexKind {
    let frames = &recording.stacks[stack as usize].user;
    let labels: Vec<String> = frames
        .iter()
        .flat_map(|&frame| frame_labels(recording, frame))
        .map(|label| label.text.into_owned())
        .collect();
    kind(state, labels.iter().map(String::as_str))
}

fn largest(stacks: &HashMap<StackId, u64>) -> Option<StackId> {
    stacks.iter().max_by_key(|&(&stack, &ns)| (ns, Reverse(stack))).map(|(&stack, _)| stack)
}

/// Functions of the program, innermost first, without those of libraries' locks themselves.
fn functions(recording: &Span, stack: StackId) -> Vec<String> {
    let frames = &recording.stacks[stack as usize].user;
    let labels = frames.iter().flat_map(|&frame| frame_labels(recording, frame));
    let all: Vec<String> = labels.map(|label| label.text.into_owned()).collect();
    let first = all.iter().rposition(|name| is_of_locks(name)).map_or(0, |last| last + 1);
    let own = if first < all.len() { &all[first..] } else { &all[..] };
    own.iter().take(FUNCTIONS).cloned().collect()
}

fn is_of_locks(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "futex",
        "pthread_mutex_",
        "pthread_rwlock_",
        "pthread_cond_",
        "lll_lock",
        "lll_unlock",
        "lock_contended",
        "sem_wait",
        "__libc_lock",
    ];
    PARTS.iter().any(|part| name.contains(part)) || matches!(name, "syscall" | "unlock" | "wake")
}

/// What a lock is called: its variable, its place, or its address.
pub fn lock_name(recording: &Span, lock: LockId) -> String {
    let Some(lock) = recording.locks.locks.get(lock as usize) else { return "a lock".to_owned() };
    if !lock.name.is_empty() {
        return format!("`{}`", lock.name);
    }
    let place = match lock.place {
        Place::Heap => "heap",
        Place::Anonymous => "anonymous memory",
        Place::Stack => "a stack",
        Place::Shared => "shared memory",
        Place::Kernel if lock.address == 0 => return "other locks".to_owned(),
        Place::Kernel => "the kernel",
        Place::Module { module, offset } => {
            let path = recording.modules.get(module as usize).map_or("", |module| module.path.as_str());
            let file = path.rsplit('/').next().unwrap_or(path);
            return format!("[{file}+{offset:#x}]");
        }
        Place::Unknown => "memory",
    };
    format!("{:#x} ({place})", lock.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Held, Lock, Locks, Wake};

    fn locks(number: usize) -> Vec<Lock> {
        let lock = |index: usize| Lock {
            process: Some(0),
            address: 0x1000 * (index as u64 + 1),
            kind: 0,
            place: Place::Heap,
            name: String::new(),
        };
        (0..number).map(lock).collect()
    }

    fn wake(waker: Party, weight_ns: u64, meanwhile: Vec<(u32, u64)>) -> Wake {
        Wake {
            waiter: 0,
            state: state::FUTEX_LOCK,
            lock: Some(0),
            waker,
            interrupted: false,
            stack: 0,
            peer: None,
            weight_ns,
            waits: 1.0,
            count: 1,
            meanwhile,
        }
    }

    fn held(owner: Party, owner_state: Option<u32>, ticks: u64) -> Held {
        Held { waiter: 0, lock: 0, owner, owner_state, ticks }
    }

    #[test]
    fn the_locks_own_word_comes_before_who_woke() {
        let locks = Locks {
            locks: locks(1),
            held: vec![held(Party::Thread(1), Some(state::FSYNC), 30), held(Party::Nobody, None, 10)],
            wakes: vec![wake(Party::Thread(2), 100, vec![])],
            ..Locks::default()
        };
        let found = holder(&Span { locks, ..Span::default() }, 0);
        assert!(found.observed);
        assert_eq!(found.parties, [(Party::Thread(1), 1.0)]);
        assert_eq!((found.known_ratio, found.meanwhile.as_slice()), (0.75, &[(state::FSYNC, 1.0)][..]));
    }

    /// Posts of two waiters and of somebody else, and what those did before.
    #[track_caller]
    fn check_use(others: u64, waited_ns: u64, expected: bool) {
        let meanwhile = || vec![(state::TIMER, 100), (state::FUTEX_WAIT, waited_ns)];
        let wakes = vec![
            wake(Party::Thread(1), 100, meanwhile()),
            wake(Party::Thread(2), 100, meanwhile()),
            wake(Party::Thread(7), others, meanwhile()),
        ];
        let recording =
            Span { locks: Locks { locks: locks(1), wakes, ..Locks::default() }, ..Span::default() };
        let waiters = BTreeSet::from([1, 2, 3]);
        assert_eq!(is_used_as_lock(&waiters, &holder(&recording, 0)), expected);
    }

    #[test]
    fn a_semaphore_is_a_lock_if_those_who_wait_take_turns() {
        check_use(5, 5, true);
        check_use(200, 5, false);
        check_use(5, 100, false);
    }

    #[test]
    fn without_an_owner_it_is_whoever_woke() {
        let locks = Locks {
            locks: locks(1),
            held: vec![held(Party::Nobody, None, 40)],
            wakes: vec![
                wake(Party::Thread(2), 300, vec![(state::ON_CPU, 100), (state::TIMER, 200)]),
                wake(Party::Thread(3), 100, vec![]),
            ],
            ..Locks::default()
        };
        let found = holder(&Span { locks, ..Span::default() }, 0);
        assert!(!found.observed);
        assert_eq!(found.parties, [(Party::Thread(2), 0.75), (Party::Thread(3), 0.25)]);
        assert_eq!(found.meanwhile[0], (state::TIMER, 2.0 / 3.0));
    }
}
