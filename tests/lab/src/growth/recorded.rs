//! One recording: what it took of CPU time and memory.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use profiler_tests::harness::attached_programs;
use profiler_tests::report::Report;
use profiler_tests::running::{Running, wait_until};

use crate::Bench;
use crate::usage::{most_resident_bytes, own_bytes, programs_percent, run_ns};

/// Time over which CPU time is measured.
const WINDOW: Duration = Duration::from_secs(3);
/// What follows the attaching belongs to the start.
const START: Duration = Duration::from_secs(1);
const TO_ATTACH: Duration = Duration::from_secs(20);
const TO_END: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;

/// What one recording took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Percent of one CPU that the profiler's process used after its start, by the scheduler's account.
    process: f64,
    /// The same of the kernel programs that run in the time of others.
    programs: f64,
    /// The most that was resident, from its start to its end. The start, which reads the kernel's types, may be the most.
    resident_mib: f64,
    /// The most memory of its own, without files and rings, from the end of the measured time on, when it holds all that it has
    /// recorded, looks up names and writes the report.
    own_mib: f64,
    /// Kernel maps and perf's rings.
    kernel_mib: f64,
}

/// A name, and the number that stands under it.
pub type Column = (&'static str, fn(&Cost) -> f64);

/// The columns of a table, and the lines of a plot.
pub const COLUMNS: [Column; 5] = [
    ("CPU, process", |cost| cost.process),
    ("CPU, kernel programs", |cost| cost.programs),
    ("resident, peak", |cost| cost.resident_mib),
    ("own, at the end", |cost| cost.own_mib),
    ("in the kernel", |cost| cost.kernel_mib),
];

/// Records with these options.
pub fn recorded(bench: &Bench, options: &[&str]) -> Result<(Cost, Report)> {
    let path = bench.path("growth.json");
    let profiler = Running::start(bench.profiler(&[&["record", "-q", "-o", &path], options].concat()))?;
    let pid = profiler.pid();
    wait_until("attached", TO_ATTACH, || !attached_programs(pid).is_empty())?;
    thread::sleep(START);
    let (before, from) = (run_ns(pid)?, Instant::now());
    thread::sleep(WINDOW);
    let process = (run_ns(pid)? - before) / from.elapsed().as_nanos() as f64;
    let before_the_end = Memory::of(pid)?;
    profiler.signal(libc::SIGINT);
    let memory = before_the_end.until_the_end(pid)?;
    let finished = profiler.finish(TO_END)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    let report = Report::read(path.as_ref());
    let cost = Cost {
        process: process * 100.0,
        programs: programs_percent(&report)?,
        resident_mib: memory.resident / MIB,
        own_mib: memory.own / MIB,
        kernel_mib: report.number("/cost/kernel_bytes") / MIB,
    };
    Ok((cost, report))
}

/// Bytes, the most so far.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    own: f64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        Ok(Self { resident: most_resident_bytes(pid)?, own: own_bytes(pid)? })
    }

    /// Looks until the process is gone.
    fn until_the_end(mut self, pid: u32) -> Result<Self> {
        let asked = Instant::now();
        while let Ok(now) = Self::of(pid) {
            self.resident = self.resident.max(now.resident);
            self.own = self.own.max(now.own);
            ensure!(asked.elapsed() < TO_END, "the profiler does not end");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(self)
    }
}
