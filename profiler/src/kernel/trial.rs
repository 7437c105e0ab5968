//! Tries what a recording attaches, one hook after the other, and lets go of it: for `profiler doctor`.
//!
//! In: nothing. Out: for each probe that it works, or the kernel's words. Everything is attached stopped, without a target,
//! so nothing is recorded meanwhile. Decides nothing.

use std::fs;

use anyhow::{Context as _, Result};
use aya::{Ebpf, maps::Array};
use profiler_common::{
    config::{Config, Control},
    sample::{DEFAULT_STACK_BYTES, MOST_STACK_BYTES},
};

use super::{
    Btf, MapMemory, MappingEvents, Settings, StatsBurst,
    attach::{self, Loaded},
    iterate::{Passes, Seeder},
    offsets,
    sampler::Sampler,
    signals,
};

/// A probe works, or why not in one line.
pub type Tried<T = ()> = Result<T, String>;

/// What became of each probe. Where the programs cannot even be loaded, there is nothing to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The object: its maps are made and its constants set.
    pub load: Tried,
    pub attached: Option<Attached>,
    /// The kernel reports mappings and execs.
    pub mappings: Tried,
    /// The kernel measures the programs.
    pub run_time: bool,
}

/// What became of each hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The ledger's tracepoints.
    pub scheduler: Tried,
    /// What drives the on-CPU sampler.
    pub on_cpu: Tried<&'static str>,
    /// The task iterator that lists the threads, run once.
    pub seeder: Tried,
    /// The iterator that takes stacks of waiting threads.
    pub off_cpu: Tried,
    /// The hooks of requests to block devices.
    pub block: Tried,
    /// Those of contention for locks of the kernel.
    pub contention: Tried,
    /// Kernel memory of all that, in bytes.
    pub kernel_bytes: u64,
}

/// Loads, attaches and lets go of each probe.
pub fn try_probes(sample_hz: u32) -> Trial {
    // Where they cannot be held back, a probe that a signal disturbs is tried again by the loader.
    let _held = signals::Held::all();
    let (load, attached) = match load(sample_hz) {
        Ok(loaded) => (Ok(()), Some(attach_each(loaded, sample_hz))),
        Err(error) => (Err(words(&error)), None),
    };
    let mappings = MappingEvents::attach().map(drop).map_err(|error| words(&error));
    Trial { load, attached, mappings, run_time: StatsBurst::begin().is_some() }
}

/// Loads the programs, and sets the stop before any of them can run.
fn load(sample_hz: u32) -> Result<Loaded> {
    let config = Config {
        stack_bytes: DEFAULT_STACK_BYTES,
        off_cpu_stack_bytes: MOST_STACK_BYTES,
        captures_per_pass: 1,
        locks: 1,
        ..Config::default()
    };
    let settings = Settings {
        config,
        sample_hz,
        thread_capacity: 4096,
        ring_bytes: 1 << 20,
        only_processes: vec![],
        only_cpus: None,
        block_io: true,
        block_io_shift: 0,
        too_small: None,
    };
    let mut loaded = attach::load(&settings)?;
    // Borrowed, not taken: the programs that are loaded later need its descriptor.
    let map = loaded.ebpf.map_mut("CONTROL").context("the kernel programs have no map `CONTROL`")?;
    let mut control: Array<_, Control> = map.try_into()?;
    control.set(0, Control { stopped: 1, ..Control::default() }, 0)?;
    Ok(loaded)
}

fn attach_each(loaded: Loaded, sample_hz: u32) -> Attached {
    let Loaded { mut ebpf, switch_has_state, requests, contention } = loaded;
    let types = attach::kernel_types().map_err(|error| words(&error));
    let mut with_types = |attach: &dyn Fn(&mut Ebpf, &aya::Btf) -> Result<()>| {
        attach(&mut ebpf, types.as_ref().map_err(Clone::clone)?).map_err(|error| words(&error))
    };
    let scheduler = with_types(&|ebpf, types| attach::tracepoints(ebpf, types, switch_has_state));
    let seeder = with_types(&|ebpf, types| {
        Seeder::new(ebpf, types)?.run().context("the kernel does not run the task iterator")
    });
    let off_cpu = with_types(&|ebpf, types| Passes::new(ebpf, types, &[]).map(drop));
    let block = with_types(&|ebpf, types| {
        let hooks = requests.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
        attach::requests(ebpf, types, hooks).map_err(|why| anyhow::anyhow!("{why}"))
    });
    let contention = with_types(&|ebpf, types| {
        let attached = contention.clone().and_then(|()| attach::contention(ebpf, types));
        attached.map_err(|why| anyhow::anyhow!("{why}"))
    });
    let on_cpu = Sampler::attach(&mut ebpf, sample_hz, None).map(|sampler| sampler.source());
    let on_cpu = on_cpu.map_err(|error| words(&error));
    let kernel_bytes = MapMemory::read().map_or(0, |memory| memory.bytes);
    Attached { scheduler, on_cpu, seeder, off_cpu, block, contention, kernel_bytes }
}

/// What the kernel's published types say; any user may read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types {
    /// Each field that the programs read is there.
    pub fields: Tried,
    /// Memory of maps is charged to a cgroup, not to `RLIMIT_MEMLOCK` (Linux 5.11).
    pub maps_charged_to_cgroups: bool,
}

/// Reads the kernel's types.
///
/// # Errors
/// There are none, or they cannot be understood; says which.
pub fn read_types() -> Tried<Types> {
    let bytes = fs::read(attach::KERNEL_BTF)
        .with_context(|| format!("cannot read {}", attach::KERNEL_BTF))
        .map_err(|error| words(&error))?;
    let btf = Btf::parse(&bytes).map_err(|error| words(&error.into()))?;
    Ok(Types {
        fields: offsets::resolve(&btf).map(drop).map_err(|error| words(&error)),
        maps_charged_to_cgroups: attach::are_maps_charged_to_cgroups(&btf),
    })
}

/// An error as one line, without the verifier's log and without hints: the doctor has its own.
fn words(error: &anyhow::Error) -> String {
    let brief = attach::brief(&format!("{error:#}"));
    let told = brief.lines().map(str::trim).filter(|line| !line.is_empty());
    let (first, rest): (Vec<_>, Vec<_>) = told.partition(|line| !line.starts_with("try:"));
    // The kernel's words stand behind the hint, on its last line.
    let source =
        rest.iter().filter_map(|line| line.split_once(": ")?.1.split_once(": ")).map(|(_, tail)| tail);
    first.into_iter().chain(source).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &str, expected: &str) {
        assert_eq!(words(&anyhow::anyhow!(error.to_owned())), expected);
    }

    #[test]
    fn the_kernels_words_stay_and_hints_go() {
        check(
            "cannot link `x`: not supported (os error 524)",
            "cannot link `x`: not supported (os error 524)",
        );
        check(
            "the kernel refuses the program `x`\n  try: run as root, or see `kernel.y`: BPF_PROG_LOAD failed: \
             Operation not permitted (os error 1)",
            "the kernel refuses the program `x`: BPF_PROG_LOAD failed: Operation not permitted (os error 1)",
        );
    }
}
