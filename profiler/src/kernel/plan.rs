//! What is to be loaded: the constants of the programs, and the capacities of their maps.

use anyhow::{Context as _, Result};
use profiler_common::{config::Config, offsets::Offsets};

use super::{btf::Btf, log, offsets};

/// What to load for any recording; instruments add to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Constants of the programs; what depends on the kernel is filled in.
    pub config: Config,
    /// Most threads with an account at one time.
    pub thread_capacity: u32,
    /// Size of the ring; a power of two.
    pub ring_bytes: u32,
}

/// What the object is loaded with.
pub struct Plan {
    pub config: Config,
    pub offsets: Offsets,
    /// Capacities of maps by name; the others have those of the kernel crate.
    capacities: Vec<(&'static str, u32)>,
    /// The hook of switches reports the state of the thread that leaves.
    pub switch_has_state: bool,
    /// The memory of maps is charged to a cgroup, and not to `RLIMIT_MEMLOCK`.
    pub maps_charged_to_cgroups: bool,
}

/// A kernel stack of x86_64 and aarch64 without KASAN (`THREAD_SIZE`), for kernels without `bpf_task_pt_regs`.
const KERNEL_STACK_BYTES: u32 = 16 * 1024;

impl Plan {
    /// What the ledger needs.
    ///
    /// # Errors
    /// The kernel lacks something; says what.
    pub fn new(settings: &Settings, btf: &Btf) -> Result<Self> {
        let switch_arguments = btf
            .tracepoint_arguments("sched_switch")
            .context("the kernel's type information (BTF) does not list the tracepoint `sched_switch`")?;
        let has = |enumerator| u32::from(btf.has_enumerator(enumerator));
        let config = Config {
            has_task_pt_regs: has("BPF_FUNC_task_pt_regs"),
            has_current_task_btf: has("BPF_FUNC_get_current_task_btf"),
            kernel_stack_bytes: KERNEL_STACK_BYTES,
            ..settings.config
        };
        let mut plan = Self {
            config,
            offsets: offsets::resolve(btf)?,
            capacities: vec![],
            // (preempt, prev, next), and since 5.18 prev_state behind them (9c2136be0878c88c53dea26943ce40bb03ad8d8d).
            switch_has_state: switch_arguments >= 4,
            maps_charged_to_cgroups: are_maps_charged_to_cgroups(btf),
        };
        plan.map("THREADS", settings.thread_capacity);
        plan.map("TARGETS", settings.thread_capacity);
        plan.map("OWN_TIDS", if config.locks == 0 { 1 } else { settings.thread_capacity });
        plan.map("EVENTS", settings.ring_bytes);
        plan.map("AYA_LOGS", if config.log == 0 { log::NO_RING_BYTES } else { log::RING_BYTES });
        Ok(plan)
    }

    /// A map is to have this capacity.
    pub fn map(&mut self, name: &'static str, entries: u32) {
        self.capacities.push((name, entries));
    }

    /// The capacities that were asked for.
    pub fn capacities(&self) -> &[(&'static str, u32)] {
        &self.capacities
    }
}

/// Whether the memory of maps is charged to a cgroup, and not to `RLIMIT_MEMLOCK` (Linux 5.11). The helper that is asked for
/// came with the same release; libbpf does so to the same end (`probe_memcg_account`).
pub fn are_maps_charged_to_cgroups(btf: &Btf) -> bool {
    btf.has_enumerator("BPF_FUNC_ktime_get_coarse_ns")
}
