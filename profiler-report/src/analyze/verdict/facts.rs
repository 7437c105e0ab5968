//! What the rules see: plain numbers of the threads that did something.
//!
//! A thread that waits for work most of the time would only dilute the shares of those that have some, so it is left out. Waiting for a
//! request on a server's own connection, or for input that hardly ever comes, is waiting for work too.

use std::collections::{BTreeMap, HashMap, HashSet};

use profiler_common::state;

use super::disk_kinds::{DiskKinds, Kind};
use super::reasons::Reasons;
use super::times::{Parts, Times, Working};
use crate::analyze::add;
use crate::analyze::locks::LockReport;
use crate::analyze::stacks::kernel_paths::{Path, path};
use crate::analyze::stacks::label::{frame_labels, kernel_frames};
use crate::analyze::stacks::shares::Shares;
use crate::analyze::wakers::enders::Ender;
use crate::analyze::wakers::{Edge, Wakers};
use crate::analyze::{CrossCheck, Disks, Hot, Ledger, Trust};
use crate::recording::{CpuTime, Machine, Peer, Span, StackId, ThreadId};

/// A machine whose CPUs are busy for less of their time has some to spare.
pub const BUSY: f64 = 0.7;
/// A thread that does something for less than this share of its time waits for work.
const WORKING: f64 = 0.2;

/// Everything that a rule may look at.
pub struct Facts<'a> {
    pub recording: &'a Span,
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
    /// What waits for disks were for.
    pub disk_kinds: DiskKinds,
    /// Waits for locks of the database itself (PostgreSQL), which are no futexes.
    pub database_lock_ns: u64,
}

impl<'a> Facts<'a> {
    pub fn of(recording: &'a Span, parts: &Parts<'a>) -> Self {
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
            disk_kinds: reasons.disk_kinds,
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

    /// Of the time in which the working threads ran or wanted to, the part in which they waited for a CPU; none if they never did.
    pub fn run_queue_of_wanted(&self) -> Option<f64> {
        let wanted = self.work.on_cpu_ns.saturating_add(self.work.run_queue_ns);
        (wanted != 0).then(|| self.work.run_queue_ns as f64 / wanted as f64)
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
        share_of(self.machine.cpu, |cpu| cpu.busy_ns.saturating_add(cpu.steal_ns))
    }

    /// How much of the time of the CPUs was used that the threads may use.
    pub fn allowed_busy(&self) -> Option<f64> {
        share_of(self.machine.allowed_cpu.or(self.machine.cpu), |cpu| {
            cpu.busy_ns.saturating_add(cpu.steal_ns)
        })
    }

    pub fn steal(&self) -> Option<f64> {
        share_of(self.machine.cpu, |cpu| cpu.steal_ns)
    }

    /// A share of the recording in which tasks stood still, in the target's own group if that is known, else
    /// on the machine.
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

    /// Share of the waits for this that a request of a disk, or its interrupt, has ended.
    pub fn ended_by_disk(&self, kind: Kind) -> Option<f64> {
        let waits = self.recording.block_io.waits.iter().filter(|wait| self.disk_kinds.is_for(wait, kind));
        let (mut all, mut by_disk) = (0_u64, 0_u64);
        for wait in waits {
            all = all.saturating_add(wait.blocked_ns);
            if self.disk_kinds.is_ended_by_disk(wait) {
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

fn share_of(cpu: Option<CpuTime>, part: impl Fn(CpuTime) -> u64) -> Option<f64> {
    let cpu = cpu?;
    let all = [cpu.busy_ns, cpu.idle_ns, cpu.iowait_ns, cpu.steal_ns];
    let all = all.into_iter().fold(0_u64, u64::saturating_add);
    (all > 0).then(|| part(cpu) as f64 / all as f64)
}

fn path_of(recording: &Span, stack: StackId) -> Option<Path> {
    let frames = kernel_frames(recording, &recording.stacks[stack as usize]);
    let functions: Vec<String> = frames
        .iter()
        .flat_map(|&frame| frame_labels(recording, frame))
        .map(|label| label.text.into_owned())
        .collect();
    path(&functions.iter().map(String::as_str))
}
