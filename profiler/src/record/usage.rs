//! What the recording costs this process (`getrusage`) and the machine (the kernel's program statistics).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    host,
    kernel::{ProgramRun, StatsBurst},
};
use profiler_report::recording::ProgramCost;

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

    /// The same, and from now on it counts from now.
    pub fn take(&mut self) -> Result<(u64, u64)> {
        let (cpu_ns, rss_bytes) = read()?;
        let before = std::mem::replace(&mut self.cpu_ns, cpu_ns);
        Ok((cpu_ns.saturating_sub(before), rss_bytes))
    }
}

fn read() -> Result<(u64, u64)> {
    // SAFETY: an all-zero `rusage` is valid; the call fills it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `rusage` to a valid place.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot read the profiler's own CPU time");
    }
    // ru_maxrss is in kilobytes (getrusage(2)).
    Ok((host::cpu_ns(&usage), usage.ru_maxrss as u64 * 1024))
}

/// The kernel measures the programs for at least this long at a time …
const BURST: Duration = Duration::from_millis(40);
/// … once in this time: 4 % of it.
const PERIOD: Duration = Duration::from_secs(1);
/// The first burst leaves out the start, when caches are cold.
const FIRST: Duration = Duration::from_millis(300);
/// The programs' cost of the moment is the mean of this many bursts: one is too short to be trusted.
const BURSTS: usize = 3;

/// Measures the programs in bursts, and what the recording costs at the moment.
pub struct Meter {
    cpus: u32,
    burst: Option<Burst>,
    next: Instant,
    measured: Duration,
    /// Of the bursts since the last [`Meter::take`]. Not what the kernel has counted since it loaded them: somebody else may have it measure too.
    programs: Vec<ProgramCost>,
    /// Share of one CPU that the programs took in others' time in each of the last bursts.
    shares: VecDeque<f64>,
    /// Own CPU time when the last second began.
    second: (Instant, Usage),
}

struct Burst {
    #[expect(dead_code, reason = "held for its effect: dropping it ends the measuring")]
    stats: StatsBurst,
    since: Instant,
    /// What had been counted before.
    before: Vec<ProgramRun>,
}

impl Meter {
    pub fn new(cpus: u32) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            cpus,
            burst: None,
            next: now + FIRST,
            measured: Duration::ZERO,
            programs: vec![],
            shares: VecDeque::new(),
            second: (now, Usage::now()?),
        })
    }

    /// Begins or ends a burst if it is time. Once a second, what that second has cost: a share of the machine's CPU time. `runs`
    /// reads what the kernel has counted of each program.
    pub fn tick(&mut self, runs: impl Fn() -> Result<Vec<ProgramRun>>) -> Result<Option<f64>> {
        let now = Instant::now();
        match &self.burst {
            Some(burst) if now - burst.since >= BURST => self.end(now, runs)?,
            None if now >= self.next => {
                // A kernel without these statistics is asked again as rarely as one with them.
                self.next = now + PERIOD;
                let before = runs()?;
                self.burst = StatsBurst::begin().map(|stats| Burst { stats, since: now, before });
            }
            _ => {}
        }
        let (since, usage) = &self.second;
        let elapsed = now - *since;
        if elapsed < PERIOD {
            return Ok(None);
        }
        let (own_cpu_ns, _) = usage.since()?;
        self.second = (now, Usage::now()?);
        let own = own_cpu_ns as f64 / elapsed.as_nanos() as f64;
        Ok(Some((own + self.programs_share()) / f64::from(self.cpus)))
    }

    fn programs_share(&self) -> f64 {
        self.shares.iter().sum::<f64>() / self.shares.len().max(1) as f64
    }

    fn end(&mut self, now: Instant, runs: impl Fn() -> Result<Vec<ProgramRun>>) -> Result<()> {
        let Some(burst) = self.burst.take() else { return Ok(()) };
        let length = now - burst.since;
        self.measured += length;
        let mut others_ns = 0;
        for after in runs()? {
            let spent = since(&burst.before, after);
            if !spent.in_own_time {
                others_ns += spent.run_ns;
            }
            match self.programs.iter_mut().find(|program| program.name == spent.name) {
                Some(program) => {
                    program.run_ns += spent.run_ns;
                    program.runs += spent.runs;
                }
                None => self.programs.push(spent),
            }
        }
        self.shares.push_back(others_ns as f64 / length.as_nanos().max(1) as f64);
        if self.shares.len() > BURSTS {
            self.shares.pop_front();
        }
        Ok(())
    }

    /// Ends a burst that is under way.
    pub fn finish(&mut self, runs: impl Fn() -> Result<Vec<ProgramRun>>) -> Result<()> {
        self.end(Instant::now(), runs)
    }

    /// What was measured since the last call: each program's runs, and for how long the kernel measured, in nanoseconds.
    pub fn take(&mut self) -> (Vec<ProgramCost>, u64) {
        let measured = std::mem::take(&mut self.measured);
        (std::mem::take(&mut self.programs), measured.as_nanos() as u64)
    }
}

/// What one program has spent since then.
fn since(before: &[ProgramRun], after: ProgramRun) -> ProgramCost {
    let earlier = before.iter().find(|program| program.name == after.name).cloned().unwrap_or_default();
    ProgramCost {
        run_ns: after.run_ns.saturating_sub(earlier.run_ns),
        runs: after.runs.saturating_sub(earlier.runs),
        name: after.name,
        in_own_time: after.in_own_time,
    }
}
