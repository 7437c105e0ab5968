//! The end of a recording: the books are closed, and everything is put together. Now and then this is done for what there is so far.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use anyhow::{Context as _, Result};
use profiler_common::ledger::{ThreadRecord, flags};

use super::{Finished, Session, checkpoint, counters, host};
use crate::{
    collect::Ending,
    kernel::MapMemory,
    messages,
    process::ImageInfo,
    recording::{Cost, KernelCounters, Module, ProcessIo, Quality, Recording},
};

/// Added to what is saved before the end.
const UNFINISHED: &str = "the recording did not come to its end (the profiler was killed, or the machine stopped): this is what \
                          there was when it was saved last. No names were looked up";

/// What is read at the moment that ends the books.
struct Books {
    ended_at_ns: u64,
    accounts: Vec<ThreadRecord>,
    kernel_counters: HashMap<u32, KernelCounters>,
    threads_unseen: u32,
    own_cpu_ns: u64,
    rss_bytes: u64,
}

impl Session {
    /// The order matters: first the books are closed, then all that takes time is read.
    pub(super) fn finish(mut self) -> Result<Finished> {
        if let Some(weight) = self.pacing.remainder() {
            self.pass(weight, host::monotonic_ns())?;
        }
        self.kernel.stop()?;
        let ended_at_ns = host::monotonic_ns();
        let accounts = self.kernel.accounts()?;
        let kernel_counters = self.counters.differences(&accounts);
        let (own_cpu_ns, rss_bytes) = self.usage.since()?;
        self.drain();
        self.first = None;
        self.progress.clear();
        if let Some(line) = messages::kernel_lines_lost(self.kernel.log_lines_lost()?) {
            eprintln!("{line}");
        }
        let threads_unseen = counters::unseen(&accounts, self.target.tgids());
        let own_cpu_ns = own_cpu_ns + self.checkpoints.finish();
        let books = Books { ended_at_ns, accounts, kernel_counters, threads_unseen, own_cpu_ns, rss_bytes };
        let recording = self.close(books)?;
        let command = if recording.meta.command_exit_code.is_some() { None } else { self.command };
        Ok(Finished { recording, processes: self.world.processes, command })
    }

    /// Saves what there is so far, if that is wanted and due.
    pub(super) fn save_if_due(&mut self) -> Result<()> {
        if self.options.checkpoint.is_none() || !self.checkpoints.is_due() {
            return Ok(());
        }
        self.drain();
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
        let books =
            Books { ended_at_ns, accounts, kernel_counters, threads_unseen: 0, own_cpu_ns, rss_bytes };
        let mut recording = self.close(books)?;
        recording.quality.skipped.push(UNFINISHED.to_owned());
        self.options.checkpoint.as_ref().map_or(Ok(()), |save| Ok(save.save(&recording)?))
    }

    fn close(&mut self, books: Books) -> Result<Recording> {
        self.meta.ended_at_ns = books.ended_at_ns;
        self.kernel.sample_source().clone_into(&mut self.meta.sample_source);
        let memory = MapMemory::read()?;
        let (programs, measured_ns) = self.meter.finish(|| self.kernel.program_runs())?;
        let (budget_ratio, steps) = self.governor.finish();
        let sums = self.kernel.request_sums()?;
        let submits = self.collector.take_submits();
        let block_io =
            self.disks.finish(sums, &submits, |inode, device| self.collector.file_path(inode, device));
        let kernel_locks = self.kernel.kernel_locks()?;
        let machine = self.machine.since(&self.collector.processes());
        let process_io = self.process_io(&books.accounts);
        let ending = Ending {
            started_at_ns: self.meta.started_at_ns,
            seeded_at_ns: self.seeded_at_ns,
            ended_at_ns: self.meta.ended_at_ns,
            accounts: books.accounts,
            kernel_counters: books.kernel_counters,
            process_io,
            kernel_locks,
            locks_followed: self.options.locks,
            modules: self.world.processes.images().iter().map(module).collect(),
        };
        let mut recording = mem::take(&mut self.collector).finish(ending, &mut self.world);
        recording.meta = self.meta.clone();
        recording.block_io = block_io;
        recording.machine = machine;
        recording.cost = Cost {
            own_cpu_ns: books.own_cpu_ns,
            rss_bytes: books.rss_bytes,
            kernel_bytes: memory.bytes + self.world.mapping_bytes(),
            programs,
            measured_ns,
            startup_ns: self.startup_ns,
            budget_ratio,
            steps,
        };
        let counted = self.kernel.stats()?;
        recording.quality = Quality {
            kernel_counts: counted.into_iter().map(|(stat, count)| (stat.name().to_owned(), count)).collect(),
            threads_unseen: books.threads_unseen,
            offcpu_over_limit: self.pacing.over_limit(),
            offcpu_passes: self.pacing.passes(),
            offcpu_passes_missed: self.pacing.missed(recording.elapsed_ns(), self.options.sample_hz),
            recursion_misses: memory.recursion_misses,
            skipped: [
                self.kernel.skipped(),
                &self.world.processes.counts().sentences(),
                self.online.sentence().as_slice(),
            ]
            .concat(),
            ..recording.quality
        };
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
