//! What the recording costs this process (`getrusage`) and the machine (the kernel's program statistics).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{
    kernel::{Kernel, ProgramRun, StatsBurst},
    recording::ProgramCost,
};

/// CPU time of this process at one moment.
pub struct Usage {
    cpu_ns: u64,
}

impl Usage {
    pub fn now() -> Result<Self> {
        Ok(Self { cpu_ns: read()?.0 })
    }

    /// CPU time since then, and the most memory ever resident, in nanoseconds and bytes.
    pub fn since(&self) -> Result<(u64, u64)> {
        let (cpu_ns, rss_bytes) = read()?;
        Ok((cpu_ns.saturating_sub(self.cpu_ns), rss_bytes))
    }
}

fn read() -> Result<(u64, u64)> {
    // SAFETY: an all-zero `rusage` is valid; the call fills it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `rusage` to a valid place.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot read the profiler's own CPU time");
    }
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    // ru_maxrss is in kilobytes (getrusage(2)).
    Ok((ns(usage.ru_utime) + ns(usage.ru_stime), usage.ru_maxrss as u64 * 1024))
}

/// The kernel measures the programs for this long at a time …
const BURST: Duration = Duration::from_millis(200);
/// … and then not for this long: 4 % of the time.
const PAUSE: Duration = Duration::from_millis(4800);
/// The first burst leaves out the start, when caches are cold.
const FIRST: Duration = Duration::from_millis(300);

/// Measures the programs in bursts.
pub struct Bursts {
    running: Option<(StatsBurst, Instant)>,
    next: Instant,
    measured: Duration,
}

impl Bursts {
    pub fn new() -> Self {
        Self { running: None, next: Instant::now() + FIRST, measured: Duration::ZERO }
    }

    /// Begins or ends a burst if it is time.
    pub fn tick(&mut self) {
        let now = Instant::now();
        match &self.running {
            Some((_, since)) if now - *since >= BURST => self.end(now),
            None if now >= self.next => {
                self.running = StatsBurst::begin().map(|burst| (burst, now));
                // A kernel without these statistics is asked again as rarely as one with them.
                self.next = now + BURST + PAUSE;
            }
            _ => {}
        }
    }

    fn end(&mut self, now: Instant) {
        if let Some((_, since)) = self.running.take() {
            self.measured += now - since;
        }
    }

    /// What was measured: each program's runs, and for how long the kernel measured, in nanoseconds.
    pub fn finish(mut self, kernel: &Kernel) -> Result<(Vec<ProgramCost>, u64)> {
        self.end(Instant::now());
        let cost = |ProgramRun { name, run_ns, runs }| ProgramCost { name, run_ns, runs };
        let programs = kernel.program_runs()?.into_iter().map(cost).collect();
        Ok((programs, self.measured.as_nanos() as u64))
    }
}
