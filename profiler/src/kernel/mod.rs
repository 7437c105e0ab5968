//! The kernel side: loads the programs, attaches them, and moves their records and maps out. The only importer of aya.
//!
//! In: [`Settings`]. Out: raw records ([`Kernel::drain`]), accounts, counts and costs. Decides nothing about them.

mod attach;
mod btf;
mod cost;
mod iterate;
mod keeper;
mod locks;
mod log;
mod mappings;
mod offsets;
mod privileges;
mod requests;
mod sampler;
mod signals;
mod sys;
mod syscalls;
mod trial;
mod wait_times;

pub use attach::is_virtual_machine;
pub use btf::{Btf, BtfError};
pub use cost::{MapMemory, ProgramRun, StatsBurst, is_always_measured};
pub use keeper::Keeper;
pub use mappings::MappingEvents;
pub use privileges::{
    Denied, NEEDED, WANTED, check as check_privileges, effective as effective_capabilities,
};
pub use requests::RequestSums;
pub use trial::{Attached, Trial, Tried, Types, read_types, try_probes};

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
};
use profiler_common::{
    config::{Config, Control, Pass, PassCounts, target_bits},
    go::GoOffsets,
    ledger::ThreadRecord,
    lock::{KernelLockKey, KernelLockWaits},
    stat::Stat,
};

use attach::Loaded;
use iterate::{Passes, Seeder};
use locks::KernelLocks;
use log::KernelLog;
use requests::Requests;
use sampler::Sampler;
use wait_times::WaitTimes;

/// What to load.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Constants of the programs; the loader fills in what depends on the kernel.
    pub config: Config,
    /// On-CPU samples a second.
    pub sample_hz: u32,
    /// Most threads with an account at one time.
    pub thread_capacity: u32,
    /// Size of the ring; a power of two.
    pub ring_bytes: u32,
    /// If the targets are a fixed, small set of processes: their ids, so that passes look at nothing else.
    pub only_processes: Vec<u32>,
    /// CPUs on which the targets may run, if that is known of all of them.
    pub only_cpus: Option<BTreeSet<u32>>,
    /// Requests to block devices are followed.
    pub block_io: bool,
    /// The maps for that have their usual capacity divided by two to the power of this.
    pub block_io_shift: u32,
    /// What does not fit into the maps of this size, as a sentence.
    pub too_small: Option<String>,
}

/// The loaded programs. Dropping it, or the end of this process in any way, detaches everything: the kernel holds the
/// programs by this process's descriptors alone.
pub struct Kernel {
    ebpf: Ebpf,
    events: RingBuf<MapData>,
    threads: HashMap<MapData, u32, ThreadRecord>,
    targets: HashMap<MapData, u32, u32>,
    control: Array<MapData, Control>,
    pass: Array<MapData, Pass>,
    stats: PerCpuArray<MapData, u64>,
    deep_stacks: HashMap<MapData, u32, u32>,
    go_processes: HashMap<MapData, u32, GoOffsets>,
    /// Held so that its memory is counted with that of the others.
    _classes: Array<MapData, u8>,
    /// None where only disks are followed, and so with the sampler.
    seeder: Option<Seeder>,
    /// None where the kernel cannot take stacks of threads that wait.
    passes: Option<Passes>,
    sampler: Option<Sampler>,
    /// None where they are not followed.
    requests: Option<Requests>,
    /// None where contention for the kernel's locks is not reported.
    kernel_locks: Option<KernelLocks>,
    /// None where only disks are followed.
    wait_times: Option<WaitTimes>,
    /// None where nobody asked for it.
    log: Option<KernelLog>,
    skipped: Vec<String>,
}

impl Kernel {
    /// Loads and attaches everything; nothing is recorded until [`Kernel::start`].
    ///
    /// # Errors
    /// What could not be loaded or attached, with the kernel's words.
    pub fn attach(settings: &Settings) -> Result<Self> {
        let _held = signals::Held::all().context("cannot hold back signals")?;
        let Loaded { mut ebpf, switch_has_state, requests: hooks, contention } = attach::load(settings)?;
        let types = attach::kernel_types()?;
        let mut skipped = Vec::from_iter(settings.too_small.clone());
        let mut control: Array<_, Control> = take_map(&mut ebpf, "CONTROL")?.try_into()?;
        // Where only disks are followed, requests count from the moment at which the programs are attached.
        let stopped = u32::from(settings.config.block_io_only == 0);
        control.set(0, Control { stopped, on_cpu_threshold: u32::MAX, ..Control::default() }, 0)?;
        let mut classes: Array<_, u8> = take_map(&mut ebpf, "SYSCALL_CLASSES")?.try_into()?;
        for (number, class) in syscalls::classes() {
            classes.set(number, class, 0)?;
        }
        let follows_threads = settings.config.block_io_only == 0;
        let (mut sampler, mut seeder) = (None, None);
        if follows_threads {
            attach::tracepoints(&mut ebpf, &types, switch_has_state)?;
            let attached = Sampler::attach(&mut ebpf, settings.sample_hz, settings.only_cpus.as_ref())?;
            skipped.extend(attached.blind_spot());
            (sampler, seeder) = (Some(attached), Some(Seeder::new(&mut ebpf, &types)?));
        }
        let passes = follows_threads.then(|| Passes::new(&mut ebpf, &types, &settings.only_processes));
        let passes = match passes.transpose() {
            Ok(passes) => passes,
            // `bpf_copy_from_user_task` and sleepable iterators came with 5.18. The ledger does without.
            Err(error) => {
                let why = attach::brief(&format!("{error:#}"));
                skipped.push(format!("no stacks of waiting threads on this kernel: {why}"));
                None
            }
        };
        let hooks = if settings.block_io { Some(hooks) } else { None };
        let requests =
            match hooks.map(|hooks| hooks.and_then(|hooks| attach::requests(&mut ebpf, &types, &hooks))) {
                None => None,
                Some(Ok(())) => Some(Requests::new(&mut ebpf)?),
                Some(Err(why)) if !follows_threads => {
                    bail!("cannot follow requests to block devices: {why}")
                }
                Some(Err(why)) => {
                    skipped.push(format!("disk requests are not followed: {why}"));
                    None
                }
            };
        let contention = (settings.config.locks != 0).then_some(contention);
        let kernel_locks =
            match contention.map(|told| told.and_then(|()| attach::contention(&mut ebpf, &types))) {
                None => None,
                Some(Ok(())) => Some(KernelLocks::new(&mut ebpf)?),
                Some(Err(why)) => {
                    skipped.push(format!("kernel lock contention is not followed: {why}"));
                    None
                }
            };
        Ok(Self {
            kernel_locks,
            wait_times: follows_threads.then(|| WaitTimes::new(&mut ebpf)).transpose()?,
            log: (settings.config.log != 0).then(|| KernelLog::new(&mut ebpf)).transpose()?,
            requests,
            events: take_map(&mut ebpf, "EVENTS")?.try_into()?,
            threads: take_map(&mut ebpf, "THREADS")?.try_into()?,
            targets: take_map(&mut ebpf, "TARGETS")?.try_into()?,
            pass: take_map(&mut ebpf, "PASS")?.try_into()?,
            deep_stacks: take_map(&mut ebpf, "DEEP_STACKS")?.try_into()?,
            go_processes: take_map(&mut ebpf, "GO_PROCESSES")?.try_into()?,
            _classes: classes,
            stats: take_map(&mut ebpf, "STATS")?.try_into()?,
            control,
            seeder,
            passes,
            sampler,
            skipped,
            ebpf,
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
        self.update_control(|control| control.stopped = 0)?;
        self.seed()?;
        let left = self.stats.get(&(Stat::LeftCpu as u32), 0)?;
        if let Some(sampler) = &mut self.sampler {
            sampler.begin(|cpu| count_on(&left, cpu));
        }
        Ok(())
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
        self.update_control(|control| control.stopped = 1)
    }

    fn update_control(&mut self, change: impl FnOnce(&mut Control)) -> Result<()> {
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

    /// Samples also on CPUs on which recorded threads were not allowed to run, and have run since.
    ///
    /// # Errors
    /// The kernel refuses to read the map or the change of a perf event.
    pub fn follow_targets(&mut self) -> Result<()> {
        let Some(sampler) = self.sampler.as_mut().filter(|sampler| !sampler.is_everywhere()) else {
            return Ok(());
        };
        let left = self.stats.get(&(Stat::LeftCpu as u32), 0)?;
        sampler.follow(|cpu| count_on(&left, cpu))
    }

    /// One pass of the off-CPU sampler.
    ///
    /// # Errors
    /// The kernel refuses the pass.
    pub fn sample_off_cpu(&mut self, pass: Pass) -> Result<PassCounts> {
        let Some(passes) = &self.passes else { return Ok(PassCounts::default()) };
        self.pass.set(0, pass, 0)?;
        passes.run().context("cannot run the off-CPU sampler")?;
        Ok(self.pass.get(&0, 0)?.counts)
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
        self.update_control(|control| control.go_processes = control.go_processes + more - less)
    }

    /// Takes one on-CPU sample of this number, at random, from now on; or none, and then there are no
    /// interrupts either.
    ///
    /// # Errors
    /// The kernel refuses the change of the map or of the perf events.
    pub fn thin_out(&mut self, one_of: Option<u32>) -> Result<()> {
        let threshold = one_of.map_or(0, |one_of| u32::MAX / one_of.max(1));
        self.update_control(|control| control.on_cpu_threshold = threshold)?;
        self.sampler.as_mut().map_or(Ok(()), |sampler| sampler.pause(one_of.is_none()))
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
        self.threads
            .iter()
            .map(|entry| entry.map(|(_, record)| record))
            .collect::<Result<_, _>>()
            .context("cannot read the accounts")
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

    /// Whether stacks of waiting threads can be taken.
    pub fn has_passes(&self) -> bool {
        self.passes.is_some()
    }

    /// Whether requests to block devices are followed.
    pub fn follows_requests(&self) -> bool {
        self.requests.is_some()
    }

    /// Whether contention for the kernel's locks is followed.
    pub fn follows_kernel_locks(&self) -> bool {
        self.kernel_locks.is_some()
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
        self.update_control(|control| control.optional_stopped = u32::from(rest))
    }

    /// What was summed up of requests to block devices; none if they are not followed. With `emptying`, whose they were is since
    /// the last time, and has room for others again.
    ///
    /// # Errors
    /// The kernel refuses to read or to empty a map.
    pub fn request_sums(&mut self, emptying: bool) -> Result<Option<RequestSums>> {
        self.requests.as_mut().map(|requests| requests.sums(emptying)).transpose()
    }

    /// Waits for locks of the kernel; none where it does not report contention.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn kernel_locks(&self) -> Result<Option<Vec<(KernelLockKey, KernelLockWaits)>>> {
        self.kernel_locks.as_ref().map(KernelLocks::sums).transpose()
    }

    /// How long the waits of recorded threads lasted that ended since the last call, by group.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn wait_times(&mut self) -> Result<Vec<wait_times::Counts>> {
        self.wait_times.as_mut().map_or(Ok(vec![]), WaitTimes::gained)
    }

    /// A thread's waits are reported each time that they add up to this much from now on.
    ///
    /// # Errors
    /// The kernel refuses the change of the map.
    pub fn set_wake_period(&mut self, period_ns: u64) -> Result<()> {
        self.update_control(|control| control.wake_period_ns = period_ns)
    }

    /// How many ends of waits were reported so far, or would have been.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn wakes(&self) -> Result<u64> {
        self.counted(&[Stat::Wakes, Stat::WakesDropped])
    }

    /// Stacks that submit requests are taken when a random `u32` is at most this from now on; 0: never.
    ///
    /// # Errors
    /// The kernel refuses the change of the map.
    pub fn set_submit_threshold(&mut self, threshold: u32) -> Result<()> {
        self.update_control(|control| control.submit_threshold = threshold)
    }

    /// How many stacks that submit requests were chosen so far, whether they were taken or not.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn submits(&self) -> Result<u64> {
        self.counted(&[Stat::Submits, Stat::SubmitsDropped, Stat::SubmitsOverLimit])
    }

    fn counted(&self, stats: &[Stat]) -> Result<u64> {
        stats
            .iter()
            .try_fold(0, |sum, &stat| Ok(sum + self.stats.get(&(stat as u32), 0)?.iter().sum::<u64>()))
    }

    /// What drives the on-CPU sampler.
    pub fn sample_source(&self) -> &'static str {
        self.sampler.as_ref().map_or("", Sampler::source)
    }

    /// Something else is off or degraded.
    pub fn skip(&mut self, sentence: String) {
        self.skipped.push(sentence);
    }

    /// What is off or degraded, as sentences.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

fn count_on(counts: &PerCpuValues<u64>, cpu: u32) -> u64 {
    counts.get(cpu as usize).copied().unwrap_or(0)
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name).with_context(|| format!("the kernel programs have no map `{name}`"))
}

/// A program of the object by name and kind.
fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name).with_context(|| format!("there is no kernel program `{name}`"))?;
    <&mut P>::try_from(program).with_context(|| format!("the kernel program `{name}` has an unexpected type"))
}
