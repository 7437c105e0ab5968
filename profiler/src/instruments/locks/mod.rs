//! Locks: ends of waits and holders, which the programs send, and contention for the kernel's own locks, which they sum up.

mod hooks;
mod pacing;

use anyhow::{Result, bail};
use profiler_common::{
    lock::{KernelLockKey, KernelLockWaits},
    stat::Stat,
};

use super::{About, Flag, Instrument, Probe, Reading, difference::Before};
use crate::{
    collect::Cut,
    kernel::{Btf, Kernel, Object, Plan, error_line},
};
use hooks::KernelLocks;
use pacing::WakePacing;
use profiler_report::recording::InstrumentId;

/// What it is.
pub const ABOUT: About = About {
    id: InstrumentId::Locks,
    flag: Some(Flag { long: "locks", alias: None, help: "Look at who holds locks and who ends waits" }),
    probe: Some(Probe {
        name: "contention events",
        works: "attached: waits for locks of the kernel",
        lost: Some("kernel locks"),
        since: (5, 19),
        fixes: &[],
    }),
};

/// The instrument.
pub struct Locks {
    /// None where they are not looked at.
    pacing: Option<WakePacing>,
    /// Whether the kernel reports contention, or why not.
    contention: Result<(), String>,
    kernel_locks: Option<KernelLocks>,
    before: Before<KernelLockKey, KernelLockWaits>,
}

impl Locks {
    /// Not attached yet; `threads` are recorded at the start. None where locks are not looked at.
    pub fn new(threads: Option<u32>) -> Self {
        Self {
            pacing: threads.map(WakePacing::new),
            contention: Err("the kernel's types were not read".to_owned()),
            kernel_locks: None,
            before: Before::default(),
        }
    }

    /// Whether ends of waits and holders are looked at.
    pub fn is_wanted(&self) -> bool {
        self.pacing.is_some()
    }

    /// Whether contention for the kernel's own locks is followed.
    pub fn has_kernel_locks(&self) -> bool {
        self.kernel_locks.is_some()
    }
}

impl Instrument for Locks {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn plan(&mut self, btf: &Btf, plan: &mut Plan) {
        self.contention = hooks::resolve(btf, &mut plan.offsets).map_err(|error| error_line(&error));
        if self.pacing.is_none() || self.contention.is_err() {
            for map in hooks::MAPS {
                plan.map(map, 1);
            }
        }
    }

    fn attach(&mut self, object: &mut Object) -> Result<()> {
        if self.pacing.is_none() {
            return Ok(());
        }
        if let Err(why) = &self.contention {
            bail!("{why}");
        }
        hooks::attach(object)?;
        self.kernel_locks = Some(KernelLocks::new(object)?);
        Ok(())
    }

    fn prepare(&mut self, kernel: &mut Kernel) -> Result<()> {
        let Some(pacing) = &self.pacing else { return Ok(()) };
        kernel.change_control(|control| control.wake_period_ns = pacing.period_ns())
    }

    /// A thread's waits are reported each time that they add up to the period.
    fn each_second(&mut self, kernel: &mut Kernel, _: &[u32]) -> Result<()> {
        let Some(pacing) = &mut self.pacing else { return Ok(()) };
        // Those that were reported, or would have been.
        match pacing.observe(kernel.counted(&[Stat::Wakes, Stat::WakesDropped])?) {
            Some(period_ns) => kernel.change_control(|control| control.wake_period_ns = period_ns),
            None => Ok(()),
        }
    }

    fn cut(&mut self, _: &mut Reading<'_>, cut: &mut Cut) -> Result<()> {
        let sums = self.kernel_locks.as_ref().map(KernelLocks::sums).transpose()?;
        cut.kernel_locks = self.before.gained(sums.unwrap_or_default());
        Ok(())
    }
}
