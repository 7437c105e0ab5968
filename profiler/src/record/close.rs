//! Windows and the end of a recording: what is read when a window ends, and what the last one adds.
//!
//! The kernel's sums only grow, so that a window is the difference of two readings and costs the kernel programs nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use profiler_common::ledger::{ThreadRecord, flags};

use super::{Finished, Session, Watch, checkpoint};
use crate::{
    collect::{Collector, Cut, Ending},
    host,
    instruments::{Instrument as _, Reading, counters},
    kernel::MapMemory,
    messages,
    process::ImageInfo,
};
use profiler_report::recording::{
    Budget, Cost, Followed, InstrumentId, Meta, Module, ProcessIo, Quality, Recording, Skip, SkipCause,
};

/// Ending windows may take one part in this number of one CPU: where a cut takes more than a millisecond,
/// windows are longer.
const SPARSITY: u32 = 1000;

/// When the next window ends, and what the last cut had counted.
pub struct Cuts {
    next: Instant,
    /// Windows of this length in any case, and how many are left.
    fixed: Option<Duration>,
    left: Option<u32>,
    quality: Quality,
    cuts: u32,
    cuts_ns: u64,
}

impl Cuts {
    /// The first window ends after `period_ns`, or after that of whoever watches.
    pub fn new(watch: Option<&Watch>, period_ns: u64) -> Self {
        let fixed = watch.map(|watch| watch.interval);
        let next = Instant::now() + fixed.unwrap_or(Duration::from_nanos(period_ns));
        Self {
            next,
            fixed,
            left: watch.and_then(|watch| watch.count),
            quality: Quality::default(),
            cuts: 0,
            cuts_ns: 0,
        }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// A cut that began then is done. `took` is its CPU time: on a busy machine it may have waited for longer.
    fn done(&mut self, began: Instant, took: Duration, period_ns: u64) {
        self.cuts += 1;
        self.cuts_ns += took.as_nanos() as u64;
        // Not from the end of this one: windows keep to the seconds of the recording.
        self.next = match self.fixed {
            Some(period) => (self.next + period).max(began),
            None => (self.next + Duration::from_nanos(period_ns)).max(began + took * SPARSITY),
        };
    }

    /// What was counted since the last cut. The last one has all causes, also those that never occurred.
    fn gained(&mut self, now: Quality, is_last: bool) -> Quality {
        let before = mem::replace(&mut self.quality, now.clone());
        let mut gained = now;
        for ((_, count), (_, before)) in gained.kernel_counts.iter_mut().zip(&before.kernel_counts) {
            *count = count.saturating_sub(*before);
        }
        gained.kernel_counts.retain(|(_, count)| is_last || *count > 0);
        gained.offcpu_over_limit = gained.offcpu_over_limit.saturating_sub(before.offcpu_over_limit);
        gained.offcpu_passes = gained.offcpu_passes.saturating_sub(before.offcpu_passes);
        gained.offcpu_passes_missed = gained.offcpu_passes_missed.saturating_sub(before.offcpu_passes_missed);
        gained
    }
}

impl Session {
    /// Ends a window, if it is time. Says whether the recording continues.
    pub(super) fn cut_if_due(&mut self) -> Result<ControlFlow<()>> {
        if !self.cuts.is_due() {
            return Ok(ControlFlow::Continue(()));
        }
        let began = Instant::now();
        self.drain();
        // What has arrived would be taken in at the next tick as well.
        let cpu_before = host::thread_cpu_time();
        let at_ns = host::monotonic_ns();
        let accounts = self.kernel.accounts()?;
        let (kernel, collector) = (&self.kernel, &self.collector);
        let settled = |account: &ThreadRecord| {
            collector.settled(account, || kernel.account(account.tid).ok().flatten())
        };
        let accounts = accounts.iter().filter_map(settled).collect();
        let cut = self.read_cut(at_ns, accounts, false)?;
        let window = self.collector.cut(cut, &mut self.world);
        let shown = self.options.watch.as_mut().map(|watch| {
            let recording = Recording {
                meta: Meta {
                    started_unix_ns: self.meta.started_unix_ns + (window.from_ns - self.meta.started_at_ns),
                    started_at_ns: window.from_ns,
                    ended_at_ns: window.to_ns,
                    ..self.meta.clone()
                },
                followed: Followed { locks: false, ..self.instruments.followed() },
                disks: self.instruments.block_io.table(),
                windows: vec![window.clone()],
                ..Recording::default()
            };
            (watch.show)(&recording.whole())
        });
        self.collector.keep(window);
        let took = host::thread_cpu_time().saturating_sub(cpu_before);
        self.cuts.done(began, took, self.collector.period_ns());
        let left = self.cuts.left.as_mut().map(|left| {
            *left = left.saturating_sub(1);
            *left
        });
        let has_seen_enough = shown.transpose()?.is_some_and(|flow| flow.is_break()) || left == Some(0);
        Ok(if has_seen_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// What belongs to the window that ends at `at_ns`.
    fn read_cut(&mut self, at_ns: u64, accounts: Vec<ThreadRecord>, is_last: bool) -> Result<Cut> {
        let (own_cpu_ns, rss_bytes) = self.usage.take()?;
        let (programs, measured_ns) = self.meter.take();
        let counts = self.kernel.stats()?.into_iter().map(|(stat, count)| (stat.name().to_owned(), count));
        let mut cut = Cut {
            at_ns,
            accounts,
            quality: Quality { kernel_counts: counts.collect(), ..Quality::default() },
            cost: Cost {
                own_cpu_ns,
                rss_bytes,
                programs,
                measured_ns,
                cuts: mem::take(&mut self.cuts.cuts),
                cuts_ns: mem::take(&mut self.cuts.cuts_ns),
                ..Cost::default()
            },
            ..Cut::default()
        };
        let mut reading = Reading {
            kernel: &self.kernel,
            collector: &mut self.collector,
            elapsed_ns: at_ns.saturating_sub(self.meta.started_at_ns),
            is_last,
        };
        self.instruments.cut(&mut reading, &mut cut)?;
        cut.quality = self.cuts.gained(cut.quality, is_last);
        Ok(cut)
    }

    /// The order matters: first the books are closed, then all that takes time is read.
    pub(super) fn finish(mut self) -> Result<Finished> {
        self.instruments.off_cpu.last_pass(host::monotonic_ns())?;
        self.kernel.stop()?;
        let ended_at_ns = host::monotonic_ns();
        let accounts = self.kernel.accounts()?;
        let kernel_counters = self.counters.differences(&accounts);
        self.drain();
        self.first = None;
        self.progress.clear();
        if let Some(line) = messages::kernel_lines_lost(self.kernel.log_lines_lost()?) {
            eprintln!("{line}");
        }
        let threads_unseen = counters::unseen(&accounts, self.target.tgids());
        self.meter.finish(|| self.kernel.program_runs())?;
        let mut last = self.read_cut(ended_at_ns, accounts, true)?;
        last.cost.own_cpu_ns += self.checkpoints.finish();
        last.quality.threads_unseen = threads_unseen;
        let ending = Ending { ended_at_ns, kernel_counters, ..Ending::default() };
        let recording = self.close(last, ending)?;
        let command = if recording.meta.command_exit_code.is_some() { None } else { self.command };
        Ok(Finished { recording, processes: self.world.processes, command })
    }

    /// Saves what there is so far, if that is wanted and due.
    pub(super) fn save_if_due(&mut self) -> Result<()> {
        if self.options.checkpoint.is_none() || !self.checkpoints.is_due() {
            return Ok(());
        }
        self.drain();
        // The child has used no CPU time of its own yet: it takes over the parent's reading.
        let (own_cpu_ns, rss_bytes) = self.usage.since()?;
        if self.checkpoints.fork() {
            checkpoint::end_with(|| self.save(own_cpu_ns, rss_bytes));
        }
        Ok(())
    }

    /// In the child. The programs go on recording, so an account may be of a moment after the end of the last sample.
    fn save(&mut self, own_cpu_ns: u64, rss_bytes: u64) -> Result<()> {
        self.first = None;
        let accounts = self.kernel.accounts()?;
        let ended_at_ns = host::monotonic_ns();
        let kernel_counters = self.counters.differences(&accounts);
        self.meter.finish(|| self.kernel.program_runs())?;
        let mut last = self.read_cut(ended_at_ns, accounts, true)?;
        (last.cost.own_cpu_ns, last.cost.rss_bytes) = (own_cpu_ns, rss_bytes);
        let ending = Ending { ended_at_ns, kernel_counters, ..Ending::default() };
        let mut recording = self.close(last, ending)?;
        recording.skipped.push(Skip::new(InstrumentId::Profiler, SkipCause::Unfinished));
        self.options.checkpoint.as_ref().map_or(Ok(()), |save| Ok(save.save(&recording)?))
    }

    /// Ends the last window and puts everything together.
    fn close(&mut self, mut last: Cut, ending: Ending) -> Result<Recording> {
        self.meta.ended_at_ns = last.at_ns;
        let source = self.instruments.on_cpu.source().unwrap_or_default();
        source.clone_into(&mut self.meta.sample_source);
        let memory = MapMemory::read()?;
        last.cost.kernel_bytes = memory.bytes + self.world.mapping_bytes();
        last.quality.recursion_misses = memory.recursion_misses;
        let ending = Ending {
            process_io: self.process_io(&last.accounts),
            modules: self.world.processes.images().iter().map(module).collect(),
            ..ending
        };
        let collector = mem::replace(&mut self.collector, Collector::new(0, 0));
        let mut recording = collector.finish(last, &ending, &mut self.world);
        recording.meta = self.meta.clone();
        recording.disks = self.instruments.block_io.table();
        recording.followed = self.instruments.followed();
        let (ratio, steps) = self.governor.finish();
        recording.budget = Budget { startup_ns: self.startup_ns, ratio, steps };
        recording.skipped = [self.instruments.skipped(), self.world.processes.counts().skips()].concat();
        recording.validate().context("the recording contradicts itself")?;
        Ok(recording)
    }
}

impl Session {
    /// What the recorded processes have read and written. Those whose first thread was born during the recording began with it.
    fn process_io(&self, accounts: &[ThreadRecord]) -> HashMap<u32, ProcessIo> {
        let leaders = accounts.iter().filter(|account| account.ns_tid == account.ns_tgid);
        let born = leaders.filter(|account| account.flags & flags::BORN_INSIDE != 0);
        let born: HashSet<u32> = born.map(|account| account.ns_tgid).collect();
        let tgids: BTreeSet<u32> = accounts.iter().map(|account| account.ns_tgid).collect();
        self.reads.since(tgids.into_iter(), |tgid| born.contains(&tgid))
    }
}

fn module(image: &ImageInfo) -> Module {
    Module { path: image.path.clone(), build_id: image.build_id.clone() }
}
