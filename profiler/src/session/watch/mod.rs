//! Watches disks: what each did in every interval, and at the end in all.
//!
//! In: [`WatchOptions`]. Out: [`DiskInterval`]s, to whoever shows them.

mod difference;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::Result;
use profiler_common::{
    block_io::{RequestTotals, Share, ShareKey},
    stat::Stat,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    disks::Disks,
    host,
    priority::First,
    usage::{Meter, Usage},
};
use crate::{
    confine::{Needs, confine},
    kernel::{BlockPrograms, MapMemory, RequestSums},
};
use difference::ShareSums;
use profiler_report::recording::{DiskInterval, WatchCost};

/// The loop looks at the clock and the cost so often.
const TICK: Duration = Duration::from_millis(50);
/// Seconds in a row that may cost more than allowed before the watching ends.
const PATIENCE: usize = 5;

/// How disks are watched.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    pub interval: Duration,
    /// So many intervals; until a signal without it.
    pub count: Option<u32>,
    /// How much of the machine's CPU time it may cost.
    pub budget_ratio: f64,
}

/// Watches until a signal, the last interval, or the one that is shown to has had enough. Returns the sums over all of it; the
/// last interval, if it is not whole, is only in those.
///
/// # Errors
/// The kernel lacks something or refuses it.
pub fn watch(
    options: WatchOptions,
    mut show: impl FnMut(&DiskInterval) -> Result<ControlFlow<()>>,
) -> Result<DiskInterval> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let _first = First::take();
        let mut watch = Watch::start(options)?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = ticks.tick() => if watch.tick(&mut show)?.is_break() { break },
            }
        }
        // The second one ends the program at once.
        super::restore_signals();
        watch.whole()
    })
}

struct Watch {
    options: WatchOptions,
    programs: BlockPrograms,
    skipped: Vec<String>,
    started_at: Instant,
    started_unix_ns: u64,
    /// Of the whole, and of the present interval.
    disks: Disks,
    interval: Interval,
    shares: ShareSums,
    shown: u32,
    meter: Meter,
    usage: Usage,
    /// What each second has cost.
    cost: Seconds,
}

struct Interval {
    began: Instant,
    began_unix_ns: u64,
    disks: Disks,
    totals: Vec<RequestTotals>,
    lost: Lost,
}

/// Requests that are in none of the tables, and those that are not in those of processes and cgroups, since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    missing: u64,
    unshared: u64,
}

#[derive(Default)]
struct Seconds {
    sum_ratio: f64,
    count: u32,
    /// In a row up to now that have cost more than allowed.
    dear: usize,
}

impl Watch {
    fn start(options: WatchOptions) -> Result<Self> {
        let programs = BlockPrograms::attach()?;
        host::return_free_memory();
        let skipped = confine(&Needs::default(), || programs.losses().is_ok())?;
        let (now, now_unix_ns) = (Instant::now(), host::unix_ns());
        Ok(Self {
            options,
            interval: Interval {
                began: now,
                began_unix_ns: now_unix_ns,
                disks: Disks::now(),
                totals: programs.totals()?,
                lost: Lost::default(),
            },
            disks: Disks::now(),
            programs,
            skipped,
            started_at: now,
            started_unix_ns: now_unix_ns,
            shares: ShareSums::default(),
            shown: 0,
            meter: Meter::new(host::online_cpus())?,
            usage: Usage::now()?,
            cost: Seconds::default(),
        })
    }

    fn tick(
        &mut self,
        show: &mut impl FnMut(&DiskInterval) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if let Some(ratio) = self.meter.tick(|| self.programs.program_runs())? {
            self.cost.add(ratio, self.options.budget_ratio);
        }
        self.disks.look();
        if self.interval.began.elapsed() < self.options.interval {
            return Ok(ControlFlow::Continue(()));
        }
        let present = self.end_interval()?;
        self.shown += 1;
        let is_last = self.options.count.is_some_and(|count| self.shown >= count);
        let wants_more = show(&present)?.is_continue();
        let goes_on = wants_more && !is_last && self.cost.dear < PATIENCE;
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn end_interval(&mut self) -> Result<DiskInterval> {
        let (now, now_unix_ns) = (Instant::now(), host::unix_ns());
        let totals = self.programs.totals()?;
        let shares = self.programs.take_shares()?;
        self.shares.add(&shares);
        let gained = difference::totals(&self.interval.totals, &totals);
        let lost = self.lost()?;
        let present = DiskInterval {
            started_unix_ns: self.interval.began_unix_ns,
            elapsed_ns: (now - self.interval.began).as_nanos() as u64,
            block_io: self.interval.disks.finish(Some(sums(gained, shares)), &[], |_, _| None),
            missing: lost.missing - self.interval.lost.missing,
            unshared: lost.unshared - self.interval.lost.unshared,
            ..DiskInterval::default()
        };
        self.interval =
            Interval { began: now, began_unix_ns: now_unix_ns, disks: Disks::now(), totals, lost };
        Ok(present)
    }

    fn lost(&self) -> Result<Lost> {
        let mut lost = Lost { missing: 0, unshared: self.shares.left_out };
        for (stat, count) in self.programs.losses()? {
            if stat == Stat::RequestSharesFull {
                lost.unshared += count;
            } else {
                lost.missing += count;
            }
        }
        Ok(lost)
    }

    fn whole(mut self) -> Result<DiskInterval> {
        let last = self.programs.take_shares()?;
        self.shares.add(&last);
        let elapsed_ns = self.started_at.elapsed().as_nanos() as u64;
        let block_io =
            self.disks.finish(Some(sums(self.programs.totals()?, self.shares.shares())), &[], |_, _| None);
        let (own_cpu_ns, rss_bytes) = self.usage.since()?;
        let (programs, measured_ns) = self.meter.finish(|| self.programs.program_runs())?;
        let programs_ns: u64 = programs.iter().map(|program| program.run_ns).sum();
        let lost = self.lost()?;
        Ok(DiskInterval {
            started_unix_ns: self.started_unix_ns,
            elapsed_ns,
            block_io,
            missing: lost.missing,
            unshared: lost.unshared,
            skipped: self.skipped,
            cost: Some(WatchCost {
                machine_ratio: self.cost.mean(),
                own_cpu_ratio: own_cpu_ns as f64 / elapsed_ns.max(1) as f64,
                programs_cpu_ratio: (measured_ns > 0).then(|| programs_ns as f64 / measured_ns as f64),
                rss_bytes,
                kernel_bytes: MapMemory::read()?.bytes,
                budget_ratio: self.options.budget_ratio,
                is_over: self.cost.dear >= PATIENCE,
            }),
        })
    }
}

impl Seconds {
    fn add(&mut self, ratio: f64, budget_ratio: f64) {
        self.sum_ratio += ratio;
        self.count += 1;
        self.dear = if ratio > budget_ratio { self.dear + 1 } else { 0 };
    }

    /// None in the first second.
    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ratio / f64::from(self.count))
    }
}

fn sums(totals: Vec<RequestTotals>, shares: Vec<(ShareKey, Share)>) -> RequestSums {
    RequestSums { totals, shares, ..RequestSums::default() }
}
