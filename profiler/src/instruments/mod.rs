//! What a recording looks at beside the ledger: a room for each instrument, and one list of them.
//!
//! The loop, the doctor and the steps of the budget go through [`Instruments::list`], and name no instrument. A room has
//! what userspace knows of its instrument: how its programs are planned and attached, how often it looks, and what it
//! reads when a window ends. What its programs send through the ring is taken in by [`crate::collect`].

pub mod block_io;
pub mod counters;
mod difference;
pub mod locks;
pub mod machine;
pub mod mappings;
pub mod off_cpu;
pub mod on_cpu;
pub mod trial;
mod wait_times;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use crate::{
    collect::{Collector, Cut},
    kernel::{Btf, HeldSignals, Kernel, Object, Plan, Settings, brief},
};
use block_io::BlockIo;
use locks::Locks;
use machine::MachineReads;
use mappings::Mappings;
use off_cpu::OffCpu;
use on_cpu::OnCpu;
use profiler_report::recording::{Detail, Followed, InstrumentId, Skip, SkipCause};
use wait_times::WaitTimes;

/// What an instrument is, in words.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// Its one name: that of its room, of its flag and of its files.
    pub id: InstrumentId,
    /// What switches it off; none if nothing does.
    pub flag: Option<Flag>,
    /// What the doctor calls that which it attaches; none if it attaches nothing.
    pub probe: Option<Probe>,
}

/// An option of the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    pub long: &'static str,
    /// As it was called before.
    pub alias: Option<&'static str>,
    pub help: &'static str,
}

/// What an instrument attaches.
#[derive(Debug, PartialEq, Eq)]
pub struct Probe {
    pub name: &'static str,
    /// What is said of it where it works.
    pub works: &'static str,
    /// What a report lacks without it, for the doctor; none if nothing can be recorded without it.
    pub lost: Option<&'static str>,
    /// The first kernel that has it.
    pub since: (u32, u32),
    /// Commands that help, each with words of the refusal that it helps against.
    pub fixes: &'static [(&'static str, &'static str)],
}

/// What is common to all instruments. An instrument that nobody wants is in the list too: its maps have the least of sizes,
/// and it attaches and reads nothing.
pub trait Instrument: Send {
    fn about(&self) -> &'static About;

    /// Before anything is loaded: looks for what it needs in the kernel's types, and sets its constants and the capacities
    /// of its maps.
    fn plan(&mut self, _: &Btf, _: &mut Plan) {}

    /// Attaches.
    ///
    /// # Errors
    /// The kernel refuses it or lacks it. The recording goes on without it, unless it is needed.
    fn attach(&mut self, _: &mut Object) -> Result<()> {
        Ok(())
    }

    /// Nothing can be recorded without it.
    fn is_needed(&self) -> bool {
        false
    }

    /// By what it works, where there are several ways.
    fn source(&self) -> Option<&'static str> {
        None
    }

    /// What is missing in what it records, as is known once it is attached.
    fn blind_spots(&self) -> Vec<Skip> {
        vec![]
    }

    /// The recording is about to begin.
    ///
    /// # Errors
    /// The kernel refuses to change a map.
    fn prepare(&mut self, _: &mut Kernel) -> Result<()> {
        Ok(())
    }

    /// It has begun, and the accounts are open.
    ///
    /// # Errors
    /// The kernel refuses to read a map.
    fn begin(&mut self, _: &mut Kernel) -> Result<()> {
        Ok(())
    }

    /// Once a second: looks at how much arrives, and paces itself. `tgids` are some of the recorded processes.
    ///
    /// # Errors
    /// The kernel refuses to read or to change a map.
    fn each_second(&mut self, _: &mut Kernel, _tgids: &[u32]) -> Result<()> {
        Ok(())
    }

    /// The budget leaves room for this much detail from now on.
    ///
    /// # Errors
    /// The kernel refuses to change a map or an event.
    fn set_detail(&mut self, _: &mut Kernel, _: Detail) -> Result<()> {
        Ok(())
    }

    /// A window ends: adds what belongs to it.
    ///
    /// # Errors
    /// The kernel refuses to read a map.
    fn cut(&mut self, _: &mut Reading<'_>, _: &mut Cut) -> Result<()> {
        Ok(())
    }
}

/// What instruments read at the end of a window.
pub struct Reading<'a> {
    pub kernel: &'a Kernel,
    pub collector: &'a mut Collector,
    /// Since the recording began.
    pub elapsed_ns: u64,
    /// The recording is over.
    pub is_last: bool,
}

/// What is wanted of them.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Threads are followed; without it only disks.
    pub threads: bool,
    /// On-CPU samples a second.
    pub sample_hz: u32,
    /// CPUs on which the targets may run, if that is known of all of them.
    pub only_cpus: Option<BTreeSet<u32>>,
    /// If the targets are a fixed, small set of processes: their ids, so that passes look at nothing else.
    pub only_processes: Vec<u32>,
    /// Requests to block devices are followed.
    pub block_io: bool,
    /// The maps for that have their usual capacity divided by two to the power of this.
    pub block_io_shift: u32,
    /// Ends of waits and holders of locks are looked at, of as many threads at the start.
    pub locks: Option<u32>,
    /// What does not fit into the maps of this size.
    pub too_small: Option<Skip>,
}

/// All of them.
pub struct Instruments {
    pub on_cpu: OnCpu,
    pub off_cpu: OffCpu,
    pub block_io: BlockIo,
    pub locks: Locks,
    wait_times: WaitTimes,
    pub mappings: Mappings,
    pub machine: MachineReads,
    skipped: Vec<Skip>,
}

impl Instruments {
    /// Nothing attached yet.
    pub fn new(wanted: Wanted) -> Self {
        let Wanted { threads, sample_hz, block_io, .. } = wanted;
        Self {
            on_cpu: OnCpu::new(threads.then_some(sample_hz), wanted.only_cpus),
            off_cpu: OffCpu::new(threads.then_some(wanted.only_processes), sample_hz),
            block_io: BlockIo::new(block_io.then_some(wanted.block_io_shift), !threads),
            locks: Locks::new(wanted.locks),
            wait_times: WaitTimes::new(threads),
            mappings: Mappings::new(threads),
            machine: MachineReads::new(),
            skipped: wanted.too_small.into_iter().collect(),
        }
    }

    /// What each of them is.
    pub fn abouts() -> Vec<&'static About> {
        Self::new(Wanted::default()).list().into_iter().map(|instrument| instrument.about()).collect()
    }

    /// The one list.
    pub fn list(&mut self) -> [&mut dyn Instrument; 7] {
        [
            &mut self.on_cpu,
            &mut self.off_cpu,
            &mut self.block_io,
            &mut self.locks,
            &mut self.wait_times,
            &mut self.mappings,
            &mut self.machine,
        ]
    }

    /// Loads and attaches the ledger and the instruments; nothing is recorded until [`Kernel::start`].
    ///
    /// # Errors
    /// What could not be loaded or attached, with the kernel's words.
    pub fn attach(&mut self, settings: &Settings) -> Result<Kernel> {
        let _held = HeldSignals::all().context("cannot hold back signals")?;
        let mut object = self.load(settings)?;
        let has_ledger = settings.config.block_io_only == 0;
        let seeder = if has_ledger {
            object.attach_ledger()?;
            Some(object.seeder()?)
        } else {
            None
        };
        let mut skipped = vec![];
        for instrument in self.list() {
            match instrument.attach(&mut object) {
                Ok(()) => skipped.extend(instrument.blind_spots()),
                Err(error) if instrument.is_needed() => return Err(error),
                Err(error) => {
                    let words = brief(&format!("{error:#}"));
                    skipped.push(Skip::with_detail(instrument.about().id, SkipCause::Refused, words));
                }
            }
        }
        self.skipped.extend(skipped);
        Kernel::new(object, seeder, settings.config.log != 0)
    }

    /// Loads the object with what the instruments plan.
    fn load(&mut self, settings: &Settings) -> Result<Object> {
        Object::load(settings, |btf, plan| {
            self.list().into_iter().for_each(|instrument| instrument.plan(btf, plan));
        })
    }

    /// Begins: from here on everything records.
    ///
    /// # Errors
    /// The kernel refuses to read or to change a map, or the pass that opens the accounts.
    pub fn start(&mut self, kernel: &mut Kernel) -> Result<()> {
        self.list().into_iter().try_for_each(|instrument| instrument.prepare(kernel))?;
        kernel.start()?;
        self.list().into_iter().try_for_each(|instrument| instrument.begin(kernel))
    }

    /// Once a second.
    ///
    /// # Errors
    /// The kernel refuses to read or to change a map.
    pub fn each_second(&mut self, kernel: &mut Kernel, tgids: &[u32]) -> Result<()> {
        self.list().into_iter().try_for_each(|instrument| instrument.each_second(kernel, tgids))
    }

    /// The budget leaves room for this much detail from now on.
    ///
    /// # Errors
    /// The kernel refuses to change a map or an event.
    pub fn set_detail(&mut self, kernel: &mut Kernel, detail: Detail) -> Result<()> {
        // One switch for the programs of all that may rest.
        kernel.rest_optional(!detail.has_optional_probes())?;
        self.list().into_iter().try_for_each(|instrument| instrument.set_detail(kernel, detail))
    }

    /// A window ends.
    ///
    /// # Errors
    /// The kernel refuses to read a map.
    pub fn cut(&mut self, reading: &mut Reading<'_>, cut: &mut Cut) -> Result<()> {
        self.list().into_iter().try_for_each(|instrument| instrument.cut(reading, cut))
    }

    /// What was followed.
    pub fn followed(&self) -> Followed {
        Followed {
            block_io: self.block_io.is_followed(),
            locks: self.locks.is_wanted(),
            kernel_locks: self.locks.has_kernel_locks(),
        }
    }

    /// Something else is off or degraded.
    pub fn skip(&mut self, what: Skip) {
        self.skipped.push(what);
    }

    /// What is off or degraded by now.
    pub fn skipped(&self) -> Vec<Skip> {
        [self.skipped.as_slice(), self.on_cpu.missed_cpus().as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instrument_has_a_name_of_its_own() {
        let abouts = Instruments::abouts();
        let names: BTreeSet<&str> = abouts.iter().map(|about| about.id.name()).collect();
        assert_eq!(names.len(), abouts.len(), "{names:?}");
    }

    #[test]
    fn what_rests_first_can_be_switched_off_and_nothing_else() {
        let abouts = Instruments::abouts();
        let with_flag: Vec<_> =
            abouts.iter().filter(|about| about.flag.is_some()).map(|about| about.id).collect();
        assert_eq!(with_flag, InstrumentId::OPTIONAL);
    }
}
