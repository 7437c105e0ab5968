//! One recording from start to end: the loop that feeds the collector, and what is read at both of its edges.
//!
//! In: [`Options`]. Out: a [`Finished`] recording without names. All I/O on the target is here and in
//! [`crate::process`]; all I/O on the kernel programs is in [`crate::kernel`].

mod cgroup;
mod checkpoint;
mod close;
mod command;
mod governor;
mod life;
mod memory;
pub mod names;
mod options;
mod priority;
mod progress;
mod target;
mod ticks;
mod usage;
mod world;

pub use checkpoint::Save;
pub use command::CommandError;
pub use memory::MOST_BYTES as MOST_KERNEL_BYTES;
pub use options::{Options, Watch};
pub use target::{Target, TargetError};

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Sleep, sleep},
};

use crate::{
    collect::Collector,
    confine::{Needs, confine},
    host,
    instruments::{
        Instruments,
        counters::{Counters, ProcessReads},
    },
    kernel::Kernel,
    messages,
    notice::Notice,
    process::{Limits, Processes},
    symbolize,
};
use checkpoint::Checkpoints;
use close::Cuts;
use command::Command;
use governor::Governor;
use life::Lives;
use options::{is_fixed, plan};
use priority::First;
use profiler_report::recording::{Detail, Meta, Recording};
use progress::Progress;
use target::Resolved;
use ticks::{Tick, Ticks};
use usage::{Meter, Usage};
use world::LiveWorld;

/// What a recording leaves behind.
pub struct Finished {
    pub recording: Recording,
    /// The files of `recording.modules`, held open, so that they can be read after their processes have ended.
    pub processes: Processes,
    /// The command, if it still runs.
    pub command: Option<Command>,
}

/// Records.
///
/// # Errors
/// The target cannot be found, a command cannot be run, or the kernel refuses something.
pub fn record(options: Options) -> Result<Finished> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // As a task: tokio wakes the outermost future by an eventfd, which takes two system calls more a tick.
    runtime.block_on(async { tokio::spawn(async { Session::start(options)?.run().await }).await? })
}

/// Lets SIGINT and SIGTERM end the program again: the recording and its results are safe.
pub fn restore_signals() {
    host::restore_default(libc::SIGINT);
    host::restore_default(libc::SIGTERM);
}

/// Signals that end a recording.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Everything that can wake the loop.
enum Input {
    Tick(Tick),
    CommandEnded,
    Interrupted,
    Terminated,
    DurationOver,
}

struct Session {
    options: Options,
    target: Resolved,
    kernel: Kernel,
    collector: Collector,
    world: LiveWorld,
    command: Option<Command>,
    signals: Signals,
    instruments: Instruments,
    progress: Progress,
    meter: Meter,
    governor: Governor,
    checkpoints: Checkpoints,
    cuts: Cuts,
    counters: Counters,
    reads: ProcessReads,
    usage: Usage,
    meta: Meta,
    startup_ns: u64,
    /// The ring is emptied before so many ticks have passed since the last time, which was so many ago.
    drain_period: u32,
    ticks_undrained: u32,
    /// For so many more ticks it is emptied at each: what follows from a stack that was cut or left for another one is to hold
    /// for the next one already.
    hasty_ticks: u32,
    /// The processes with whose end the recording ends.
    lives: Option<Lives>,
    /// When they are looked after next.
    next_look: Instant,
    /// So many more looks once they are over, for the ends of their threads.
    looks_left: u32,
    /// Given up when the books are closed.
    first: Option<First>,
}

/// Most ticks between two looks into the ring, which has room for 25 of 99 a second. Not where processes may join: they may be
/// over by the next tick, and with them what can be read of them.
const DRAIN_PERIOD: u32 = 5;
/// Ticks at each of which it is looked into, at the start and whenever a thread turns out to need more of its stack.
const HASTY_TICKS: u32 = 10;
/// How often the loop asks whether the targets still live.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Looks after the end of the targets, if accounts are still open.
const LAST_LOOKS: u32 = 4;

impl Session {
    fn start(options: Options) -> Result<Self> {
        let target = Resolved::new(&options.target, options.children)?;
        let signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let lives = target.ends_with_its_processes().then(|| Lives::of(target.owners())).transpose();
        let lives = lives.context("cannot watch the recorded processes")?;
        let first = First::take();
        let (settings, wanted) = plan(&options, &target);
        let mut instruments = Instruments::new(wanted);
        let attaching = Notice::new(options.progress, "profiler: attaching to the kernel …");
        let mut kernel = instruments.attach(&settings)?;
        drop(attaching);
        host::return_free_memory();
        // The command has the priority that its user gave it.
        drop(first);
        let command = target.command().map(Command::spawn_paused).transpose()?;
        let first = First::take();
        kernel.add_processes(target.tgids())?;
        kernel.add_threads(target.tids())?;
        let mut processes = Processes::new(Limits::default());
        // What takes time is read before the recording begins: once it has, samples wait to be looked at.
        let listed = if target.is_listed() { target.owners().to_vec() } else { target.processes_now() };
        instruments.machine.look(&[listed.as_slice(), command.as_ref().map(Command::id).as_slice()].concat());
        let reads = ProcessReads::of(&listed);
        let usage = Usage::now()?;
        let meta = Meta { sample_hz: options.sample_hz, ..world::meta(&options.target) };
        // Nothing more in between: until it has an account, a thread's time is in no state.
        // Both clocks at the same moment: whoever compares the recording with something else goes by the wall clock.
        let meta = Meta { started_unix_ns: host::unix_ns(), started_at_ns: host::monotonic_ns(), ..meta };
        instruments.start(&mut kernel)?;
        let seeded_at_ns = host::monotonic_ns();
        let startup_ns = options.program_start.elapsed().as_nanos() as u64;
        // Named only now: its account begins with its exec, not with its wait for us.
        kernel.add_processes(command.as_ref().map(Command::id).as_slice())?;
        let command = command.map(Command::release);
        confine_to_the_rest(&options, command.as_ref(), &kernel, &mut instruments)?;
        let mut collector = Collector::new(meta.started_at_ns, seeded_at_ns);
        for &tgid in target.owners() {
            // One that has ended meanwhile has no samples either.
            let _ = processes.refresh(tgid, seeded_at_ns);
            collector.know_goroutines(tgid, processes.goroutines(tgid));
        }
        look_at_goroutines(&mut kernel, &mut collector)?;
        let is_fixed = is_fixed(&options, &target);
        let world = LiveWorld::new(processes, instruments.mappings.take(), is_fixed);
        let counters = Counters::read(listed);
        let drain_period = if is_fixed && options.watch.is_none() { DRAIN_PERIOD } else { 1 };
        Ok(Self {
            instruments,
            progress: Progress::new(options.progress, options.duration),
            meter: Meter::new(meta.cpus)?,
            governor: if target.is_disks() {
                Governor::all_or_nothing(options.budget_ratio)
            } else {
                Governor::new(options.budget_ratio)
            },
            checkpoints: Checkpoints::new(),
            cuts: Cuts::new(options.watch.as_ref(), collector.period_ns()),
            collector,
            options,
            target,
            kernel,
            world,
            command,
            signals,
            counters,
            reads,
            usage,
            meta,
            startup_ns,
            drain_period,
            ticks_undrained: 0,
            hasty_ticks: HASTY_TICKS,
            lives,
            next_look: Instant::now(),
            looks_left: LAST_LOOKS,
            first,
        })
    }

    async fn run(mut self) -> Result<Finished> {
        let mut ticks = Ticks::every(Duration::from_secs(1) / self.options.sample_hz)?;
        // Set once: each setting of a timer wakes tokio's driver.
        let mut over = pin!(sleep(self.options.duration.unwrap_or(Duration::MAX)));
        loop {
            match self.next_input(&mut ticks, over.as_mut()).await? {
                Input::Tick(tick) => {
                    ticks.sleep(self.tick(tick)?)?;
                    if self.governor.detail() == Detail::Detached {
                        break;
                    }
                    if self.cut_if_due()?.is_break() {
                        break;
                    }
                    self.save_if_due()?;
                }
                Input::Interrupted => {
                    // The second one ends the program at once.
                    host::restore_default(libc::SIGINT);
                    // A terminal sends it to the command too, whose end is then the end of the recording.
                    if self.command.is_none() {
                        break;
                    }
                }
                Input::Terminated => {
                    host::restore_default(libc::SIGTERM);
                    if let Some(command) = &mut self.command {
                        command.terminate();
                    }
                    break;
                }
                Input::CommandEnded | Input::DurationOver => break,
            }
            if self.next_look <= Instant::now() {
                self.next_look = Instant::now() + LOOK_PERIOD;
                if self.lives.as_mut().is_some_and(Lives::are_over) {
                    // A process is over before its last thread has left its CPU for the last time.
                    self.looks_left -= 1;
                    if self.looks_left == 0 || self.kernel.accounts()?.is_empty() {
                        break;
                    }
                }
            }
        }
        self.finish()
    }

    async fn next_input(&mut self, ticks: &mut Ticks, over: Pin<&mut Sleep>) -> Result<Input> {
        let ended = async {
            match &mut self.command {
                Some(command) => command.wait().await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            biased;
            () = over => Input::DurationOver,
            code = ended => {
                self.meta.command_exit_code = Some(code?);
                Input::CommandEnded
            }
            _ = self.signals.interrupt.recv() => Input::Interrupted,
            _ = self.signals.terminate.recv() => Input::Terminated,
            tick = ticks.tick() => {
                Input::Tick(tick.context("cannot wait for the next tick")?)
            }
        })
    }

    /// Does what is due, and tells in how many ticks something may be due again.
    fn tick(&mut self, tick: Tick) -> Result<u32> {
        self.instruments.off_cpu.tick(&self.kernel, tick.passed, tick.at_ns)?;
        let drain_period = if self.hasty_ticks > 0 { 1 } else { self.drain_period };
        self.hasty_ticks = self.hasty_ticks.saturating_sub(tick.passed);
        let ticks_to_sleep = self.instruments.off_cpu.ticks_to_sleep(drain_period);
        self.ticks_undrained += tick.passed;
        if self.ticks_undrained + ticks_to_sleep > drain_period {
            self.ticks_undrained = 0;
            self.take_in()?;
        }
        Ok(ticks_to_sleep)
    }

    /// Takes in what has arrived, and does what follows from it.
    fn take_in(&mut self) -> Result<()> {
        self.govern()?;
        self.instruments.on_cpu.follow(&self.kernel)?;
        self.drain();
        // Taken in any case, so that they do not pile up where a number of bytes was asked for.
        let depths = self.collector.take_depths();
        if !depths.is_empty() {
            self.hasty_ticks = HASTY_TICKS;
        }
        for (tid, bytes) in depths.into_iter().filter(|_| self.options.stack_bytes.is_none()) {
            self.kernel.set_stack_bytes(tid, bytes)?;
        }
        look_at_goroutines(&mut self.kernel, &mut self.collector)?;
        let new = self.target.matching(&self.collector.take_stranger_execs());
        if !new.is_empty() {
            self.kernel.record_also(&new)?;
        }
        self.progress.show(&self.collector, &self.kernel)?;
        Ok(())
    }

    /// Keeps the cost under its budget.
    fn govern(&mut self) -> Result<()> {
        let Some(cost_ratio) = self.meter.tick(|| self.kernel.program_runs())? else { return Ok(()) };
        self.instruments.each_second(&mut self.kernel, &self.collector.processes())?;
        let at_ns = host::monotonic_ns().saturating_sub(self.meta.started_at_ns);
        let Some(detail) = self.governor.observe(cost_ratio, at_ns) else { return Ok(()) };
        self.instruments.set_detail(&mut self.kernel, detail)
    }

    fn drain(&mut self) {
        self.kernel.drain(|record| self.collector.take(record, &mut self.world));
        self.world.settle();
        self.kernel.drain_log(|line| eprintln!("{}", messages::kernel_line(line)));
    }
}

/// Everything is attached, and nothing that belongs to a target has been read yet.
fn confine_to_the_rest(
    options: &Options,
    command: Option<&Command>,
    kernel: &Kernel,
    instruments: &mut Instruments,
) -> Result<()> {
    let needs = Needs { command: command.map(Command::id), ..options.needs.clone() };
    // The thread that has started it has all privileges.
    command.inspect(|command| command.wait_for_exec());
    // After that, as the command would have the limit too.
    symbolize::keep_way_back();
    for skip in confine(&needs, || kernel.left_cpu().is_ok())? {
        instruments.skip(skip);
    }
    Ok(())
}

fn look_at_goroutines(kernel: &mut Kernel, collector: &mut Collector) -> Result<()> {
    for (tgid, offsets) in collector.take_goroutines() {
        kernel.set_go_process(tgid, offsets)?;
    }
    Ok(())
}
