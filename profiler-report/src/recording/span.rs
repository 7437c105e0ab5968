//! A stretch of a recording, added up: what the analysis reads.

use std::ops::{Deref, DerefMut, Range};

use super::block_io::{BlockIo, Device, DiskCounters, Submitter};
use super::cost::{Budget, Cost};
use super::locks::Locks;
use super::machine::Machine;
use super::quality::{Debuginfod, Quality};
use super::stacks::{Frame, Module, Name, Sample, Stack};
use super::sum::Sum;
use super::threads::{Process, Thread, ThreadTimes};
use super::wait_times::WaitTimes;
use super::window::Window;
use super::{Meta, Recording, Skip};

/// Processes outside of the target that are shown with their CPU time.
const MOST_OTHERS: usize = 5;

/// Tables of a recording, and the sum of some neighbouring windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Its start and end are those of the span.
    pub meta: Meta,
    /// None of the whole recording; else the part of it that this is.
    pub part: Option<Part>,
    pub processes: Vec<Process>,
    /// Parallel to [`Recording::threads`].
    pub threads: Vec<ThreadSum>,
    pub modules: Vec<Module>,
    pub frames: Vec<Frame>,
    pub names: Vec<Vec<Name>>,
    pub stacks: Vec<Stack>,
    pub samples: Vec<Sample>,
    pub wait_times: Vec<WaitTimes>,
    pub block_io: BlockIo,
    pub locks: Locks,
    pub machine: Machine,
    pub quality: Quality,
    /// What is off or degraded on this machine, and why, as sentences.
    pub skipped: Vec<Skip>,
    pub debuginfod: Debuginfod,
    pub cost: Cost,
    pub budget: Budget,
}

/// Where in its recording a span lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// From the start of the recording to that of the span, and to its end.
    pub from_ns: u64,
    pub to_ns: u64,
    /// Length of the recording.
    pub of_ns: u64,
}

/// One thread, and its time in a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadSum {
    pub thread: Thread,
    /// Whether anything was seen of it in the span.
    pub is_present: bool,
    /// Time to account for.
    pub elapsed_ns: u64,
    /// Nanoseconds in each state, by code (`profiler_common::state`).
    pub state_ns: Vec<u64>,
    /// Intervals in each state, by code.
    pub state_count: Vec<u32>,
    pub preemptions: u32,
}

impl Deref for ThreadSum {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        &self.thread
    }
}

impl DerefMut for ThreadSum {
    fn deref_mut(&mut self) -> &mut Thread {
        &mut self.thread
    }
}

impl Span {
    /// Length of the span.
    pub fn elapsed_ns(&self) -> u64 {
        self.meta.ended_at_ns.saturating_sub(self.meta.started_at_ns)
    }

    /// Where it lies in its recording.
    pub fn place(&self) -> Part {
        let whole = Part { from_ns: 0, to_ns: self.elapsed_ns(), of_ns: self.elapsed_ns() };
        self.part.unwrap_or(whole)
    }

    /// Time of it in which optional probes took part: requests to block devices and locks are of no other.
    pub fn optional_ns(&self) -> u64 {
        let place = self.place();
        let (mut sum, mut since, mut takes_part) = (0_u64, 0, true);
        let steps = self.budget.steps.iter().map(|step| (step.at_ns, step.detail.has_optional_probes()));
        for (at_ns, next) in steps.chain([(place.to_ns, false)]) {
            if takes_part {
                let (from, to) = (place.from_ns.max(since), place.to_ns.min(at_ns));
                sum = sum.saturating_add(to.saturating_sub(from));
            }
            (since, takes_part) = (at_ns, next);
        }
        sum.min(self.elapsed_ns())
    }
}

impl Recording {
    /// The whole recording, added up.
    pub fn whole(&self) -> Span {
        self.add_up(0..self.windows.len(), None)
    }

    /// Some of the windows, added up. Those that there are not are left out.
    pub fn span(&self, windows: Range<usize>) -> Span {
        let end = windows.end.min(self.windows.len());
        let windows = windows.start.min(end)..end;
        if windows.len() == self.windows.len() {
            return self.whole();
        }
        let since_start = |at_ns: u64| at_ns.saturating_sub(self.meta.started_at_ns);
        let rows = &self.windows[windows.clone()];
        let part = Part {
            from_ns: rows.first().map_or(0, |first| since_start(first.from_ns)),
            to_ns: rows.last().map_or(0, |last| since_start(last.to_ns)),
            of_ns: self.elapsed_ns(),
        };
        self.add_up(windows, Some(part))
    }

    /// The windows that lie between two moments, counted from the start of the recording, with at least half of their
    /// length.
    pub fn windows_between(&self, from_ns: u64, to_ns: u64) -> Range<usize> {
        let middle = |window: &Window| {
            let half = window.elapsed_ns() / 2;
            window.from_ns.saturating_sub(self.meta.started_at_ns).saturating_add(half)
        };
        let start = self.windows.iter().position(|window| middle(window) >= from_ns);
        let start = start.unwrap_or(self.windows.len());
        let count = self.windows[start..].iter().take_while(|window| middle(window) < to_ns).count();
        start..start + count
    }

    fn add_up(&self, windows: Range<usize>, part: Option<Part>) -> Span {
        let windows = &self.windows[windows];
        let mut sum = Window::default();
        for window in windows {
            sum.add(window);
        }
        let mut span = Span {
            meta: self.meta.clone(),
            part,
            processes: self.processes.clone(),
            modules: self.modules.clone(),
            frames: self.frames.clone(),
            names: self.names.clone(),
            stacks: self.stacks.clone(),
            machine: sum.machine,
            quality: sum.quality,
            skipped: self.skipped.clone(),
            debuginfod: self.debuginfod,
            cost: sum.cost,
            budget: self.budget.clone(),
            wait_times: sum.wait_times,
            locks: Locks {
                followed: self.followed.locks,
                kernel_followed: self.followed.kernel_locks,
                locks: self.locks.clone(),
                kernel_waits: sum.locks.kernel_waits,
                held: sum.locks.held,
                wakes: sum.locks.wakes,
                releases: sum.locks.releases,
                open: sum.locks.open,
            },
            block_io: BlockIo {
                followed: self.followed.block_io,
                devices: vec![],
                requests: sum.block_io.requests,
                shares: sum.block_io.shares,
                waits: sum.block_io.waits,
                files: sum.block_io.files,
                submitters: largest_first(sum.block_io.submitters),
            },
            threads: threads(&self.threads, &sum.ledger, &sum.samples, part.is_none()),
            samples: sum.samples,
        };
        if let Some(Part { from_ns, to_ns, .. }) = part {
            span.meta.started_at_ns = self.meta.started_at_ns.saturating_add(from_ns);
            span.meta.ended_at_ns = self.meta.started_at_ns.saturating_add(to_ns);
            span.meta.started_unix_ns = self.meta.started_unix_ns.saturating_add(from_ns);
            // Read at both ends of the recording alone.
            span.processes.iter_mut().for_each(|process| process.io = None);
            span.threads.iter_mut().for_each(|thread| thread.kernel_counters = None);
        }
        span.block_io.devices = self.devices(windows, span.elapsed_ns());
        span.machine.busiest_others.sort_by_key(|other| std::cmp::Reverse(other.cpu_ns));
        span.machine.busiest_others.truncate(MOST_OTHERS);
        span
    }

    fn devices(&self, windows: &[Window], elapsed_ns: u64) -> Vec<Device> {
        let mut devices: Vec<_> =
            self.disks.iter().map(|disk| Device { disk: disk.clone(), ..Device::default() }).collect();
        for window in windows {
            for row in &window.block_io.disks {
                let Some(device) = devices.get_mut(row.disk as usize) else { continue };
                // A disk that is met later has done nothing before.
                let counters = device.counters.get_or_insert_default();
                counters.add(&DiskCounters { elapsed_ns: 0, ..row.counters });
                counters.elapsed_ns = elapsed_ns;
                device.depth.push(row.in_flight_ns as f32 / window.elapsed_ns().max(1) as f32);
                if device.depth_interval_ns == 0 {
                    device.depth_interval_ns = window.elapsed_ns();
                }
            }
        }
        devices
    }
}

fn largest_first(mut submitters: Vec<Submitter>) -> Vec<Submitter> {
    let key =
        |row: &Submitter| (std::cmp::Reverse((row.bytes, row.count)), row.device, row.operation, row.stack);
    submitters.sort_by_key(key);
    submitters
}

/// Every thread of the recording with its times; present is who was seen, or all of a whole recording.
fn threads(threads: &[Thread], ledger: &[ThreadTimes], samples: &[Sample], whole: bool) -> Vec<ThreadSum> {
    use profiler_common::state::SLOTS;
    let sum = |thread: &Thread| ThreadSum {
        thread: thread.clone(),
        is_present: whole,
        state_ns: vec![0; SLOTS],
        state_count: vec![0; SLOTS],
        ..ThreadSum::default()
    };
    let mut sums: Vec<_> = threads.iter().map(sum).collect();
    for times in ledger {
        let Some(sum) = sums.get_mut(times.thread as usize) else { continue };
        sum.is_present = true;
        (sum.elapsed_ns, sum.preemptions) = (times.elapsed_ns, times.preemptions);
        for time in &times.states {
            // A state of a later version counts as unknown in the analysis; its code has a bound all the same.
            if let Some(ns) = sum.state_ns.get_mut(time.state as usize) {
                *ns = ns.saturating_add(time.ns);
                sum.state_count[time.state as usize] = time.count;
            }
        }
    }
    for sample in samples {
        if let Some(sum) = sums.get_mut(sample.thread as usize) {
            sum.is_present = true;
        }
    }
    sums
}
