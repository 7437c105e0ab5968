//! What a thread waited for in the terms of the rules, where the states of the ledger alone do not tell: by stacks, by the other end of a
//! connection, by how rarely a wait ends.

use std::collections::{HashMap, HashSet};

use profiler_common::state::{self, Group};

use super::disk_kinds::{DiskKinds, Kind};
use super::times::{Parts, Times};
use crate::analyze::ledger::group;
use crate::analyze::stacks::label::frame_labels;
use crate::analyze::{Account, ThreadAccount, add};
use crate::recording::{LockId, Peer, Span, StackId, ThreadId};

/// Waits for another process that end this rarely (a second), in a thread that hardly runs, are waits for work.
const RARE_WAITS: f64 = 2.0;
const HARDLY_RUNS: f64 = 0.02;

/// Waits for other threads and processes.
const IPC: [u32; 4] = [state::UNIX_SOCKET, state::PIPE, state::EVENTFD, state::SYSV_IPC];

/// What the ledger's states alone do not tell: by thread.
pub struct Reasons {
    /// Futex time that is a wait for a lock, by stacks.
    lock_ns: HashMap<ThreadId, u64>,
    /// Futex time that samples saw.
    futex_seen_ns: HashMap<ThreadId, u64>,
    /// Of the waits on internet sockets: those on connections that clients have opened, and all.
    served_ns: HashMap<ThreadId, (u64, u64)>,
    peers: HashMap<(ThreadId, Peer), u64>,
    pub disk_kinds: DiskKinds,
    database_lock: HashMap<ThreadId, u64>,
    pub database_lock_ns: u64,
}

/// Functions in which PostgreSQL waits for a lock of its own: the wait itself is one for a latch, by epoll, or for a semaphore.
const DATABASE_LOCKS: &[&str] = &["ProcSleep", "LWLockAcquire", "LWLockAcquireOrWait"];

impl Reasons {
    pub fn of(recording: &Span, parts: &Parts<'_>) -> Self {
        let mut reasons = Self {
            lock_ns: HashMap::new(),
            futex_seen_ns: HashMap::new(),
            served_ns: HashMap::new(),
            peers: HashMap::new(),
            disk_kinds: DiskKinds::of(recording),
            database_lock: HashMap::new(),
            database_lock_ns: 0,
        };
        reasons.look_at_locks(recording, parts);
        reasons.look_at_sockets(recording);
        reasons
    }

    fn look_at_locks(&mut self, recording: &Span, parts: &Parts<'_>) {
        let mut database: HashMap<StackId, bool> = HashMap::new();
        let mut kinds = HashMap::new();
        let used_as_locks: HashSet<LockId> =
            parts.locks.futexes.iter().filter(|row| row.used_as_lock).map(|row| row.lock).collect();
        for (sample, &ns) in recording.samples.iter().zip(&parts.shares.ns) {
            let is_futex = matches!(sample.state, state::FUTEX_LOCK | state::FUTEX_WAIT | state::FUTEX_TIMED);
            if is_futex || sample.state == state::POLL || sample.state == state::SYSV_IPC {
                let stack = sample.stack;
                let is_database =
                    *database.entry(stack).or_insert_with(|| has_function(recording, stack, DATABASE_LOCKS));
                if is_database {
                    add(self.database_lock.entry(sample.thread).or_default(), ns);
                    self.database_lock_ns = self.database_lock_ns.saturating_add(ns);
                    if is_futex {
                        add(self.futex_seen_ns.entry(sample.thread).or_default(), ns);
                    }
                    continue;
                }
            }
            if is_futex {
                add(self.futex_seen_ns.entry(sample.thread).or_default(), ns);
                let kind = *kinds
                    .entry((sample.stack, sample.state))
                    .or_insert_with(|| crate::analyze::locks::kind_of(recording, sample.stack, sample.state));
                if kind.is_lock() || sample.lock.is_some_and(|lock| used_as_locks.contains(&lock)) {
                    add(self.lock_ns.entry(sample.thread).or_default(), ns);
                }
            }
        }
    }

    fn look_at_sockets(&mut self, recording: &Span) {
        let listening: HashSet<u16> = recording.machine.listening_ports.iter().copied().collect();
        for wake in &recording.locks.wakes {
            let Some(peer) = wake.peer else { continue };
            let served = self.served_ns.entry(wake.waiter).or_default();
            served.1 = served.1.saturating_add(wake.weight_ns);
            if listening.contains(&peer.local_port) {
                served.0 = served.0.saturating_add(wake.weight_ns);
            } else {
                let sum = self.peers.entry((wake.waiter, Peer { local_port: 0, ..peer })).or_default();
                *sum = sum.saturating_add(wake.weight_ns);
            }
        }
    }

    /// Servers that working threads waited for, the longest first.
    pub fn peers(&self, rows: &HashSet<ThreadId>) -> Vec<(Peer, u64)> {
        let mut sums: HashMap<Peer, u64> = HashMap::new();
        for ((_, peer), ns) in self.peers.iter().filter(|((thread, _), _)| rows.contains(thread)) {
            let sum = sums.entry(*peer).or_default();
            *sum = sum.saturating_add(*ns);
        }
        let mut peers: Vec<_> = sums.into_iter().collect();
        peers.sort_by_key(|&(peer, ns)| (std::cmp::Reverse(ns), peer));
        peers
    }

    pub fn times(&self, recording: &Span, account: &ThreadAccount) -> Times {
        let thread = account.row as ThreadId;
        let account = &account.account;
        // A capture may hold any number.
        let ns = |code: u32| account.state(code).ns.min(u64::MAX >> 8);
        let of = |wanted: Group| {
            account.ns_where(|code| state::is_blocked(code) && group(code) == wanted).min(u64::MAX >> 8)
        };
        let hardly_runs = (ns(state::ON_CPU) as f64) < HARDLY_RUNS * account.elapsed_ns as f64;
        let seconds = account.elapsed_ns as f64 / 1e9;
        let is_rare =
            |code: u32| hardly_runs && (account.state(code).count as f64) < RARE_WAITS * seconds.max(0.5);
        let engaged = |codes: &[u32]| {
            codes
                .iter()
                .filter(|&&code| !is_rare(code))
                .fold(0_u64, |sum, &code| sum.saturating_add(ns(code)))
        };
        // By what ended them.
        let uring = (ns(state::IO_URING) as f64 * self.disk_kinds.uring_by_disk) as u64;
        let told = |kind: Kind| {
            let states = [state::AIO, state::DISK_OTHER, state::KERNEL_IO];
            let of = |sum: u64, code: u32| sum.saturating_add(self.disk_kinds.of_ns(ns(code), code, kind));
            states.into_iter().fold(self.disk_kinds.of_ns(uring, state::IO_URING, kind), of)
        };
        let mut times = Times {
            elapsed_ns: account.elapsed_ns,
            active_ns: 0,
            on_cpu_ns: ns(state::ON_CPU),
            run_queue_ns: ns(state::RUNQ_WAKE) + ns(state::RUNQ_PREEMPT),
            disk_read_ns: ns(state::DISK_READ) + ns(state::EXEC) + told(Kind::Read),
            disk_write_ns: ns(state::DISK_WRITE) + told(Kind::Write),
            fsync_ns: ns(state::FSYNC) + told(Kind::Sync),
            file_wait_ns: ns(state::FILE_WAIT),
            page_fault_io_ns: ns(state::PAGE_FAULT_IO),
            memory_ns: of(Group::Memory),
            lock_ns: self.lock_ns(thread, ns),
            net_ns: self.of_servers(thread, engaged(&[state::NET_RECV]))
                + engaged(&[state::NET_SEND, state::NET_CONNECT]),
            ipc_ns: engaged(&IPC),
            ipc_wake_ns: (ns(state::RUNQ_WAKE) as f64 * of_waits(account, &IPC)) as u64,
            unknown_ns: of(Group::Unknown),
        };
        // Threads of the kernel are not judged, but what works for a ring of a process is its own.
        let row = &recording.threads[thread as usize];
        let is_leader = recording.processes.get(row.process as usize).is_none_or(|own| own.tgid == row.tid);
        if row.kernel_thread && is_leader {
            return Times { elapsed_ns: account.elapsed_ns, ..Times::default() };
        }
        times.active_ns =
            times.parts().iter().fold(0_u64, |sum, part| sum.saturating_add(*part)).min(account.elapsed_ns);
        times
    }

    /// Of the waits for input from internet sockets, those for servers: a client's next request is work.
    fn of_servers(&self, thread: ThreadId, recv_ns: u64) -> u64 {
        let served =
            self.served_ns.get(&thread).map_or(0.0, |&(served, all)| served as f64 / all.max(1) as f64);
        recv_ns - (recv_ns as f64 * served) as u64
    }

    /// Waits for locks of the program, of files and of the database. `ns` is the thread's time in a state.
    fn lock_ns(&self, thread: ThreadId, ns: impl Fn(u32) -> u64) -> u64 {
        let futex_ns = ns(state::FUTEX_LOCK) + ns(state::FUTEX_WAIT) + ns(state::FUTEX_TIMED);
        let of = |sums: &HashMap<ThreadId, u64>| sums.get(&thread).copied().unwrap_or(0);
        // Where no stack tells, the mark does.
        let unseen = if of(&self.futex_seen_ns) == 0 { ns(state::FUTEX_LOCK) } else { 0 };
        let of_program = of(&self.lock_ns).saturating_add(unseen).min(futex_ns);
        of_program.saturating_add(ns(state::FILE_LOCK)).saturating_add(of(&self.database_lock))
    }
}

/// Which part of a thread's waits were in these states, by number: each ended with a wake-up.
fn of_waits(account: &Account, states: &[u32]) -> f64 {
    let waits = account.states.iter().filter(|(code, _)| state::is_blocked(**code));
    let (mut all, mut of_these) = (0_u64, 0_u64);
    for (code, time) in waits {
        all = all.saturating_add(time.count);
        if states.contains(code) {
            of_these = of_these.saturating_add(time.count);
        }
    }
    of_these as f64 / all.max(1) as f64
}

fn has_function(recording: &Span, stack: StackId, names: &[&str]) -> bool {
    let frames = &recording.stacks[stack as usize].user;
    frames
        .iter()
        .flat_map(|&frame| frame_labels(recording, frame))
        .any(|label| names.contains(&label.text.as_ref()))
}
