//! Stacks of threads that wait: passes over the recorded threads, at most one a tick.

mod pacing;

use std::time::Instant;

use anyhow::{Context as _, Result};
use profiler_common::config::Pass;

use super::{About, Instrument, Probe, Reading};
use crate::{
    collect::Cut,
    kernel::{Kernel, Object, Passes, Slots},
};
use pacing::{Pacing, Weight};
use profiler_report::recording::{Detail, InstrumentId};

pub use pacing::{AIM, MOST_CAPTURES, limited_is_cheaper};

/// What it is. `bpf_copy_from_user_task` and sleepable iterators came with 5.18. The ledger does without.
pub const ABOUT: About = About {
    id: InstrumentId::OffCpu,
    flag: None,
    probe: Some(Probe {
        name: "off-CPU sampler",
        works: "attached: stacks of waiting threads",
        lost: Some("stacks of waiting threads"),
        since: (5, 18),
        fixes: &[],
    }),
};

/// The instrument.
pub struct OffCpu {
    /// None where it is not wanted; else the processes that passes are limited to, all if there are none.
    only_processes: Option<Vec<u32>>,
    sample_hz: u32,
    attached: Option<Attached>,
    pacing: Pacing,
    /// The budget leaves room for stacks.
    may_take: bool,
}

struct Attached {
    passes: Passes,
    pass: Slots<Pass>,
}

impl OffCpu {
    /// Not attached yet.
    pub fn new(only_processes: Option<Vec<u32>>, sample_hz: u32) -> Self {
        Self { only_processes, sample_hz, attached: None, pacing: Pacing::new(), may_take: true }
    }

    /// So many ticks have passed, the last one at `tick_ns`: a pass, if one is due.
    ///
    /// # Errors
    /// The kernel refuses the pass.
    pub fn tick(&mut self, kernel: &Kernel, ticks: u32, tick_ns: u64) -> Result<()> {
        if self.pacing.is_due(ticks)
            && self.attached.is_some()
            && self.may_take
            && let Some(weight) = self.pacing.weight(kernel.left_cpu()?)
        {
            self.pass(weight, tick_ns)?;
        }
        Ok(())
    }

    /// In how many ticks it has to look again, `most` at the latest.
    pub fn ticks_to_sleep(&self, most: u32) -> u32 {
        self.pacing.ticks_to_sleep(most)
    }

    /// A pass that counts for what those that were left out would have counted for.
    ///
    /// # Errors
    /// The kernel refuses the pass.
    pub fn last_pass(&mut self, at_ns: u64) -> Result<()> {
        self.pacing.remainder().map_or(Ok(()), |weight| self.pass(weight, at_ns))
    }

    fn pass(&mut self, weight: Weight, tick_ns: u64) -> Result<()> {
        let Some(Attached { passes, pass: slot }) = &mut self.attached else { return Ok(()) };
        let began = Instant::now();
        let pass = Pass {
            tick_ns,
            threshold: self.pacing.threshold(),
            weight_new: weight.new,
            weight_again: weight.again,
            ..Pass::default()
        };
        slot.set(0, pass, 0)?;
        passes.run().context("cannot run the off-CPU sampler")?;
        let counts = slot.get(&0, 0)?.counts;
        self.pacing.passed(&counts, began.elapsed().as_nanos() as u64, self.sample_hz);
        Ok(())
    }
}

impl Instrument for OffCpu {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn attach(&mut self, object: &mut Object) -> Result<()> {
        let Some(only) = &self.only_processes else { return Ok(()) };
        let passes = object.passes("sample_off_cpu", only)?;
        self.attached = Some(Attached { passes, pass: object.map("PASS")? });
        Ok(())
    }

    fn set_detail(&mut self, _: &mut Kernel, detail: Detail) -> Result<()> {
        self.may_take = detail.has_stacks();
        self.pacing.set_least_ticks(detail.ticks_a_pass());
        Ok(())
    }

    fn cut(&mut self, reading: &mut Reading<'_>, cut: &mut Cut) -> Result<()> {
        cut.quality.offcpu_over_limit = self.pacing.over_limit();
        cut.quality.offcpu_passes = self.pacing.passes();
        cut.quality.offcpu_passes_missed = self.pacing.missed(reading.elapsed_ns, self.sample_hz);
        Ok(())
    }
}
