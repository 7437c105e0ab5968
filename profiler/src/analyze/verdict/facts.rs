//! What the rules see: plain numbers of the threads that did something.
//!
//! A thread that waits for work most of the time would only dilute the shares of those that have some, so it is left out. Waiting for a
//! request on a server's own connection, or for input that hardly ever comes, is waiting for work too.

use std::collections::{BTreeMap, HashMap, HashSet};

use profiler_common::block_io::ended_by;
use profiler_common::state::{self, Group};

use crate::analyze::add;
use crate::analyze::enders::Ender;
use crate::analyze::kernel_paths::{Path, path};
use crate::analyze::label::{frame_labels, kernel_frames};
use crate::analyze::ledger::group;
use crate::analyze::locks::LockReport;
use crate::analyze::shares::Shares;
use crate::analyze::wakers::{Edge, Wakers};
use crate::analyze::{Account, CrossCheck, Disks, Hot, Ledger, ThreadAccount, Trust};
use crate::recording::{Machine, Peer, Recording, StackId, ThreadId};

/// A thread that does something for less than this share of its time waits for work.
const WORKING: f64 = 0.2;
/// Waits for another process that end this rarely (a second), in a thread that hardly runs, are waits for work.
const RARE_WAITS: f64 = 2.0;
const HARDLY_RUNS: f64 = 0.02;

/// Waits for other threads and processes.
const IPC: [u32; 4] = [state::UNIX_SOCKET, state::PIPE, state::EVENTFD, state::SYSV_IPC];

/// Everything that a rule may look at.
pub struct Facts<'a> {
    pub recording: &'a Recording,
    pub ledger: &'a Ledger,
    pub trust: &'a Trust,
    pub hot: &'a Hot,
    pub disks: &'a Disks<'a>,
    pub locks: &'a LockReport,
    pub wakers: &'a Wakers,
    pub cross_check: Option<&'a CrossCheck>,
    pub machine: &'a Machine,
    pub elapsed_ns: u64,
    /// CPUs that the threads may use.
    pub allowed_cpus: f64,
    /// The threads that did something, and their times together.
    pub working: Vec<Working>,
    pub work: Times,
    /// Of all threads.
    pub all_active_ns: u64,
    /// Time of working threads by the way that they were on in the kernel: waiting, and running.
    pub waiting_paths: BTreeMap<Path, u64>,
    pub running_paths: BTreeMap<Path, u64>,
    /// Waiting for the network by the other end, where the other end is a server.
    pub peers: Vec<(Peer, u64)>,
    /// Waits for locks of the database itself (PostgreSQL), which are no futexes.
    pub database_lock_ns: u64,
}

/// One thread that did something.
#[derive(Clone, Debug)]
pub struct Working {
    pub thread: ThreadId,
    pub times: Times,
}

/// Where time went, in the terms of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub elapsed_ns: u64,
    /// All but waiting for work.
    pub active_ns: u64,
    pub on_cpu_ns: u64,
    pub run_queue_ns: u64,
    pub disk_read_ns: u64,
    pub disk_write_ns: u64,
    pub fsync_ns: u64,
    /// In calls on files, but not for the device.
    pub file_wait_ns: u64,
    pub page_fault_io_ns: u64,
    /// Page faults and changes of the address space that wait for locks or memory.
    pub memory_ns: u64,
    /// Locks of the program.
    pub lock_ns: u64,
    /// For servers.
    pub net_ns: u64,
    pub ipc_ns: u64,
    /// Of [`Times::run_queue_ns`], from wake-ups that ended waits for threads and processes.
    pub ipc_wake_ns: u64,
    pub unknown_ns: u64,
}

impl Times {
    fn add(&mut self, other: &Self) {
        let fields: [(&mut u64, u64); 15] = [
            (&mut self.elapsed_ns, other.elapsed_ns),
            (&mut self.active_ns, other.active_ns),
            (&mut self.on_cpu_ns, other.on_cpu_ns),
            (&mut self.run_queue_ns, other.run_queue_ns),
            (&mut self.disk_read_ns, other.disk_read_ns),
            (&mut self.disk_write_ns, other.disk_write_ns),
            (&mut self.fsync_ns, other.fsync_ns),
            (&mut self.file_wait_ns, other.file_wait_ns),
            (&mut self.page_fault_io_ns, other.page_fault_io_ns),
            (&mut self.memory_ns, other.memory_ns),
            (&mut self.lock_ns, other.lock_ns),
            (&mut self.net_ns, other.net_ns),
            (&mut self.ipc_ns, other.ipc_ns),
            (&mut self.ipc_wake_ns, other.ipc_wake_ns),
            (&mut self.unknown_ns, other.unknown_ns),
        ];
        for (sum, more) in fields {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a rule is told beside the recording, by the names of [`Facts`].
pub struct Parts<'a> {
    pub ledger: &'a Ledger,
    pub threads: &'a [ThreadAccount],
    pub shares: &'a Shares,
    pub trust: &'a Trust,
    pub hot: &'a Hot,
    pub disks: &'a Disks<'a>,
    pub locks: &'a LockReport,
    pub wakers: &'a Wakers,
    pub cross_check: Option<&'a CrossCheck>,
}

impl<'a> Facts<'a> {
    pub fn of(recording: &'a Recording, parts: &Parts<'a>) -> Self {
        let reasons = Reasons::of(recording, parts);
        let mut working = Vec::new();
        let (mut work, mut all_active_ns) = (Times::default(), 0_u64);
        for account in parts.threads {
            let times = reasons.times(recording, account);
            all_active_ns = all_active_ns.saturating_add(times.active_ns);
            if times.active_ns as f64 >= WORKING * times.elapsed_ns as f64 && times.active_ns > 0 {
                work.add(&times);
                working.push(Working { thread: account.row as ThreadId, times });
            }
        }
        let rows: HashSet<ThreadId> = working.iter().map(|working| working.thread).collect();
        let mut facts = Self {
            recording,
            ledger: parts.ledger,
            trust: parts.trust,
            hot: parts.hot,
            disks: parts.disks,
            locks: parts.locks,
            wakers: parts.wakers,
            cross_check: parts.cross_check,
            machine: &recording.machine,
            elapsed_ns: recording.elapsed_ns(),
            allowed_cpus: f64::from(recording.machine.allowed_cpus.unwrap_or(recording.meta.cpus).max(1)),
            working,
            work,
            all_active_ns,
            waiting_paths: BTreeMap::new(),
            running_paths: BTreeMap::new(),
            peers: reasons.peers(&rows),
            database_lock_ns: reasons.database_lock_ns,
        };
        facts.follow_paths(parts.shares, &rows);
        facts
    }

    fn follow_paths(&mut self, shares: &Shares, rows: &HashSet<ThreadId>) {
        let mut known: HashMap<StackId, Option<Path>> = HashMap::new();
        for (sample, &ns) in self.recording.samples.iter().zip(&shares.ns) {
            if !rows.contains(&sample.thread)
                || matches!(sample.state, state::RUNQ_WAKE | state::RUNQ_PREEMPT)
            {
                continue;
            }
            let path = *known.entry(sample.stack).or_insert_with(|| path_of(self.recording, sample.stack));
            let Some(path) = path else { continue };
            let paths =
                if sample.state == state::ON_CPU { &mut self.running_paths } else { &mut self.waiting_paths };
            add(paths.entry(path).or_default(), ns);
        }
    }

    /// Share of the working threads' active time.
    pub fn share(&self, ns: u64) -> f64 {
        if self.work.active_ns == 0 { 0.0 } else { ns as f64 / self.work.active_ns as f64 }
    }

    /// How much of their time the working threads do something or want to.
    pub fn busyness(&self) -> f64 {
        self.work.active_ns as f64 / self.work.elapsed_ns.max(1) as f64
    }

    /// CPUs that the recorded threads kept busy.
    pub fn cpus_used(&self) -> f64 {
        self.ledger.account.state(state::ON_CPU).ns as f64 / self.elapsed_ns.max(1) as f64
    }

    /// The thread that was on the CPU for the longest.
    pub fn busiest(&self) -> Option<&Working> {
        self.working.iter().max_by_key(|working| working.times.on_cpu_ns)
    }

    /// `name (tid 7)`
    pub fn thread_name(&self, thread: ThreadId) -> String {
        self.recording
            .threads
            .get(thread as usize)
            .map_or("a thread".to_owned(), |row| format!("{} (tid {})", row.comm, row.tid))
    }

    /// How much of the machine's CPU time was used.
    pub fn machine_busy(&self) -> Option<f64> {
        let cpu = self.machine.cpu?;
        let all = [cpu.busy_ns, cpu.idle_ns, cpu.iowait_ns, cpu.steal_ns]
            .iter()
            .fold(0_u64, |sum, ns| sum.saturating_add(*ns));
        (all > 0).then(|| cpu.busy_ns.saturating_add(cpu.steal_ns) as f64 / all as f64)
    }

    pub fn steal(&self) -> Option<f64> {
        let cpu = self.machine.cpu?;
        let all = [cpu.busy_ns, cpu.idle_ns, cpu.iowait_ns, cpu.steal_ns]
            .iter()
            .fold(0_u64, |sum, ns| sum.saturating_add(*ns));
        (all > 0).then(|| cpu.steal_ns as f64 / all as f64)
    }

    /// A share of the recording in which tasks stood still, in the target's own group if that tells, else on the machine.
    pub fn pressure(&self, what: fn(&crate::recording::Pressure) -> u64) -> Option<f64> {
        let groups = self.machine.groups.iter().filter_map(|group| group.pressure);
        let all = groups.chain(self.machine.pressure).filter(|pressure| pressure.elapsed_ns > 0);
        all.map(|pressure| what(&pressure) as f64 / pressure.elapsed_ns as f64).reduce(f64::max)
    }

    pub fn paths_ns(&self, paths: &[Path]) -> u64 {
        let of = |map: &BTreeMap<Path, u64>| {
            paths.iter().filter_map(|path| map.get(path)).fold(0_u64, |sum, ns| sum.saturating_add(*ns))
        };
        of(&self.waiting_paths).saturating_add(of(&self.running_paths))
    }

    /// Share of waits in states for which `wanted` holds that a request of a disk, or its interrupt, has ended.
    pub fn ended_by_disk(&self, wanted: impl Fn(u32) -> bool) -> Option<f64> {
        let waits = self.recording.block_io.waits.iter().filter(|wait| wanted(wait.state));
        let (mut all, mut by_disk) = (0_u64, 0_u64);
        for wait in waits {
            all = all.saturating_add(wait.blocked_ns);
            if matches!(wait.ended_by, ended_by::OWN_REQUEST | ended_by::OTHERS_REQUEST | ended_by::INTERRUPT)
            {
                by_disk = by_disk.saturating_add(wait.blocked_ns);
            }
        }
        (all > 0).then(|| by_disk as f64 / all as f64)
    }

    /// The longest waits of working threads in states for which `wanted` holds, by who ended them.
    pub fn edges(&self, wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = &Edge> {
        self.wakers.edges.iter().filter(move |edge| wanted(edge.state))
    }

    /// For a person.
    pub fn ender_name(&self, ender: &Ender) -> String {
        match ender {
            Ender::Thread(thread) => self.thread_name(*thread),
            Ender::Process { tgid, comm } => format!("{comm} (pid {tgid}, not recorded)"),
            Ender::KernelThread(name) => format!("the kernel's {name}"),
            Ender::Timer => "a timer".to_owned(),
            Ender::Network => "packets from the network".to_owned(),
            Ender::Disk => "a disk".to_owned(),
            Ender::Interrupt => "an interrupt".to_owned(),
        }
    }
}

fn path_of(recording: &Recording, stack: StackId) -> Option<Path> {
    let frames = kernel_frames(recording, &recording.stacks[stack as usize]);
    let functions: Vec<String> = frames
        .iter()
        .flat_map(|&frame| frame_labels(recording, frame))
        .map(|label| label.text.into_owned())
        .collect();
    path(&functions.iter().map(String::as_str))
}

/// What the ledger's states alone do not tell: by thread.
struct Reasons {
    /// Futex time that is a wait for a lock, by stacks.
    lock_ns: HashMap<ThreadId, u64>,
    /// Futex time that samples saw.
    futex_seen_ns: HashMap<ThreadId, u64>,
    /// Of the waits on internet sockets: those on connections that clients have opened, and all.
    served_ns: HashMap<ThreadId, (u64, u64)>,
    peers: HashMap<(ThreadId, Peer), u64>,
    /// Of io_uring's waits, the share that a request of a disk has ended.
    uring_by_disk: f64,
    database_lock: HashMap<ThreadId, u64>,
    database_lock_ns: u64,
}

/// Functions in which PostgreSQL waits for a lock of its own: the wait itself is one for a latch, by epoll, or for a semaphore.
const DATABASE_LOCKS: &[&str] = &["ProcSleep", "LWLockAcquire", "LWLockAcquireOrWait"];

impl Reasons {
    fn of(recording: &Recording, parts: &Parts<'_>) -> Self {
        let mut reasons = Self {
            lock_ns: HashMap::new(),
            futex_seen_ns: HashMap::new(),
            served_ns: HashMap::new(),
            peers: HashMap::new(),
            uring_by_disk: uring_by_disk(recording),
            database_lock: HashMap::new(),
            database_lock_ns: 0,
        };
        reasons.look_at_locks(recording, parts);
        reasons.look_at_sockets(recording);
        reasons
    }

    fn look_at_locks(&mut self, recording: &Recording, parts: &Parts<'_>) {
        let mut database: HashMap<StackId, bool> = HashMap::new();
        let mut kinds = HashMap::new();
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
                if kind.is_lock() {
                    add(self.lock_ns.entry(sample.thread).or_default(), ns);
                }
            }
        }
    }

    fn look_at_sockets(&mut self, recording: &Recording) {
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
    fn peers(&self, rows: &HashSet<ThreadId>) -> Vec<(Peer, u64)> {
        let mut sums: HashMap<Peer, u64> = HashMap::new();
        for ((_, peer), ns) in self.peers.iter().filter(|((thread, _), _)| rows.contains(thread)) {
            let sum = sums.entry(*peer).or_default();
            *sum = sum.saturating_add(*ns);
        }
        let mut peers: Vec<_> = sums.into_iter().collect();
        peers.sort_by_key(|&(peer, ns)| (std::cmp::Reverse(ns), peer));
        peers
    }

    fn times(&self, recording: &Recording, account: &ThreadAccount) -> Times {
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
        let recv = engaged(&[state::NET_RECV]);
        let served =
            self.served_ns.get(&thread).map_or(0.0, |&(served, all)| served as f64 / all.max(1) as f64);
        let net_ns = recv - (recv as f64 * served) as u64 + engaged(&[state::NET_SEND, state::NET_CONNECT]);
        let futex_ns = ns(state::FUTEX_LOCK) + ns(state::FUTEX_WAIT) + ns(state::FUTEX_TIMED);
        let seen = self.futex_seen_ns.get(&thread).copied().unwrap_or(0);
        // Where no stack tells, the mark does.
        let by_stacks = self.lock_ns.get(&thread).copied().unwrap_or(0);
        let unseen = if seen == 0 { ns(state::FUTEX_LOCK) } else { 0 };
        let database = self.database_lock.get(&thread).copied().unwrap_or(0);
        let lock_ns = by_stacks
            .saturating_add(unseen)
            .min(futex_ns)
            .saturating_add(ns(state::FILE_LOCK))
            .saturating_add(database);
        let uring = (ns(state::IO_URING) as f64 * self.uring_by_disk) as u64;
        let mut times = Times {
            elapsed_ns: account.elapsed_ns,
            active_ns: 0,
            on_cpu_ns: ns(state::ON_CPU),
            run_queue_ns: ns(state::RUNQ_WAKE) + ns(state::RUNQ_PREEMPT),
            disk_read_ns: ns(state::DISK_READ)
                + ns(state::AIO)
                + ns(state::DISK_OTHER)
                + ns(state::EXEC)
                + uring,
            disk_write_ns: ns(state::DISK_WRITE),
            fsync_ns: ns(state::FSYNC),
            file_wait_ns: ns(state::FILE_WAIT),
            page_fault_io_ns: ns(state::PAGE_FAULT_IO),
            memory_ns: of(Group::Memory),
            lock_ns,
            net_ns,
            ipc_ns: engaged(&IPC),
            ipc_wake_ns: (ns(state::RUNQ_WAKE) as f64 * of_waits(account, &IPC)) as u64,
            unknown_ns: of(Group::Unknown),
        };
        if recording.threads[thread as usize].kernel_thread {
            return Times { elapsed_ns: account.elapsed_ns, ..Times::default() };
        }
        let parts = [
            times.on_cpu_ns,
            times.run_queue_ns,
            times.disk_read_ns,
            times.disk_write_ns,
            times.fsync_ns,
            times.file_wait_ns,
            times.page_fault_io_ns,
            times.memory_ns,
            times.lock_ns,
            times.net_ns,
            times.ipc_ns,
            times.unknown_ns,
        ];
        times.active_ns =
            parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part)).min(account.elapsed_ns);
        times
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

fn uring_by_disk(recording: &Recording) -> f64 {
    let waits = recording.block_io.waits.iter().filter(|wait| wait.state == state::IO_URING);
    let (mut all, mut by_disk) = (0_u64, 0_u64);
    for wait in waits {
        all = all.saturating_add(wait.blocked_ns);
        if matches!(wait.ended_by, ended_by::OWN_REQUEST | ended_by::OTHERS_REQUEST) {
            by_disk = by_disk.saturating_add(wait.blocked_ns);
        }
    }
    if all == 0 { 0.0 } else { by_disk as f64 / all as f64 }
}

fn has_function(recording: &Recording, stack: StackId, names: &[&str]) -> bool {
    let frames = &recording.stacks[stack as usize].user;
    frames
        .iter()
        .flat_map(|&frame| frame_labels(recording, frame))
        .any(|label| names.contains(&label.text.as_ref()))
}
