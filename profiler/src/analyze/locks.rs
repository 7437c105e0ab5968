//! Locks: how long they were waited for, by whom, who held them and what that one did meanwhile; and waits in a circle.
//!
//! Times are the ledger's, shared out over the off-CPU samples that wait for the lock; where a kernel has none, what the told ends
//! of waits stand for. Who holds a lock is observed, if the lock's own word says it, or inferred: it was the one who woke.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use profiler_common::lock::contention;
use profiler_common::state;

use super::add;
use super::label::frame_labels;
use super::lock_kinds::{FutexKind, by_state, kind};
use super::shares::Shares;
use super::waits_in::telling;
use super::wakers::bounded;
use crate::recording::{LockId, Party, Place, Recording, StackId, ThreadId};

/// Fewer ticks at which the lock's owner was seen than this say nothing.
const FEW_TICKS: u64 = 5;
/// Functions of a stack that are kept: the innermost tell which call of the program it is.
const FUNCTIONS: usize = 6;
/// A wait that is part of a circle has lasted at least this long: else it may be one that just ends.
const DEADLOCK_NS: u64 = 100_000_000;

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
    pub waited_ns: u64,
    /// Estimated from the ends of waits that were told.
    pub waits: f64,
    pub waiters: BTreeSet<ThreadId>,
    pub holder: Holder,
    /// Where it is waited for and given up, each the one with the most time: functions of the program, innermost first.
    pub waited_in: Vec<String>,
    pub released_in: Vec<String>,
}

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

/// One lock of the kernel that recorded threads waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelLockRow {
    pub lock: LockId,
    /// `mutex`, `rwsem`, `spinlock` and so on.
    pub kind: &'static str,
    pub count: u64,
    /// Asleep, and spinning.
    pub slept_ns: u64,
    pub spun_ns: u64,
    pub longest_ns: u64,
    pub holder: Holder,
    /// Kernel function in which most of it was waited for.
    pub waited_in: Option<String>,
}

/// Threads that wait for each other in a circle: each waits for the lock that the next one holds, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    pub steps: Vec<(ThreadId, LockId)>,
    /// How long it has lasted at least.
    pub since_ns: u64,
}

impl LockReport {
    pub(super) fn of(recording: &Recording, shares: &Shares) -> Self {
        Self {
            futexes: futexes(recording, shares),
            kernel: kernel_locks(recording, shares),
            deadlocks: deadlocks(recording),
        }
    }

    /// Time in which threads waited for locks of their programs.
    pub fn futex_lock_ns(&self) -> u64 {
        let locks = self.futexes.iter().filter(|row| row.kind.is_lock());
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

fn futexes(recording: &Recording, shares: &Shares) -> Vec<FutexRow> {
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

fn row(recording: &Recording, lock: LockId, sum: Sum) -> Option<FutexRow> {
    let waited_ns = sum.by_kind.values().fold(0_u64, |all, &ns| all.saturating_add(ns));
    let (&kind, _) = sum.by_kind.iter().max_by_key(|&(_, &ns)| ns)?;
    Some(FutexRow {
        lock,
        kind,
        waited_ns,
        waits: sum.waits,
        waiters: sum.waiters,
        holder: holder(recording, lock),
        waited_in: largest(&sum.waiting).map_or(vec![], |stack| functions(recording, stack)),
        released_in: largest(&sum.releasing).map_or(vec![], |stack| functions(recording, stack)),
    })
}

pub(super) fn kind_of(recording: &Recording, stack: StackId, state: u32) -> FutexKind {
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
fn functions(recording: &Recording, stack: StackId) -> Vec<String> {
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

/// Who held a lock, by its own word at the ticks, or else by who ended the waits for it.
fn holder(recording: &Recording, lock: LockId) -> Holder {
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

fn kernel_locks(recording: &Recording, shares: &Shares) -> Vec<KernelLockRow> {
    let mut rows: BTreeMap<LockId, KernelLockRow> = BTreeMap::new();
    for waits in &recording.locks.kernel_waits {
        let row = rows.entry(waits.lock).or_insert_with(|| KernelLockRow {
            lock: waits.lock,
            kind: kernel_kind(waits.kind),
            count: 0,
            slept_ns: 0,
            spun_ns: 0,
            longest_ns: 0,
            holder: holder(recording, waits.lock),
            waited_in: waited_in(recording, shares, waits.lock),
        });
        row.count = row.count.saturating_add(waits.count);
        row.longest_ns = row.longest_ns.max(waits.longest_ns);
        let sum = if waits.kind & contention::SPIN != 0 { &mut row.spun_ns } else { &mut row.slept_ns };
        *sum = sum.saturating_add(waits.waited_ns);
    }
    let mut rows: Vec<KernelLockRow> = rows.into_values().collect();
    rows.sort_by_key(|row| (Reverse(row.slept_ns.saturating_add(row.spun_ns)), row.lock));
    rows
}

/// What the kernel's bits say (`LCB_F_*`).
fn kernel_kind(bits: u32) -> &'static str {
    let has = |bit: u32| bits & bit != 0;
    if has(contention::MUTEX) {
        "mutex"
    } else if has(contention::PERCPU) {
        "percpu-rwsem"
    } else if has(contention::RT) {
        "rt_mutex"
    } else if has(contention::SPIN) {
        if has(contention::READ) || has(contention::WRITE) { "rwlock" } else { "spinlock" }
    } else if has(contention::READ) || has(contention::WRITE) {
        "rwsem"
    } else {
        "semaphore"
    }
}

/// The function that asks for it: the innermost that is neither the lock's own nor the scheduler's.
fn waited_in(recording: &Recording, shares: &Shares, lock: LockId) -> Option<String> {
    let mut by_function: HashMap<String, u64> = HashMap::new();
    for (sample, &ns) in
        recording.samples.iter().zip(&shares.ns).filter(|(sample, _)| sample.lock == Some(lock))
    {
        let stack = &recording.stacks[sample.stack as usize];
        let labels: Vec<String> = super::label::kernel_frames(recording, stack)
            .iter()
            .flat_map(|&frame| frame_labels(recording, frame))
            .map(|label| label.text.into_owned())
            .collect();
        let own = |name: &&str| !is_of_kernel_locks(name);
        if let Some(function) = telling(labels.iter().map(String::as_str).filter(own)) {
            add(by_function.entry(function.to_owned()).or_default(), ns.max(1));
        }
    }
    by_function.into_iter().max_by_key(|(name, ns)| (*ns, Reverse(name.clone()))).map(|(name, _)| name)
}

fn is_of_kernel_locks(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "mutex_",
        "rwsem_",
        "down_",
        "queued_spin_lock",
        "queued_read_lock",
        "queued_write_lock",
        "_raw_spin",
        "_raw_read",
        "_raw_write",
        "osq_lock",
        "percpu_down",
        "__percpu_",
        "rt_mutex",
        "native_queued",
    ];
    PARTS.iter().any(|part| name.trim_start_matches('_').starts_with(part.trim_start_matches('_')))
}

/// Circles among the waits that were open at the end.
fn deadlocks(recording: &Recording) -> Vec<Deadlock> {
    let ended = recording.meta.ended_at_ns;
    let is_old = |since_ns: u64| ended.saturating_sub(since_ns) >= DEADLOCK_NS;
    let waits: HashMap<ThreadId, (LockId, ThreadId, u64)> = recording
        .locks
        .open
        .iter()
        .filter(|open| is_old(open.since_ns))
        .filter_map(|open| match open.owner {
            Party::Thread(owner) => Some((open.waiter, (open.lock, owner, open.since_ns))),
            _ => None,
        })
        .collect();
    let mut found: BTreeSet<Vec<ThreadId>> = BTreeSet::new();
    let mut deadlocks = Vec::new();
    for &start in waits.keys().collect::<BTreeSet<_>>() {
        let Some(circle) = circle_from(start, &waits) else { continue };
        let mut members = circle.clone();
        members.sort_unstable();
        if found.insert(members) {
            let since = circle.iter().map(|thread| waits[thread].2).max().unwrap_or(0);
            let steps = circle.iter().map(|thread| (*thread, waits[thread].0)).collect();
            deadlocks.push(Deadlock { steps, since_ns: since });
        }
    }
    deadlocks
}

/// The circle that begins with this thread, if it is part of one.
fn circle_from(start: ThreadId, waits: &HashMap<ThreadId, (LockId, ThreadId, u64)>) -> Option<Vec<ThreadId>> {
    let mut circle = vec![start];
    let mut at = start;
    while circle.len() <= waits.len() {
        let (_, owner, _) = waits.get(&at)?;
        if *owner == start {
            return Some(circle);
        }
        at = *owner;
        circle.push(at);
    }
    None
}

/// What a lock is called: its variable, its place, or its address.
pub fn lock_name(recording: &Recording, lock: LockId) -> String {
    let Some(lock) = recording.locks.locks.get(lock as usize) else { return "a lock".to_owned() };
    if !lock.name.is_empty() {
        return format!("`{}`", lock.name);
    }
    let place = match lock.place {
        Place::Heap => "heap",
        Place::Anonymous => "anonymous memory",
        Place::Stack => "a stack",
        Place::Shared => "shared memory",
        Place::Kernel if lock.address == 0 => return "further locks".to_owned(),
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
    use crate::recording::{Held, Lock, Locks, Meta, OpenWait, Wake};

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

    fn open(waiter: ThreadId, lock: LockId, owner: ThreadId) -> OpenWait {
        OpenWait { waiter, lock, owner: Party::Thread(owner), since_ns: 1_000_000_000 }
    }

    fn with(open: Vec<OpenWait>) -> Recording {
        Recording {
            meta: Meta { ended_at_ns: 5_000_000_000, ..Meta::default() },
            locks: Locks { followed: true, locks: locks(4), open, ..Locks::default() },
            ..Recording::default()
        }
    }

    #[test]
    fn two_threads_that_wait_for_each_other_are_a_deadlock_once() {
        let found = deadlocks(&with(vec![open(1, 0, 2), open(2, 1, 1), open(3, 0, 2)]));
        assert_eq!(found, [Deadlock { steps: vec![(1, 0), (2, 1)], since_ns: 1_000_000_000 }]);
    }

    #[test]
    fn a_chain_that_ends_with_a_running_thread_is_none() {
        assert_eq!(deadlocks(&with(vec![open(1, 0, 2), open(2, 1, 3)])), []);
    }

    #[test]
    fn a_circle_of_moments_is_none() {
        let mut recording = with(vec![open(1, 0, 2), open(2, 1, 1)]);
        recording.meta.ended_at_ns = 1_050_000_000;
        assert_eq!(deadlocks(&recording), []);
    }

    #[test]
    fn a_circle_of_many_has_each_step() {
        let found = deadlocks(&with(vec![open(1, 0, 2), open(2, 1, 3), open(3, 2, 1)]));
        assert_eq!(found[0].steps, [(1, 0), (2, 1), (3, 2)]);
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
        let found = holder(&Recording { locks, ..Recording::default() }, 0);
        assert!(found.observed);
        assert_eq!(found.parties, [(Party::Thread(1), 1.0)]);
        assert_eq!((found.known_ratio, found.meanwhile.as_slice()), (0.75, &[(state::FSYNC, 1.0)][..]));
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
        let found = holder(&Recording { locks, ..Recording::default() }, 0);
        assert!(!found.observed);
        assert_eq!(found.parties, [(Party::Thread(2), 0.75), (Party::Thread(3), 0.25)]);
        assert_eq!(found.meanwhile[0], (state::TIMER, 2.0 / 3.0));
    }

    #[test]
    fn locks_of_the_kernel_are_told_by_its_own_bits() {
        let kinds = [32 | 1, 32, 2, 4, 1, 1 | 2, 16 | 2, 8].map(kernel_kind);
        assert_eq!(
            kinds,
            ["mutex", "mutex", "rwsem", "rwsem", "spinlock", "rwlock", "percpu-rwsem", "rt_mutex"]
        );
    }
}
