//! Stacks of threads that run: an interrupt on each CPU, some 99 times a second.

mod events;
mod online;

use std::collections::BTreeSet;

use anyhow::Result;

use super::{About, Instrument, Probe};
use crate::kernel::{Kernel, Object};
use events::Events;
use online::Online;
use profiler_report::recording::{Detail, InstrumentId, Skip};

/// What it is.
pub const ABOUT: About = About {
    id: InstrumentId::OnCpu,
    flag: None,
    probe: Some(Probe {
        name: "on-CPU sampler",
        works: "attached to every CPU at 99 Hz",
        lost: None,
        since: (5, 10),
        fixes: &[],
    }),
};

/// The instrument.
pub struct OnCpu {
    /// None where it is not wanted.
    sample_hz: Option<u32>,
    only_cpus: Option<BTreeSet<u32>>,
    events: Option<Events>,
    online: Online,
}

impl OnCpu {
    /// Not attached yet. With `only_cpus` it begins on these.
    pub fn new(sample_hz: Option<u32>, only_cpus: Option<BTreeSet<u32>>) -> Self {
        Self { sample_hz, only_cpus, events: None, online: Online::now() }
    }

    /// Samples also on CPUs on which recorded threads were not allowed to run, and have run since.
    ///
    /// # Errors
    /// The kernel refuses to read the map or the change of a perf event.
    pub fn follow(&mut self, kernel: &Kernel) -> Result<()> {
        match self.events.as_mut().filter(|events| !events.is_everywhere()) {
            Some(events) => events.follow(kernel.left_by_cpu()?),
            None => Ok(()),
        }
    }

    /// What is missing because CPUs came online during the recording.
    pub fn missed_cpus(&self) -> Option<Skip> {
        self.online.skip()
    }
}

impl Instrument for OnCpu {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn attach(&mut self, object: &mut Object) -> Result<()> {
        let Some(hz) = self.sample_hz else { return Ok(()) };
        self.events = Some(Events::attach(object, hz, self.only_cpus.as_ref())?);
        Ok(())
    }

    fn is_needed(&self) -> bool {
        true
    }

    fn source(&self) -> Option<&'static str> {
        self.events.as_ref().map(Events::source)
    }

    fn blind_spots(&self) -> Vec<Skip> {
        self.events.as_ref().and_then(Events::blind_spot).into_iter().collect()
    }

    fn begin(&mut self, kernel: &mut Kernel) -> Result<()> {
        if let Some(events) = &mut self.events {
            events.begin(kernel.left_by_cpu()?);
        }
        Ok(())
    }

    fn each_second(&mut self, _: &mut Kernel, _: &[u32]) -> Result<()> {
        self.online.look();
        Ok(())
    }

    /// Takes one sample of so many, at random; or none, and then there are no interrupts either.
    fn set_detail(&mut self, kernel: &mut Kernel, detail: Detail) -> Result<()> {
        let one_of = detail.has_stacks().then(|| detail.on_cpu_thinning());
        let threshold = one_of.map_or(0, |one_of| u32::MAX / one_of.max(1));
        kernel.change_control(|control| control.on_cpu_threshold = threshold)?;
        self.events.as_mut().map_or(Ok(()), |events| events.pause(one_of.is_none()))
    }
}
