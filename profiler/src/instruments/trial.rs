//! Tries what a recording attaches, one hook after the other, and lets go of it: for `profiler doctor`.
//!
//! In: nothing. Out: for each probe that it works, or the kernel's words. Everything is attached stopped, without a target,
//! so nothing is recorded meanwhile. Decides nothing.

use anyhow::Context as _;
use profiler_common::{
    config::Config,
    sample::{DEFAULT_STACK_BYTES, MOST_STACK_BYTES},
};

use super::{Instruments, Probe, Wanted};
use crate::kernel::{HeldSignals, MapMemory, Object, Settings, StatsBurst, error_line};
use profiler_report::recording::InstrumentId;

/// A probe works, or why not in one line.
pub type Tried<T = ()> = Result<T, String>;

/// What became of each probe. Where the programs cannot even be loaded, there is nothing to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The object: its maps are made and its constants set.
    pub load: Tried,
    pub attached: Option<Attached>,
    /// The kernel measures the programs.
    pub run_time: bool,
}

/// What became of each hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The ledger's tracepoints.
    pub scheduler: Tried,
    /// The task iterator that lists the threads, run once.
    pub seeder: Tried,
    /// What each instrument attaches.
    pub instruments: Vec<Attempt>,
    /// Kernel memory of all that, in bytes.
    pub kernel_bytes: u64,
}

/// An instrument was attached, by what source if there are several; or it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: InstrumentId,
    pub probe: &'static Probe,
    pub tried: Tried<Option<&'static str>>,
}

impl Attached {
    /// What became of an instrument.
    pub fn of(&self, id: InstrumentId) -> Option<&Attempt> {
        self.instruments.iter().find(|attempt| attempt.id == id)
    }
}

/// Loads, attaches and lets go of each probe.
pub fn try_probes(sample_hz: u32) -> Trial {
    // Where they cannot be held back, a probe that a signal disturbs is tried again by the loader.
    let _held = HeldSignals::all();
    let wanted = Wanted { threads: true, sample_hz, block_io: true, locks: Some(1), ..Wanted::default() };
    let mut instruments = Instruments::new(wanted);
    let (load, attached) = match instruments.load(&settings()) {
        Ok(object) => (Ok(()), Some(attach_each(object, &mut instruments))),
        Err(error) => (Err(error_line(&error)), None),
    };
    Trial { load, attached, run_time: StatsBurst::begin().is_some() }
}

fn settings() -> Settings {
    let config = Config {
        stack_bytes: DEFAULT_STACK_BYTES,
        off_cpu_stack_bytes: MOST_STACK_BYTES,
        captures_per_pass: 1,
        locks: 1,
        ..Config::default()
    };
    Settings { config, thread_capacity: 4096, ring_bytes: 1 << 20 }
}

fn attach_each(mut object: Object, instruments: &mut Instruments) -> Attached {
    let scheduler = object.attach_ledger().map_err(|error| error_line(&error));
    let seeder = object
        .seeder()
        .and_then(|seeder| seeder.run().context("the kernel does not run the task iterator"))
        .map_err(|error| error_line(&error));
    let attempts = instruments.list().into_iter().filter_map(|instrument| {
        let about = instrument.about();
        let probe = about.probe.as_ref()?;
        let attached = instrument.attach(&mut object).map_err(|error| error_line(&error));
        Some(Attempt { id: about.id, probe, tried: attached.map(|()| instrument.source()) })
    });
    let attempts = attempts.collect();
    let kernel_bytes = MapMemory::read().map_or(0, |memory| memory.bytes);
    Attached { scheduler, seeder, instruments: attempts, kernel_bytes }
}
