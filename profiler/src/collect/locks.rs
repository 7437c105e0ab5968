//! Adds up who held locks, who ended waits, and with which stacks.
//!
//! In: [`LockSeen`], [`Wake`] and the samples of those who release locks. Out: the tables of [`Locks`]. Each table has a bound;
//! what does not fit is counted.

use std::collections::HashMap;
use std::net::IpAddr;

use indexmap::IndexSet;
use profiler_common::{
    ledger::{HISTORY, ThreadRecord},
    lock::{KernelLockKey, KernelLockWaits, LockSeen, UNKNOWN_STATE, Wake as WakeHeader, contention, waker},
    state,
};

use super::{rows::Rows, text};
use profiler_report::recording::{
    Held, KernelWaits, Lock, LockId, LockRows, OpenWait, Party, Peer, Place, ProcessId, Release, StackId,
    ThreadId, Wake,
};

/// Locks that are distinguished: some 100 bytes each. A program with a million locks has few that are waited
/// for.
const MOST_LOCKS: usize = 4096;
/// Distinct rows of each other table: some 100 to 200 bytes each, 10 MiB in total.
const MOST_ROWS: usize = 16_384;

#[derive(Clone, PartialEq, Eq, Hash)]
struct HeldKey {
    waiter: ThreadId,
    lock: LockId,
    owner: Party,
    owner_state: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct WakeKey {
    waiter: ThreadId,
    state: u32,
    lock: Option<LockId>,
    waker: Party,
    interrupted: bool,
    stack: StackId,
    peer: Option<Peer>,
}

#[derive(Default)]
struct WakeSum {
    weight_ns: u64,
    waits: f64,
    count: u32,
    meanwhile: HashMap<u32, u64>,
}

/// A stack that is to follow.
struct Pending {
    at_ns: u64,
    weight_ns: u64,
}

/// All that was seen of locks in the present window, and the locks so far.
pub struct LockTables {
    locks: IndexSet<Lock>,
    by_address: HashMap<(Option<ProcessId>, u64), LockId>,
    held: Rows<HeldKey, u64>,
    wakes: Rows<WakeKey, WakeSum>,
    releases: Rows<(LockId, ThreadId, StackId), u64>,
    /// By the waiter's tid: the last lock that it was seen to wait for.
    last_seen: HashMap<u32, OpenWait>,
    pending: HashMap<u32, Pending>,
    /// What no table had room for.
    pub over_limit: u64,
}

impl Default for LockTables {
    fn default() -> Self {
        Self {
            locks: IndexSet::new(),
            by_address: HashMap::new(),
            held: Rows::new(MOST_ROWS),
            wakes: Rows::new(MOST_ROWS),
            releases: Rows::new(MOST_ROWS),
            last_seen: HashMap::new(),
            pending: HashMap::new(),
            over_limit: 0,
        }
    }
}

impl LockTables {
    /// The row of a lock; `place` is asked at its first sight. None if the table is full.
    pub fn lock(
        &mut self,
        process: Option<ProcessId>,
        address: u64,
        kind: u32,
        place: impl FnOnce() -> Place,
    ) -> Option<LockId> {
        if let Some(&known) = self.by_address.get(&(process, address)) {
            return Some(known);
        }
        if self.locks.len() >= MOST_LOCKS {
            self.over_limit += 1;
            return None;
        }
        let kind = if process.is_some() { 0 } else { kind & !contention::SPIN };
        let place = if process.is_some() { place() } else { Place::Kernel };
        let (id, _) = self.locks.insert_full(Lock { process, address, kind, place, name: String::new() });
        self.by_address.insert((process, address), id as LockId);
        Some(id as LockId)
    }

    /// A thread waits for a lock at a tick.
    pub fn seen(&mut self, seen: &LockSeen, waiter: ThreadId, lock: LockId, owner: Party) {
        let owner_state = Some(seen.owner_state).filter(|&state| state != UNKNOWN_STATE);
        let open = OpenWait { waiter, lock, owner: owner.clone(), since_ns: seen.since_ns };
        self.last_seen.insert(seen.tid, open);
        let key = HeldKey { waiter, lock, owner, owner_state };
        match self.held.entry(key) {
            Some(ticks) => *ticks += u64::from(seen.weight),
            None => self.over_limit += 1,
        }
    }

    /// A wait is over.
    pub fn woken(
        &mut self,
        wake: &WakeHeader,
        waiter: ThreadId,
        lock: Option<LockId>,
        party: Party,
        stack: StackId,
    ) {
        if wake.waker & waker::STACK_FOLLOWS != 0 {
            self.pending.insert(wake.tid, Pending { at_ns: wake.at_ns, weight_ns: wake.weight_ns });
        }
        let interrupted = wake.waker & waker::INTERRUPTED != 0 || wake.waker_tid == 0;
        let key =
            WakeKey { waiter, state: wake.state, lock, waker: party, interrupted, stack, peer: peer(wake) };
        let Some(sum) = self.wakes.entry(key) else {
            self.over_limit += 1;
            return;
        };
        let waited_ns = wake.at_ns.saturating_sub(wake.since_ns).max(1);
        sum.weight_ns = sum.weight_ns.saturating_add(wake.weight_ns);
        // A wait of this length is reported with the probability of its length to the period, or else in any
        // case.
        sum.waits += (wake.weight_ns as f64 / waited_ns as f64).max(1.0);
        sum.count += 1;
        if wake.waker & waker::MEMBER != 0 && !interrupted {
            let scale = wake.weight_ns as f64 / waited_ns as f64;
            for (state, ns) in meanwhile(wake) {
                let ns = (ns as f64 * scale) as u64;
                let known = sum.meanwhile.entry(state).or_default();
                *known = known.saturating_add(ns);
            }
        }
    }

    /// The stack of the one who has ended a wait for a lock. `waiter` by its tid.
    pub fn released(&mut self, waiter: u32, at_ns: u64, lock: LockId, holder: ThreadId, stack: StackId) {
        let Some(pending) = self.pending.remove(&waiter).filter(|pending| pending.at_ns == at_ns) else {
            return;
        };
        let key = (lock, holder, stack);
        match self.releases.entry(key) {
            Some(sum) => *sum = sum.saturating_add(pending.weight_ns),
            None => self.over_limit += 1,
        }
    }

    /// A thread has ended, and another may have its id later.
    pub fn thread_ended(&mut self, tid: u32) {
        self.last_seen.remove(&tid);
        self.pending.remove(&tid);
    }

    /// The rows of the present window, and the waits that are open at its end: `accounts` are those of the threads that live
    /// then. `kernel` has waits for the kernel's locks. The next window begins.
    pub fn take(
        &mut self,
        accounts: &[ThreadRecord],
        kernel: Vec<(KernelLockKey, KernelLockWaits)>,
    ) -> LockRows {
        let open = accounts.iter().filter_map(|account| {
            let open = self.last_seen.get(&account.tid)?;
            // It has waited since then without an end, for that very lock.
            (state::is_blocked(account.state) && account.since_ns == open.since_ns).then(|| open.clone())
        });
        let open = open.collect();
        let kernel_waits = kernel.into_iter().filter_map(|(key, waits)| {
            let lock = self.kernel_lock(&key)?;
            let KernelLockWaits { count, waited_ns, longest_ns } = waits;
            Some(KernelWaits { lock, kind: key.kind, count, waited_ns, longest_ns })
        });
        let kernel_waits = kernel_waits.collect();
        let held = self.held.take().into_iter().map(|(key, ticks)| Held {
            waiter: key.waiter,
            lock: key.lock,
            owner: key.owner,
            owner_state: key.owner_state,
            ticks,
        });
        let wakes = self.wakes.take().into_iter().map(|(key, sum)| {
            let mut meanwhile: Vec<(u32, u64)> = sum.meanwhile.into_iter().collect();
            meanwhile.sort_unstable();
            Wake {
                waiter: key.waiter,
                state: key.state,
                lock: key.lock,
                waker: key.waker,
                interrupted: key.interrupted,
                stack: key.stack,
                peer: key.peer,
                weight_ns: sum.weight_ns,
                waits: sum.waits,
                count: sum.count,
                meanwhile,
            }
        });
        let releases = self.releases.take().into_iter().map(|((lock, holder, stack), weight_ns)| Release {
            lock,
            holder,
            stack,
            weight_ns,
        });
        LockRows {
            kernel_waits,
            held: held.collect(),
            wakes: wakes.collect(),
            releases: releases.collect(),
            open,
        }
    }

    /// All locks that were distinguished.
    pub fn into_locks(self) -> Vec<Lock> {
        self.locks.into_iter().collect()
    }

    /// A lock of the kernel that is known by where it lies has its name from the start.
    fn kernel_lock(&mut self, key: &KernelLockKey) -> Option<LockId> {
        use profiler_common::lock::lock_name;
        let id = self.lock(None, key.lock, key.kind, || Place::Kernel)?;
        let name = match key.name {
            lock_name::MMAP_LOCK => "mmap_lock",
            lock_name::SIGLOCK => "siglock",
            _ => return Some(id),
        };
        let mut lock = self.locks.get_index(id as usize)?.clone();
        if lock.name.is_empty() {
            name.clone_into(&mut lock.name);
            let (last, _) = self.locks.insert_full(lock);
            // In the place of the one without a name.
            self.locks.swap_indices(id as usize, last);
            self.locks.pop();
        }
        Some(id)
    }
}

/// The other end of the socket on which a thread waited.
fn peer(wake: &WakeHeader) -> Option<Peer> {
    let bytes = wake.peer_address;
    let address = match wake.peer_family as i32 {
        libc::AF_INET => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        libc::AF_INET6 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some(Peer { address, port: wake.peer_port as u16, local_port: wake.local_port as u16 })
}

/// What the waker did during the wait that it ended, as far as it remembers: its last intervals, each up to the next one, and
/// the present one, which is on the CPU.
fn meanwhile(wake: &WakeHeader) -> Vec<(u32, u64)> {
    let known = (wake.waker_changes as usize).min(HISTORY);
    let newest = wake.waker_changes as usize;
    let intervals = (newest - known..newest).map(|index| wake.waker_history[index % HISTORY]);
    let mut starts: Vec<(u32, u64)> = intervals.map(|packed| ((packed & 63) as u32, packed >> 6)).collect();
    starts.push((state::ON_CPU, wake.waker_since_ns));
    let ends = starts.iter().skip(1).map(|&(_, start)| start).chain([wake.at_ns]);
    let parts = starts.iter().zip(ends).map(|(&(state, start), end)| {
        let (start, end) = (start.max(wake.since_ns), end.min(wake.at_ns));
        (state, end.saturating_sub(start))
    });
    parts.filter(|&(_, ns)| ns > 0).collect()
}

/// The one of whom a record tells by ids and a name.
pub fn stranger(tgid: u32, comm: &[u8; profiler_common::ledger::COMM_BYTES], kernel: bool) -> Party {
    Party::Stranger { tgid, comm: text(comm), kernel }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::ledger::COMM_BYTES;

    fn wake(since_ns: u64, at_ns: u64, weight_ns: u64) -> WakeHeader {
        WakeHeader {
            kind: 0,
            tid: 7,
            ns_tgid: 1,
            state: state::FUTEX_LOCK,
            since_ns,
            at_ns,
            weight_ns,
            arguments: [0x1000, 128, 2],
            waker_tid: 8,
            waker_tgid: 1,
            waker: waker::MEMBER,
            kernel_bytes: 0,
            waker_history: [0; HISTORY],
            waker_changes: 0,
            reserved: 0,
            waker_since_ns: at_ns,
            peer_address: [0; 16],
            peer_family: 0,
            peer_port: 0,
            local_port: 0,
            reserved_too: 0,
            waker_comm: [0; COMM_BYTES],
        }
    }

    fn packed(since_ns: u64, state: u32) -> u64 {
        since_ns << 6 | u64::from(state)
    }

    #[test]
    fn what_the_holder_did_is_cut_to_the_wait() {
        // On the CPU from 0 to 100, in fsync up to 900, ready up to 950, on the CPU since; the wait from 50 to 1000.
        let mut wake = wake(50, 1000, 950);
        for (place, &entry) in
            [packed(0, state::ON_CPU), packed(100, state::FSYNC), packed(900, state::RUNQ_WAKE)]
                .iter()
                .enumerate()
        {
            wake.waker_history[place] = entry;
        }
        (wake.waker_changes, wake.waker_since_ns) = (3, 950);
        let expected =
            [(state::ON_CPU, 50), (state::FSYNC, 800), (state::RUNQ_WAKE, 50), (state::ON_CPU, 50)];
        assert_eq!(meanwhile(&wake), expected);
    }

    #[test]
    fn what_the_holder_does_not_remember_is_missing() {
        // Nine intervals of 10 each since 0; only the last eight are known.
        let mut wake = wake(0, 100, 100);
        for index in 0..9_usize {
            wake.waker_history[index % HISTORY] = packed(10 * index as u64, state::POLL);
        }
        (wake.waker_changes, wake.waker_since_ns) = (9, 90);
        let known: u64 = meanwhile(&wake).iter().map(|&(_, ns)| ns).sum();
        assert_eq!(known, 90);
    }

    #[test]
    fn waits_are_estimated_from_the_time_that_they_stand_for() {
        let mut tables = LockTables::default();
        // One wait of 1 ms that stands for 10 ms, one of 50 ms that stands for itself.
        tables.woken(&wake(0, 1_000_000, 10_000_000), 0, None, Party::Nobody, 0);
        tables.woken(&wake(0, 50_000_000, 50_000_000), 0, None, Party::Nobody, 0);
        let locks = tables.take(&[], vec![]);
        assert_eq!(
            (locks.wakes[0].waits, locks.wakes[0].weight_ns, locks.wakes[0].count),
            (11.0, 60_000_000, 2)
        );
    }

    #[test]
    fn a_stack_belongs_to_the_wake_of_the_same_moment() {
        let mut tables = LockTables::default();
        let lock = tables.lock(Some(0), 0x1000, 0, || Place::Heap).expect("room");
        let mut told = wake(0, 1000, 1000);
        told.waker |= waker::STACK_FOLLOWS;
        tables.woken(&told, 0, Some(lock), Party::Thread(1), 0);
        tables.released(7, 999, lock, 1, 5);
        tables.woken(&told, 0, Some(lock), Party::Thread(1), 0);
        tables.released(7, 1000, lock, 1, 5);
        let releases = tables.take(&[], vec![]).releases;
        assert_eq!(releases, [Release { lock, holder: 1, stack: 5, weight_ns: 1000 }]);
    }

    #[test]
    fn a_million_locks_have_a_bound() {
        let mut tables = LockTables::default();
        for address in 0..1_000_000_u64 {
            tables.lock(Some(0), address, 0, || Place::Heap);
        }
        assert_eq!(tables.over_limit, 1_000_000 - MOST_LOCKS as u64);
        assert_eq!(tables.into_locks().len(), MOST_LOCKS);
    }

    #[test]
    fn a_kernel_lock_that_is_known_by_its_place_has_its_name() {
        let mut tables = LockTables::default();
        tables.lock(None, 0x10, contention::WRITE, || Place::Kernel);
        tables.lock(None, 0x20, contention::MUTEX, || Place::Kernel);
        let key = |lock, name| KernelLockKey { lock, kind: contention::WRITE, name };
        let waits = KernelLockWaits { count: 1, waited_ns: 2, longest_ns: 2 };
        let kernel = vec![(key(0x10, 1), waits), (key(0x30, 0), waits)];
        let rows = tables.take(&[], kernel);
        let locks = tables.into_locks();
        let names: Vec<_> = locks.iter().map(|lock| (lock.address, lock.name.as_str())).collect();
        assert_eq!(names, [(0x10, "mmap_lock"), (0x20, ""), (0x30, "")]);
        assert_eq!(rows.kernel_waits.len(), 2);
    }
}
