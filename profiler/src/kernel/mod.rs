//! The kernel side: loads the programs, attaches them, and moves their records and maps out. The only importer of aya.
//!
//! In: [`Settings`]. Out: raw records ([`Kernel::drain`]), accounts, counts and costs. Decides nothing about them.

mod batch;
mod btf;
mod cost;
mod iterate;
mod keeper;
mod log;
mod maps;
mod object;
mod offsets;
mod plan;
mod privileges;
mod program;
mod signals;
mod sys;
mod syscalls;
mod types;

pub use batch::MapReader;
pub use btf::{Btf, BtfError};
pub use cost::{MapMemory, ProgramRun, StatsBurst, is_always_measured};
pub use iterate::{Passes, Seeder};
pub use keeper::Keeper;
pub use maps::{Slots, SlotsByCpu, Table};
pub use object::{ORIGIN, Object, brief, error_line, online_cpus};
pub use offsets::{resolve_locks, resolve_requests};
pub use plan::{Plan, Settings};
pub use privileges::{
    Denied, NEEDED, WANTED, check as check_privileges, effective as effective_capabilities,
};
pub use signals::Held as HeldSignals;
pub use types::{Types, read_types};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapError, PerCpuValues, RingBuf},
};
use profiler_common::{
    config::{Control, target_bits},
    go::GoOffsets,
    ledger::ThreadRecord,
    stat::Stat,
};

use log::KernelLog;

/// The loaded programs. Dropping it, or the end of this process in any way, detaches everything: the kernel holds the
/// programs by this process's descriptors alone.
pub struct Kernel {
    ebpf: Ebpf,
    events: RingBuf<aya::maps::MapData>,
    threads: Table<u32, ThreadRecord>,
    targets: Table<u32, u32>,
    control: Slots<Control>,
    stats: SlotsByCpu<u64>,
    reader: MapReader,
    deep_stacks: Table<u32, u32>,
    go_processes: Table<u32, GoOffsets>,
    /// Held so that its memory is counted with that of the others.
    _classes: Slots<u8>,
    /// None where no thread has an account.
    seeder: Option<Seeder>,
    /// None where nobody asked for it.
    log: Option<KernelLog>,
}

impl Kernel {
    /// What was loaded and attached; nothing is recorded until [`Kernel::start`]. The seeder is none where no thread
    /// has an account.
    ///
    /// # Errors
    /// The object lacks a map.
    pub fn new(mut object: Object, seeder: Option<Seeder>, with_log: bool) -> Result<Self> {
        Ok(Self {
            log: with_log.then(|| KernelLog::new(&mut object.ebpf)).transpose()?,
            events: object.map("EVENTS")?,
            threads: object.map("THREADS")?,
            targets: object.map("TARGETS")?,
            deep_stacks: object.map("DEEP_STACKS")?,
            go_processes: object.map("GO_PROCESSES")?,
            stats: object.map("STATS")?,
            reader: object.reader,
            control: object.control,
            _classes: object.classes,
            seeder,
            ebpf: object.ebpf,
        })
    }

    /// Names whole processes as targets, by ids of this PID namespace. They are recorded from the next
    /// [`Kernel::seed`] on.
    ///
    /// # Errors
    /// The map of targets is full.
    pub fn add_processes(&mut self, tgids: &[u32]) -> Result<()> {
        for &tgid in tgids {
            self.targets
                .insert(tgid, target_bits::PROCESS, 0)
                .with_context(|| format!("cannot add process {tgid} to the recorded ones"))?;
        }
        Ok(())
    }

    /// Names single threads as targets.
    ///
    /// # Errors
    /// The map of targets is full.
    pub fn add_threads(&mut self, tids: &[u32]) -> Result<()> {
        for &tid in tids {
            self.targets
                .insert(tid, target_bits::THREAD, 0)
                .with_context(|| format!("cannot add thread {tid} to the recorded ones"))?;
        }
        Ok(())
    }

    /// Records more processes from now on. What they were recorded by is forgotten again, so that neither their number nor
    /// a later process with the same id matters; their accounts stay.
    ///
    /// # Errors
    /// The kernel refuses the change of the map or the pass.
    pub fn record_also(&mut self, tgids: &[u32]) -> Result<()> {
        self.add_processes(tgids)?;
        self.seed()?;
        for tgid in tgids {
            self.targets.remove(tgid).with_context(|| format!("cannot forget process {tgid} as a target"))?;
        }
        Ok(())
    }

    /// Begins: from here on the programs record.
    ///
    /// # Errors
    /// The kernel refuses the change of the map or the pass.
    pub fn start(&mut self) -> Result<()> {
        self.change_control(|control| control.stopped = 0)?;
        self.seed()
    }

    /// Opens the accounts of all targets that are there and have none yet. Two passes: the second corrects the first states
    /// of threads that were just switching.
    ///
    /// # Errors
    /// The kernel refuses the pass.
    pub fn seed(&mut self) -> Result<()> {
        let Some(seeder) = &self.seeder else { return Ok(()) };
        seeder.run().and_then(|()| seeder.run()).context("cannot list the threads to record")
    }

    /// Ends: no account changes any more, and nothing more is sent. A pass before that settles the reasons of open waits.
    ///
    /// # Errors
    /// The kernel refuses the pass or the change of the map.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(seeder) = &self.seeder {
            seeder.run().context("cannot read the reasons of open waits")?;
        }
        self.change_control(|control| control.stopped = 1)
    }

    /// Changes what the programs look up while they run.
    ///
    /// # Errors
    /// The kernel refuses the change of the map.
    pub fn change_control(&mut self, change: impl FnOnce(&mut Control)) -> Result<()> {
        let mut control = self.control.get(&0, 0)?;
        change(&mut control);
        Ok(self.control.set(0, control, 0)?)
    }

    /// How often recorded threads have left a CPU. As long as it stays the same, no new wait has begun.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn left_cpu(&self) -> Result<u64> {
        Ok(self.stats.get(&(Stat::LeftCpu as u32), 0)?.iter().sum())
    }

    /// The same for each CPU.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn left_by_cpu(&self) -> Result<impl Fn(u32) -> u64 + use<>> {
        let left: PerCpuValues<u64> = self.stats.get(&(Stat::LeftCpu as u32), 0)?;
        Ok(move |cpu: u32| left.get(cpu as usize).copied().unwrap_or(0))
    }

    /// Takes this many bytes of a thread's stack on the CPU from now on, or the usual number again.
    ///
    /// # Errors
    /// The kernel refuses the change of the map.
    pub fn set_stack_bytes(&mut self, tid: u32, bytes: Option<u32>) -> Result<()> {
        let changed = match bytes {
            Some(bytes) => self.deep_stacks.insert(tid, bytes, 0),
            None => self.deep_stacks.remove(&tid),
        };
        changed.with_context(|| format!("cannot change how much of the stack of thread {tid} is taken"))
    }

    /// Takes the stacks of goroutines in a process too from now on, or no longer.
    ///
    /// # Errors
    /// The kernel refuses the change of the map.
    pub fn set_go_process(&mut self, tgid: u32, offsets: Option<GoOffsets>) -> Result<()> {
        let changed = match offsets {
            Some(offsets) => self.go_processes.insert(tgid, offsets, 0),
            None => self.go_processes.remove(&tgid),
        };
        changed
            .with_context(|| format!("cannot change whether goroutines of process {tgid} are looked at"))?;
        let (more, less) = (u32::from(offsets.is_some()), u32::from(offsets.is_none()));
        self.change_control(|control| control.go_processes = control.go_processes + more - less)
    }

    /// Gives each record that has arrived to `take`.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        while let Some(record) = self.events.next() {
            take(&record);
        }
    }

    /// Gives each line of the programs' log that has arrived to `take`, if there is a log. Names from the
    /// targets are in it, unescaped. Beyond some hundred a second lines are only counted.
    pub fn drain_log(&mut self, take: impl FnMut(&str)) {
        if let Some(log) = &mut self.log {
            log.drain(take);
        }
    }

    /// How many lines of the log were not given out: there were too many of them, or the ring was full.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn log_lines_lost(&self) -> Result<u64> {
        let Some(log) = &self.log else { return Ok(0) };
        let (arrived, beyond) = log.counts();
        Ok(self.counted(&[Stat::LogLines])?.saturating_sub(arrived) + beyond)
    }

    /// All accounts that are open.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn accounts(&self) -> Result<Vec<ThreadRecord>> {
        let entries = self.reader.entries(&self.threads).context("cannot read the accounts")?;
        Ok(entries.into_iter().map(|(_, record)| record).collect())
    }

    /// The account of one thread, if it has one.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn account(&self, tid: u32) -> Result<Option<ThreadRecord>> {
        match self.threads.get(&tid, 0) {
            Ok(record) => Ok(Some(record)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("cannot read an account"),
        }
    }

    /// Each counted cause, summed over the CPUs.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn stats(&self) -> Result<Vec<(Stat, u64)>> {
        Stat::ALL
            .iter()
            .map(|&stat| Ok((stat, self.stats.get(&(stat as u32), 0)?.iter().sum())))
            .collect::<Result<_>>()
            .context("cannot read the counters")
    }

    /// Run time and run count of each program, as far as the kernel measured them ([`StatsBurst`]).
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn program_runs(&self) -> Result<Vec<ProgramRun>> {
        cost::program_runs(&self.ebpf)
    }

    /// Lets the optional probes rest, or go on.
    ///
    /// # Errors
    /// The kernel refuses the change of the map.
    pub fn rest_optional(&mut self, rest: bool) -> Result<()> {
        self.change_control(|control| control.optional_stopped = u32::from(rest))
    }

    /// The sum of some counted causes.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn counted(&self, stats: &[Stat]) -> Result<u64> {
        stats
            .iter()
            .try_fold(0, |sum, &stat| Ok(sum + self.stats.get(&(stat as u32), 0)?.iter().sum::<u64>()))
    }
}
