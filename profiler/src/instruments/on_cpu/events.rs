//! The perf events that drive the on-CPU sampler: one on each CPU, on where the targets may run.
//!
//! All are opened at the start, since that takes privileges that are given up; those of CPUs on which no target may run are off,
//! and cost nothing. A target that is seen there after all turns its CPU's event on. Why not one event on each thread, which
//! would spare more CPUs: docs/decisions/0012-sampler-on-the-targets-cpus.md.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use perf_event::{
    Builder, Counter,
    events::{Hardware, Software},
};

use crate::{
    host::is_virtual_machine,
    kernel::{Object, online_cpus},
};
use profiler_report::recording::{InstrumentId, Skip, SkipCause};

/// What the kernel's program of the sampler is called.
const PROGRAM: &str = "on_cpu_tick";

/// What drives the sampler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Cycles,
    CpuClock,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Cycles => "cycles",
            Self::CpuClock => "cpu-clock",
        }
    }

    /// An event on a CPU, off, with its program.
    fn open(self, hz: u32, cpu: u32, program: i32) -> std::io::Result<Counter> {
        let mut builder = match self {
            Self::Cycles => Builder::new(Hardware::CPU_CYCLES),
            Self::CpuClock => Builder::new(Software::CPU_CLOCK),
        };
        builder.any_pid().one_cpu(cpu as usize).exclude_kernel(false).exclude_hv(false);
        let mut event = builder.sample_frequency(u64::from(hz)).build()?;
        event.set_bpf(program)?;
        Ok(event)
    }
}

/// The attached events.
pub struct Events {
    source: Source,
    events: Vec<CpuEvent>,
    is_paused: bool,
}

struct CpuEvent {
    cpu: u32,
    counter: Counter,
    /// Targets may run here.
    wanted: bool,
    /// So often had targets left it when the accounts were open, which counts on the CPU that opens them.
    left_at_start: u64,
}

impl Events {
    /// Attaches the program, which begins at once on the CPUs that are named; without names on all.
    ///
    /// Hardware cycles are the source if there are any, else the CPU's clock. Never cycles in a virtual machine. There each access
    /// to a counter may leave to the hypervisor, so that the counter's interrupts (which begin at a period of one cycle) can
    /// come faster than they are handled. Seen on a 6.18 guest on AMD: interrupts of 36 µs, and one CPU waiting up to
    /// 94 s for the other to answer ("soft lockup"); never since without cycles. That the one caused the other is inferred
    /// (docs/decisions/0006-no-cycles-in-virtual-machines.md).
    ///
    /// # Errors
    /// The kernel refuses the program or an event.
    pub fn attach(object: &mut Object, hz: u32, named: Option<&BTreeSet<u32>>) -> Result<Self> {
        let program = object.perf_program(PROGRAM)?;
        let cpus = online_cpus()?;
        let mut source = if is_virtual_machine() { Source::CpuClock } else { Source::Cycles };
        let mut events = vec![];
        for cpu in cpus {
            let mut opened = source.open(hz, cpu, program);
            if opened.is_err() && source == Source::Cycles {
                source = Source::CpuClock;
                opened = source.open(hz, cpu, program);
            }
            let counter = opened.map_err(|error| refused_event(error, cpu))?;
            let wanted = named.is_none_or(|named| named.contains(&cpu));
            events.push(CpuEvent { cpu, counter, wanted, left_at_start: 0 });
        }
        let mut sampler = Self { source, events, is_paused: true };
        sampler.pause(false)?;
        Ok(sampler)
    }

    /// What drives it.
    pub fn source(&self) -> &'static str {
        self.source.name()
    }

    /// What its source cannot see.
    pub fn blind_spot(&self) -> Option<Skip> {
        let cause = match self.source {
            Source::Cycles => return None,
            Source::CpuClock if is_virtual_machine() => SkipCause::CyclesUnsafe,
            Source::CpuClock => SkipCause::NoCycles,
        };
        Some(Skip::new(InstrumentId::OnCpu, cause))
    }

    /// Stops the interrupts, or lets them go on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pause(&mut self, is_paused: bool) -> Result<()> {
        if self.is_paused != is_paused {
            for event in self.events.iter_mut().filter(|event| event.wanted) {
                switch(&mut event.counter, !is_paused)?;
            }
            self.is_paused = is_paused;
        }
        Ok(())
    }

    /// The recording begins; takes how often targets have left each CPU so far.
    pub fn begin(&mut self, left: impl Fn(u32) -> u64) {
        for event in &mut self.events {
            event.left_at_start = left(event.cpu);
        }
    }

    /// Whether all CPUs are sampled, so that there is nowhere to follow a target to.
    pub fn is_everywhere(&self) -> bool {
        self.events.iter().all(|event| event.wanted)
    }

    /// Takes in how often targets have left each CPU: where they have, they are sampled from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn follow(&mut self, left: impl Fn(u32) -> u64) -> Result<()> {
        for event in self.events.iter_mut().filter(|event| !event.wanted) {
            if left(event.cpu) > event.left_at_start {
                event.wanted = true;
                if !self.is_paused {
                    switch(&mut event.counter, true)?;
                }
            }
        }
        Ok(())
    }
}

fn refused_event(error: std::io::Error, cpu: u32) -> anyhow::Error {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let is_above = paranoid.trim().parse::<i32>().is_ok_and(|value| value > 2);
    let hint = if error.kind() == std::io::ErrorKind::PermissionDenied && is_above {
        "\n  try: sudo sysctl kernel.perf_event_paranoid=2 (above that, Debian's kernels need cap_sys_admin)"
    } else {
        ""
    };
    anyhow::Error::new(error).context(format!("the kernel refuses the on-CPU sampler on CPU {cpu}{hint}"))
}

fn switch(counter: &mut Counter, on: bool) -> Result<()> {
    let done = if on { counter.enable() } else { counter.disable() };
    done.context("cannot switch the on-CPU sampler's events")
}
