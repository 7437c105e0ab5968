//! From events to a recording: orders, counts and interns.
//!
//! In: raw ring records and, at the end, the open accounts. Out: a [`Recording`] without names. Reads no clock and does no
//! I/O; what has to be read of a process while it lives comes through [`World`].

mod books;
mod depths;
mod goroutines;
mod intern;
mod locks;
mod rows;
mod samples;
mod submits;
mod threads;

use std::collections::HashMap;

use profiler_common::{
    block_io::FileSeen,
    go::GoOffsets,
    ledger::{COMM_BYTES, ThreadRecord},
    lock::{KernelLockKey, KernelLockWaits, LockSeen, contention, waker},
    process::ProcessEvent,
    sample::SubmittedRequest,
    state,
};

use crate::{
    decode::{self, Event},
    unwind::{Captured, Location, Registers, Unwound},
};
use books::{Books, UpTo};
use depths::{Change, Depths};
use goroutines::Goroutines;
use intern::Stacks;
use locks::{LockTables, stranger};
use profiler_report::recording::{
    BlockIoRows, Cost, KernelCounters, LockId, Machine, Method, Module, Party, Place, ProcessId, ProcessIo,
    Quality, Recording, StackEnd, StackId, Sum as _, WaitTimes, Window, Windows,
};
use samples::Samples;
use submits::Submits;

pub use submits::Submitted;
use threads::{Booked, Threads};

/// What has to be read of processes while they live.
pub trait World {
    /// Unwinds a user stack; see [`crate::process::Processes::unwind`].
    fn unwind(&mut self, tgid: u32, captured: Captured<'_>, at_ns: u64, out: &mut Vec<Location>) -> Unwound;
    /// A process was forked.
    fn forked(&mut self, parent: u32, child: u32, at_ns: u64);
    /// A process runs a new image.
    fn replaced(&mut self, tgid: u32, at_ns: u64);
    /// No recorded thread of a process is left.
    fn ended(&mut self, tgid: u32);
    /// Arguments of a process joined by spaces; empty if it is gone.
    fn command_line(&mut self, tgid: u32) -> String;
    /// Path of the file behind a descriptor; none if it is closed by now, or another file's.
    fn file_path(&mut self, seen: &FileSeen) -> Option<String>;
    /// Where in a process's memory a lock lies.
    fn lock_place(&mut self, tgid: u32, address: u64) -> Place;
    /// Present name of a live thread.
    fn thread_comm(&mut self, tgid: u32, tid: u32) -> Option<String>;
}

/// Builds one recording.
pub struct Collector {
    started_at_ns: u64,
    books: Books,
    windows: Windows,
    threads: Threads,
    samples: Samples,
    stacks: Stacks,
    quality: Quality,
    depths: Depths,
    goroutines: Goroutines,
    /// Paths of files that were waited for, by inode and device of the file system. At most as many as the kernel programs
    /// have room for.
    file_paths: HashMap<(u64, u32), String>,
    locks: LockTables,
    submits: Submits,
    /// Processes that are not recorded and have a new name, for whoever matches processes by name.
    stranger_execs: Vec<ProcessEvent>,
    /// Reused from sample to sample.
    locations: Vec<Location>,
}

/// What is read at the end of a window.
#[derive(Default)]
pub struct Cut {
    pub at_ns: u64,
    /// Accounts of the threads that live.
    pub accounts: Vec<ThreadRecord>,
    /// Waits for locks of the kernel since the last cut.
    pub kernel_locks: Vec<(KernelLockKey, KernelLockWaits)>,
    pub wait_times: Vec<WaitTimes>,
    pub block_io: BlockIoRows,
    pub machine: Machine,
    /// What others than the collector count.
    pub quality: Quality,
    pub cost: Cost,
}

/// What the end of a recording adds.
#[derive(Default)]
pub struct Ending {
    pub ended_at_ns: u64,
    /// The kernel's own counters over the recording, by tid as `/proc` shows it.
    pub kernel_counters: HashMap<u32, KernelCounters>,
    /// The kernel's own counters of reads and writes, by process.
    pub process_io: HashMap<u32, ProcessIo>,
    /// By index of [`crate::process::Processes::images`].
    pub modules: Vec<Module>,
}

impl Collector {
    /// Nothing seen yet. Accounts that were open at `seeded_at_ns`, when the first pass over the threads had ended, count from
    /// the start.
    pub fn new(started_at_ns: u64, seeded_at_ns: u64) -> Self {
        Self {
            started_at_ns,
            books: Books::new(started_at_ns, seeded_at_ns),
            windows: Windows::default(),
            threads: Threads::default(),
            samples: Samples::default(),
            stacks: Stacks::default(),
            quality: Quality::default(),
            depths: Depths::default(),
            goroutines: Goroutines::default(),
            file_paths: HashMap::new(),
            locks: LockTables::default(),
            submits: Submits::default(),
            stranger_execs: vec![],
            locations: vec![],
        }
    }

    /// Takes in one ring record.
    pub fn take(&mut self, record: &[u8], world: &mut dyn World) {
        match decode::decode(record) {
            Ok(Event::Sample(sample)) => self.take_sample(&sample, world),
            Ok(Event::OtherStack { kind, sample }) => self.goroutines.keep(kind, &sample),
            Ok(Event::ThreadEnd(record)) => self.take_end(&record, world),
            Ok(Event::Fork(event)) => {
                world.forked(event.parent_ns_tgid, event.ns_tgid, event.at_ns);
                self.threads.process(event.ns_tgid, world);
            }
            Ok(Event::Exec(event)) => self.take_exec(event, world),
            Ok(Event::StrangerExec(event)) => self.stranger_execs.push(event),
            Ok(Event::FileSeen(seen)) => {
                if let Some(path) = world.file_path(&seen) {
                    self.file_paths.entry((seen.inode, seen.file_system)).or_insert(path);
                }
            }
            Ok(Event::LockSeen(seen)) => self.take_lock(&seen, world),
            Ok(Event::Woken(woken)) => self.take_wake(&woken, world),
            Ok(Event::Submit { request, sample }) => self.take_submit(request, &sample, world),
            Ok(Event::Release { waiter_tid, sample }) => self.take_release(waiter_tid, &sample, world),
            Err(_) => self.quality.malformed_records += 1,
        }
    }

    fn take_sample(&mut self, sample: &decode::Sample, world: &mut dyn World) {
        let header = &sample.header;
        let Some((thread, process)) = self.threads.sampled(header.tid, header.ns_tgid, world) else {
            self.quality.samples_over_limit += 1;
            return;
        };
        let stack = self.unwound(sample, process, world);
        let lock = self.lock_of(header.ns_tgid, process, header.lock, world);
        let kept =
            stack.is_some_and(|stack| self.samples.add((thread, stack, lock), sample, &mut self.quality));
        if !kept {
            self.quality.samples_over_limit += 1;
        }
    }

    /// The stack of a sample; none if it is new and the tables are full.
    fn unwound(
        &mut self,
        sample: &decode::Sample,
        process: ProcessId,
        world: &mut dyn World,
    ) -> Option<StackId> {
        let header = &sample.header;
        self.locations.clear();
        // A kernel thread has no user part at all.
        let how = if header.ip == 0 {
            (StackEnd::NoUserStack, Method::None)
        } else {
            let registers = Registers { ip: header.ip, sp: header.sp, fp: header.fp, lr: header.lr };
            let (tgid, at_ns) = (header.ns_tgid, header.at_ns);
            let others = self.goroutines.stacks_of(header);
            let captured = Captured { registers, stack: sample.stack, others };
            let unwound = world.unwind(tgid, captured, at_ns, &mut self.locations);
            self.goroutines.saw(tgid, unwound.goroutines);
            (unwound.end, unwound.method)
        };
        if sample.wait.is_none() {
            self.depths.saw(header.tid, header.stack_bytes, how.0);
        }
        self.stacks.intern(process, &sample.kernel, &self.locations, how)
    }

    /// The row of a lock by its address: of the kernel's half, or of the process's. None for the address 0.
    fn lock_of(
        &mut self,
        tgid: u32,
        process: ProcessId,
        address: u64,
        world: &mut dyn World,
    ) -> Option<LockId> {
        if address == 0 {
            return None;
        }
        let process = (address >> 63 == 0).then_some(process);
        self.locks.lock(process, address, 0, || world.lock_place(tgid, address))
    }

    fn take_lock(&mut self, seen: &LockSeen, world: &mut dyn World) {
        let Some((waiter, process)) = self.threads.sampled(seen.tid, seen.ns_tgid, world) else { return };
        let is_user = seen.lock_kind == contention::USER;
        let lock = if is_user {
            self.lock_of(seen.ns_tgid, process, seen.lock, world)
        } else {
            self.locks.lock(None, seen.lock, seen.lock_kind, || Place::Kernel)
        };
        let owner = match self.threads.known(seen.owner) {
            _ if seen.owner == 0 => Party::Nobody,
            Some(thread) => Party::Thread(thread),
            None if is_user => Party::Nobody,
            None => stranger(seen.owner_tgid, &seen.owner_comm, false),
        };
        if let Some(lock) = lock {
            self.locks.seen(seen, waiter, lock, owner);
        }
    }

    fn take_wake(&mut self, woken: &decode::Woken, world: &mut dyn World) {
        let wake = &woken.wake;
        let Some((waiter, process)) = self.threads.sampled(wake.tid, wake.ns_tgid, world) else { return };
        let is_futex = matches!(wake.state, state::FUTEX_LOCK | state::FUTEX_WAIT | state::FUTEX_TIMED);
        let address = if is_futex { wake.arguments[0] } else { 0 };
        let lock = self.lock_of(wake.ns_tgid, process, address, world);
        let known = (wake.waker & waker::MEMBER != 0).then(|| self.threads.known(wake.waker_tid)).flatten();
        let party = match known {
            _ if wake.waker_tid == 0 => Party::Nobody,
            Some(thread) => Party::Thread(thread),
            None => stranger(wake.waker_tgid, &wake.waker_comm, wake.waker & waker::KERNEL_THREAD != 0),
        };
        let how = (StackEnd::NoUserStack, Method::None);
        match self.stacks.intern(process, &woken.kernel, &[], how) {
            Some(stack) => self.locks.woken(wake, waiter, lock, party, stack),
            None => self.locks.over_limit += 1,
        }
    }

    fn take_release(&mut self, waiter_tid: u32, sample: &decode::Sample, world: &mut dyn World) {
        let header = &sample.header;
        let Some((holder, process)) = self.threads.sampled(header.tid, header.ns_tgid, world) else { return };
        let stack = self.unwound(sample, process, world);
        let lock = self.lock_of(header.ns_tgid, process, header.lock, world);
        if let (Some(stack), Some(lock)) = (stack, lock) {
            self.locks.released(waiter_tid, header.at_ns, lock, holder, stack);
        }
    }

    fn take_submit(&mut self, request: SubmittedRequest, sample: &decode::Sample, world: &mut dyn World) {
        let header = &sample.header;
        let process = self.threads.sampled(header.tid, header.ns_tgid, world).map(|(_, process)| process);
        let stack = process.and_then(|process| self.unwound(sample, process, world));
        if !stack.is_some_and(|stack| self.submits.add(request, header.threshold, stack)) {
            self.quality.samples_over_limit += 1;
        }
    }

    /// What was submitted from which stacks in the present window.
    pub fn take_submits(&mut self) -> Vec<Submitted> {
        self.submits.take()
    }

    fn take_end(&mut self, record: &ThreadRecord, world: &mut dyn World) {
        self.samples.thread_ended(record, &mut self.quality);
        let ended = self.threads.ended(record, self.books.counts_from(record), world);
        match ended.booked {
            Booked::Row(thread) => self.books.book(thread, record, UpTo::End, &mut self.windows),
            Booked::Rest(times) => self.books.book_times(times),
        }
        if ended.process_is_over {
            world.ended(record.ns_tgid);
            self.goroutines.ended(record.ns_tgid);
        }
        self.depths.thread_ended(record.tid);
        self.locks.thread_ended(record.tid);
    }

    fn take_exec(&mut self, event: ProcessEvent, world: &mut dyn World) {
        world.replaced(event.ns_tgid, event.at_ns);
        self.goroutines.ended(event.ns_tgid);
        self.threads.exec(event.ns_tgid, text(&event.comm), world);
    }

    /// The execs of processes that are not recorded, since the last call.
    pub fn take_stranger_execs(&mut self) -> Vec<ProcessEvent> {
        std::mem::take(&mut self.stranger_execs)
    }

    /// Threads of whose stacks more is to be taken, or the usual number of bytes again, since the last call.
    pub fn take_depths(&mut self) -> Vec<Change> {
        self.depths.take_changes()
    }

    /// A process is known as a Go program before its first sample.
    pub fn know_goroutines(&mut self, tgid: u32, offsets: Option<GoOffsets>) {
        self.goroutines.saw(tgid, offsets);
    }

    /// Processes whose goroutines are to be looked at, or no longer, since the last call.
    pub fn take_goroutines(&mut self) -> Vec<(u32, Option<GoOffsets>)> {
        self.goroutines.take_changes()
    }

    /// The first processes that were seen, some of which may be gone.
    pub fn processes(&self) -> Vec<u32> {
        self.threads.first_processes()
    }

    /// Path of a file that was waited for, if it was found.
    pub fn file_path(&self, inode: u64, file_system: u32) -> Option<&str> {
        self.file_paths.get(&(inode, file_system)).map(String::as_str)
    }

    /// Samples kept so far (on the CPU, off the CPU), for a progress line.
    pub fn sample_counts(&self) -> (u64, u64) {
        self.samples.counts()
    }

    /// An account as it can be booked. One that was read while it was written is read once more; none if that was no better,
    /// or if its thread has ended: then it is booked later.
    pub fn settled(
        &self,
        account: &ThreadRecord,
        read_again: impl FnOnce() -> Option<ThreadRecord>,
    ) -> Option<ThreadRecord> {
        if self.books.covers_its_life(account) {
            return Some(*account);
        }
        read_again().filter(|second| self.books.settled(account, second))
    }

    /// How long the present window is to be.
    pub fn period_ns(&self) -> u64 {
        self.windows.period_ns()
    }

    /// Ends the present window, which is to be given to [`Collector::keep`] then. The next one begins.
    pub fn cut(&mut self, cut: Cut, world: &mut dyn World) -> Window {
        for account in &cut.accounts {
            self.samples.cut(account);
            if let Some(thread) = self.threads.booked(account, self.books.counts_from(account), world) {
                self.books.book(thread, account, UpTo::Cut(cut.at_ns), &mut self.windows);
            }
        }
        self.window(cut)
    }

    /// Keeps a window.
    pub fn keep(&mut self, window: Window) {
        self.windows.push(window);
    }

    fn window(&mut self, cut: Cut) -> Window {
        let mut quality = std::mem::take(&mut self.quality);
        quality.locks_over_limit += std::mem::take(&mut self.locks.over_limit);
        quality.add(&cut.quality);
        Window {
            from_ns: self.windows.ended_at_ns().unwrap_or(self.started_at_ns),
            to_ns: cut.at_ns,
            ledger: self.books.take(),
            samples: self.samples.take(),
            wait_times: cut.wait_times,
            block_io: cut.block_io,
            locks: self.locks.take(&cut.accounts, cut.kernel_locks),
            machine: cut.machine,
            quality,
            cost: cut.cost,
        }
    }

    /// Ends the last window, closes the accounts that are open, and hands over the tables.
    pub fn finish(mut self, last: Cut, ending: &Ending, world: &mut dyn World) -> Recording {
        for account in &last.accounts {
            self.samples.thread_ended(account, &mut self.quality);
            let from_ns = self.books.counts_from(account);
            let thread = self.threads.open_at_end(account, (from_ns, ending), world);
            self.books.book(thread, account, UpTo::Last(last.at_ns), &mut self.windows);
        }
        let window = self.window(last);
        self.keep(window);
        let (frames, stacks) = self.stacks.into_tables();
        let (processes, threads) = self.threads.into_tables(ending);
        Recording {
            processes,
            threads,
            modules: ending.modules.clone(),
            frames,
            stacks,
            locks: self.locks.into_locks(),
            windows: self.windows.finish(),
            ..Recording::default()
        }
    }
}

/// A name as the kernel keeps it: up to the first zero, any bytes.
pub fn text(comm: &[u8; COMM_BYTES]) -> String {
    let end = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into_owned()
}

#[cfg(test)]
mod tests;
