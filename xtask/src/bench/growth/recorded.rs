//! One recording: what it took of CPU time and memory.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use profiler_tests::harness::attached_programs;
use profiler_tests::report::Report;
use profiler_tests::running::{Running, wait_until};

use crate::bench::Bench;
use crate::bench::usage::{most_resident_bytes, programs_percent, run_ns};

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
    /// The most that was resident while it recorded, and until its end, which looks up names and writes the report.
    recording_mib: f64,
    end_mib: f64,
    /// Kernel maps and perf's rings.
    kernel_mib: f64,
}

/// The columns of a table, and the lines of a plot.
pub const COLUMNS: [(&str, fn(&Cost) -> f64); 5] = [
    ("CPU, its process", |cost| cost.process),
    ("CPU, its kernel programs", |cost| cost.programs),
    ("resident, recording", |cost| cost.recording_mib),
    ("resident, with the report", |cost| cost.end_mib),
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
    let recording = most_resident_bytes(pid)?;
    profiler.signal(libc::SIGINT);
    let end = most_until_the_end(pid)?;
    let finished = profiler.finish(TO_END)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    let report = Report::read(path.as_ref());
    let cost = Cost {
        process: process * 100.0,
        programs: programs_percent(&report)?,
        recording_mib: recording / MIB,
        end_mib: end.max(recording) / MIB,
        kernel_mib: report.number("/cost/kernel_bytes") / MIB,
    };
    Ok((cost, report))
}

/// Memory is largest at the end, and can be asked for until the process is gone.
fn most_until_the_end(pid: u32) -> Result<f64> {
    let (asked, mut most) = (Instant::now(), 0.0);
    while let Ok(bytes) = most_resident_bytes(pid) {
        most = bytes;
        ensure!(asked.elapsed() < TO_END, "the profiler does not end");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(most)
}
