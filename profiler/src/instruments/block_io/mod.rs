//! Requests to block devices: what the kernel counts of each disk, and, where they are followed, their latencies, whose they
//! were, what waited for them, and from which stacks they were submitted.

mod cgroup_paths;
mod hooks;
mod pacing;
mod tables;

use anyhow::{Result, anyhow, bail};
use profiler_common::stat::Stat;

use super::{About, Flag, Instrument, Probe, Reading};
use crate::{
    collect::Cut,
    kernel::{Btf, Kernel, Object, Plan, brief, error_line},
};
use hooks::{Hooks, Requests};
use pacing::SubmitPacing;
use profiler_report::recording::{Disk, InstrumentId};
use tables::Disks;

/// What it is.
pub const ABOUT: About = About {
    id: InstrumentId::BlockIo,
    flag: Some(Flag {
        long: "block-io",
        alias: Some("io"),
        help: "Follow disk requests, and show what ended waits for disks and files",
    }),
    probe: Some(Probe {
        name: "block events",
        works: "attached: disk requests from arrival to completion",
        lost: Some("disk requests, and what ended waits for them"),
        since: (5, 10),
        fixes: &[],
    }),
};

/// The instrument.
pub struct BlockIo {
    /// The maps have their usual capacity divided by two to the power of this. None where requests are not followed.
    shift: Option<u32>,
    /// Nothing else is recorded.
    is_alone: bool,
    hooks: Result<Hooks, String>,
    requests: Option<Requests>,
    pacing: SubmitPacing,
    /// None until the rest is attached.
    disks: Option<Disks>,
}

impl BlockIo {
    /// Not attached yet.
    pub fn new(shift: Option<u32>, is_alone: bool) -> Self {
        Self {
            shift,
            is_alone,
            hooks: Err("the kernel's types were not read".to_owned()),
            requests: None,
            pacing: SubmitPacing::new(),
            disks: None,
        }
    }

    /// Whether requests are followed.
    pub fn is_followed(&self) -> bool {
        self.requests.is_some()
    }

    /// The disks that rows of windows refer to.
    pub fn table(&self) -> Vec<Disk> {
        self.disks.as_ref().map_or_else(Vec::new, Disks::table)
    }
}

impl Instrument for BlockIo {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn plan(&mut self, btf: &Btf, plan: &mut Plan) {
        self.hooks = Hooks::choose(btf, &mut plan.offsets).map_err(|error| error_line(&error));
        let shift = self.shift.filter(|_| self.hooks.is_ok());
        for &(map, entries) in hooks::MAPS {
            plan.map(map, shift.map_or(1, |shift| hooks::room(entries, shift)));
        }
        if let (Ok(hooks), Some(shift)) = (&self.hooks, shift) {
            plan.config.block_io = 1;
            plan.config.has_io_start = u32::from(hooks.has_io_start);
            plan.config.fua_flag = hooks.fua_flag;
            plan.config.preflush_flag = hooks.preflush_flag;
            plan.config.request_mask = hooks::room(hooks::SLOTS, shift) - 1;
            plan.config.totals_mask = hooks::room(hooks::KINDS, shift) - 1;
        }
    }

    fn attach(&mut self, object: &mut Object) -> Result<()> {
        self.disks = Some(Disks::now(self.is_alone));
        if self.shift.is_none() {
            return Ok(());
        }
        let attached = match &self.hooks {
            Ok(hooks) => hooks.attach(object),
            Err(why) => Err(anyhow!("{why}")),
        };
        match attached {
            Err(error) if self.is_alone => {
                bail!("cannot follow requests to block devices: {}", brief(&format!("{error:#}")))
            }
            attached => attached?,
        }
        self.requests = Some(Requests::new(object)?);
        Ok(())
    }

    fn is_needed(&self) -> bool {
        self.is_alone
    }

    fn prepare(&mut self, kernel: &mut Kernel) -> Result<()> {
        if self.shift.is_none() {
            return Ok(());
        }
        kernel.change_control(|control| control.submit_threshold = self.pacing.threshold())
    }

    /// Stacks that submit requests are taken as often as the pacing says.
    fn each_second(&mut self, kernel: &mut Kernel, _: &[u32]) -> Result<()> {
        if self.shift.is_none() {
            return Ok(());
        }
        // Those that were chosen, whether they were taken or not.
        let chosen = kernel.counted(&[Stat::Submits, Stat::SubmitsDropped, Stat::SubmitsOverLimit])?;
        match self.pacing.observe(chosen) {
            Some(threshold) => kernel.change_control(|control| control.submit_threshold = threshold),
            None => Ok(()),
        }
    }

    fn cut(&mut self, reading: &mut Reading<'_>, cut: &mut Cut) -> Result<()> {
        let Some(disks) = &mut self.disks else { return Ok(()) };
        let emptying = disks.emptying;
        let sums = self.requests.as_mut().map(|requests| requests.sums(emptying)).transpose()?;
        let submits = reading.collector.take_submits();
        let path = |inode, device| reading.collector.file_path(inode, device);
        cut.block_io = disks.cut(sums, &submits, path);
        let counts = &mut cut.quality.kernel_counts;
        if let Some((_, count)) = counts.iter_mut().find(|(name, _)| name == Stat::RequestSharesFull.name()) {
            *count = count.saturating_add(disks.unshared);
        }
        Ok(())
    }
}
