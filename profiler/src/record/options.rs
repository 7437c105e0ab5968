//! What a recording is asked to do, and the size and the constants of the kernel programs that follow from it.

use std::{
    collections::BTreeSet,
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::Result;

use profiler_common::{
    config::{Config, target as target_kind},
    sample::{DEFAULT_STACK_BYTES, MOST_STACK_BYTES},
};

use super::{
    checkpoint::Save,
    memory::{self, Demand},
    target::{self, Resolved, Target},
};
use crate::{
    confine::Needs,
    host,
    instruments::{Wanted, off_cpu},
    kernel::Settings,
};
use profiler_report::recording::{InstrumentId, Span};

/// What to record, for how long and how.
#[derive(Debug)]
pub struct Options {
    pub target: Target,
    /// Also the processes that the targets fork.
    pub children: bool,
    /// Until a signal, or the end of the target, without it.
    pub duration: Option<Duration>,
    pub sample_hz: u32,
    /// Most bytes of user stack that a sample takes. Without it 16 KiB, 64 KiB of a thread that waits, and as much of one
    /// whose stack was cut on the CPU.
    pub stack_bytes: Option<u32>,
    /// How much of the machine's CPU time the recording may cost. Beyond it, less is recorded.
    pub budget_ratio: f64,
    /// Most bytes that the kernel's side may have.
    pub kernel_bytes: u64,
    /// Those of the optional instruments that take part.
    pub on: BTreeSet<InstrumentId>,
    /// What is saved while the recording continues, in case that it does not come to its end.
    pub checkpoint: Option<Save>,
    /// What is still to be done after the recording.
    pub needs: Needs,
    /// What the kernel programs do is said on stderr, line by line.
    pub kernel_log: bool,
    /// Progress on stderr.
    pub progress: bool,
    /// When the program started.
    pub program_start: Instant,
    /// Windows of this length, each of which is shown. Without it their length follows from that of the recording.
    pub watch: Option<Watch>,
}

/// Shows a window, and tells whether the recording continues.
pub type Show = dyn FnMut(&Span) -> Result<ControlFlow<()>> + Send;

/// Whoever looks at a recording while it runs.
pub struct Watch {
    /// Length of a window.
    pub interval: Duration,
    /// After this many windows the recording ends; without it at a signal.
    pub count: Option<u32>,
    /// Is given each window; says whether the recording continues.
    pub show: Box<Show>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch(each {:?}, {:?})", self.interval, self.count)
    }
}

/// Whether no process can join the recorded ones.
pub fn is_fixed(options: &Options, target: &Resolved) -> bool {
    let may_grow = options.children || target.command().is_some() || target.follows_names();
    target.kind() == target_kind::LISTED && !may_grow
}

/// What is loaded for this target, and what is wanted of the instruments. An account takes about 740 bytes of kernel memory.
pub fn plan(options: &Options, target: &Resolved) -> (Settings, Wanted) {
    if target.is_disks() {
        return disks_alone();
    }
    let kind = target.kind();
    let is_command = target.command().is_some();
    let children = options.children || is_command || target.follows_names();
    let floor = if is_fixed(options, target) { 4096 } else { 8192 };
    let threads = (2 * target.threads_now()).max(floor).next_power_of_two();
    let (cgroup_id, cgroup_level) = target.cgroup().map_or((0, 0), |cgroup| (cgroup.id, cgroup.level));
    let stack_bytes = options.stack_bytes.unwrap_or(DEFAULT_STACK_BYTES);
    let config = Config {
        target: kind,
        children: u32::from(children),
        cgroup_id,
        cgroup_level,
        stack_bytes,
        off_cpu_stack_bytes: options.stack_bytes.unwrap_or(MOST_STACK_BYTES),
        tell_every_exec: u32::from(target.follows_names()),
        own_tgid: host::initial_tgid(),
        captures_per_pass: off_cpu::MOST_CAPTURES,
        locks: u32::from(options.on.contains(&InstrumentId::Locks)),
        log: u32::from(options.kernel_log),
        ..Config::default()
    };
    let demand = Demand {
        cpus: host::possible_cpus(),
        threads,
        sample_hz: options.sample_hz,
        stack_bytes,
        block_io: options.on.contains(&InstrumentId::BlockIo),
        most_bytes: options.kernel_bytes,
    };
    let sizes = memory::sizes(demand);
    let is_fixed = is_fixed(options, target);
    let processes = target.owners();
    let limited = is_fixed && off_cpu::limited_is_cheaper(processes.len(), target::threads_on_machine());
    let settings = Settings { config, thread_capacity: sizes.threads, ring_bytes: sizes.ring_bytes };
    let wanted = Wanted {
        threads: true,
        sample_hz: options.sample_hz,
        only_cpus: if is_fixed { target::allowed_cpus(processes) } else { None },
        only_processes: if limited { processes.to_vec() } else { vec![] },
        block_io: options.on.contains(&InstrumentId::BlockIo),
        block_io_shift: sizes.block_io_shift,
        locks: options.on.contains(&InstrumentId::Locks).then(|| target.threads_now()),
        too_small: memory::too_few(sizes, demand),
    };
    (settings, wanted)
}

/// No thread has an account, and nothing is sent: the maps for that have the least of sizes.
fn disks_alone() -> (Settings, Wanted) {
    let config = Config { block_io_only: 1, ..Config::default() };
    let settings = Settings { config, thread_capacity: 1, ring_bytes: 4096 };
    (settings, Wanted { block_io: true, ..Wanted::default() })
}
