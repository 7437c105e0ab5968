//! Executable mappings and execs of all processes, reported by the kernel at the moment at which they happen.
//!
//! A perf event without a counter on each CPU, whose ring the kernel fills (`PERF_RECORD_MMAP2` and, at an exec,
//! `PERF_RECORD_COMM`). There is no tracepoint for this. In: nothing. Out: [`LayoutChange`]s; what the kernel had no room
//! for is counted.

use std::borrow::Cow;
use std::io;

use anyhow::{Context as _, Result};
use perf_event::data::Record as Parsed;
use perf_event::events::Software;
use perf_event::{Builder, Clock, Record, SampleFlag, Sampler};
use profiler_common::sample::PAGE_BYTES;

use super::{About, Instrument, Probe};
use crate::{
    kernel::{Object, online_cpus},
    process::{LayoutChange, MapsLine, What},
};
use profiler_report::recording::InstrumentId;

/// Room for records on each CPU. One takes some 150 bytes, an exec of a program with ten libraries 2 KiB: this holds 30
/// of them on a CPU between two ticks.
const RING_BYTES: usize = 64 * 1024;
/// Kind of a record that counts lost ones (include/uapi/linux/perf_event.h).
const PERF_RECORD_LOST: u32 = 2;
/// Bit of a `PERF_RECORD_COMM` that an exec has caused.
const MISC_COMM_EXEC: u16 = 1 << 13;

/// What it is.
pub const ABOUT: About = About {
    id: InstrumentId::Mappings,
    flag: None,
    probe: Some(Probe {
        name: "mapping events",
        works: "attached: mappings and execs",
        lost: Some("names in very short-lived processes"),
        since: (5, 10),
        // Its rings are locked memory too, of which each user has so much a CPU.
        fixes: &[("os error 1)", "sudo sysctl kernel.perf_event_mlock_kb=516")],
    }),
};

/// The instrument.
pub struct Mappings {
    is_wanted: bool,
    events: Option<MappingEvents>,
}

impl Mappings {
    /// Not attached yet.
    pub fn new(is_wanted: bool) -> Self {
        Self { is_wanted, events: None }
    }

    /// Hands over the rings, if there are any.
    pub fn take(&mut self) -> Option<MappingEvents> {
        self.events.take()
    }
}

impl Instrument for Mappings {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn attach(&mut self, _: &mut Object) -> Result<()> {
        if self.is_wanted {
            self.events = Some(MappingEvents::attach()?);
        }
        Ok(())
    }
}

/// The rings of all CPUs.
pub struct MappingEvents {
    rings: Vec<Sampler>,
}

impl MappingEvents {
    /// Begins. Of processes that are there already, nothing is reported but what they map from now on.
    ///
    /// # Errors
    /// The kernel refuses the event.
    pub fn attach() -> Result<Self> {
        let cpus = online_cpus()?;
        let ring =
            |cpu: u32| ring_of(cpu as usize).with_context(|| format!("cannot follow mappings on CPU {cpu}"));
        Ok(Self { rings: cpus.into_iter().map(ring).collect::<Result<_>>()? })
    }

    /// Kernel memory of the rings, each with a page of its own for its positions.
    pub fn bytes(&self) -> u64 {
        (self.rings.len() * (RING_BYTES + PAGE_BYTES)) as u64
    }

    /// Hands over what has been reported since the last call of the processes that are of interest, each
    /// CPU's changes in their order. A loss is of interest always.
    pub fn drain(&mut self, of_interest: impl Fn(u32) -> bool, mut take: impl FnMut(LayoutChange)) {
        for ring in &mut self.rings {
            while let Some(record) = ring.next_record() {
                if let Some(change) = change(&record, &of_interest) {
                    take(change);
                }
            }
        }
    }
}

fn ring_of(cpu: usize) -> io::Result<Sampler> {
    let mut builder = Builder::new(Software::DUMMY);
    builder.any_pid().one_cpu(cpu);
    // The event itself counts nothing. Neither user nor kernel mode must be left out, or it is not reported.
    builder.exclude_kernel(false).exclude_hv(false);
    builder.mmap(true).mmap2(true).comm(true).comm_exec(true);
    builder.sample_id_all(true).sample(SampleFlag::TIME).clockid(Clock::MONOTONIC);
    let counter = builder.build()?;
    let mut ring = counter.sampled(RING_BYTES)?;
    ring.as_counter_mut().enable()?;
    Ok(ring)
}

/// What one record says of an address space; nothing for a new name without an exec.
fn change(record: &Record<'_>, of_interest: &impl Fn(u32) -> bool) -> Option<LayoutChange> {
    let bytes = record.to_contiguous();
    // The first field of both kinds. Most records are of strangers: a machine that builds has thousands a second.
    let tgid = u32::from_ne_bytes(*bytes.first_chunk()?);
    if record.ty() != PERF_RECORD_LOST && !of_interest(tgid) {
        return None;
    }
    // The last field of each record, by `sample_id_all`: the one field of `sample`.
    let at_ns = u64::from_ne_bytes(*bytes.last_chunk()?);
    let is_exec = record.misc() & MISC_COMM_EXEC != 0;
    let what = match record.parse_record().ok()? {
        Parsed::Comm(_) if is_exec => What::Exec,
        Parsed::Mmap2(map) => {
            let line = MapsLine {
                start: map.addr,
                end: map.addr.saturating_add(map.len),
                executable: map.prot & libc::PROT_EXEC as u32 != 0,
                offset: map.pgoff,
                device: (map.maj()?, map.min()?),
                inode: map.ino()?,
                generation: map.ino_generation()?,
                path: Cow::Borrowed(&map.filename),
                deleted: false,
            };
            What::Mapped(line.from_event())
        }
        Parsed::Lost(lost) => What::Lost(lost.lost),
        _ => return None,
    };
    Some(LayoutChange { tgid, at_ns, what })
}
