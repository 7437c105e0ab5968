//! Loads the object and attaches each program: one row a hook.

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::MapError,
    programs::{BtfTracePoint, ProgramError},
    util::nr_cpus,
};
use profiler_common::{config::Config, offsets::Offsets, wait_times::GROUPS};

use super::{
    Settings,
    btf::Btf,
    locks, log, offsets,
    requests::{self, Hooks},
};

/// Where the kernel publishes its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The kernel programs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profiler-ebpf"));

/// A kernel stack of x86_64 and aarch64 without KASAN (`THREAD_SIZE`), for kernels without `bpf_task_pt_regs`.
const KERNEL_STACK_BYTES: u32 = 16 * 1024;

/// Hooks by program name.
const TRACEPOINTS: &[(&str, &str)] = &[
    ("sched_waking", "sched_waking"),
    ("task_newtask", "task_newtask"),
    ("sched_process_exec", "sched_process_exec"),
];

/// What the kernel's types say. Read once, and kept no longer than needed: the type information takes some 6 MB, and
/// aya's form of it 30 MB.
struct Facts {
    offsets: Offsets,
    switch_has_state: bool,
    has_task_pt_regs: bool,
    has_current_task_btf: bool,
    maps_charged_to_cgroups: bool,
    /// How requests to block devices are followed, or why they cannot be.
    requests: Result<Hooks, String>,
    /// Whether the kernel reports contention for its locks, or why not.
    contention: Result<(), String>,
}

/// Whether the memory of maps is charged to a cgroup, and not to `RLIMIT_MEMLOCK` (Linux 5.11). The helper that is asked for
/// came with the same release; libbpf does so to the same end (`probe_memcg_account`).
pub fn are_maps_charged_to_cgroups(btf: &Btf) -> bool {
    btf.has_enumerator("BPF_FUNC_ktime_get_coarse_ns")
}

fn facts() -> Result<Facts> {
    let bytes = std::fs::read(KERNEL_BTF).with_context(|| {
        format!(
            "cannot read the kernel's type information (BTF) from {KERNEL_BTF}\n  \
             try: a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all current distributions ship"
        )
    })?;
    let btf = Btf::parse(&bytes).with_context(|| format!("cannot use {KERNEL_BTF}"))?;
    let Some(switch_arguments) = btf.tracepoint_arguments("sched_switch") else {
        bail!("the kernel's type information (BTF) does not list the tracepoint `sched_switch`");
    };
    let mut offsets = offsets::resolve(&btf)?;
    Ok(Facts {
        requests: Hooks::choose(&btf, &mut offsets).map_err(|error| format!("{error:#}")),
        contention: locks::resolve(&btf, &mut offsets).map_err(|error| format!("{error:#}")),
        offsets,
        // (preempt, prev, next), and since 5.18 prev_state behind them (9c2136be0878c88c53dea26943ce40bb03ad8d8d).
        switch_has_state: switch_arguments >= 4,
        has_task_pt_regs: btf.has_enumerator("BPF_FUNC_task_pt_regs"),
        has_current_task_btf: btf.has_enumerator("BPF_FUNC_get_current_task_btf"),
        maps_charged_to_cgroups: are_maps_charged_to_cgroups(&btf),
    })
}

/// The object, and which of its programs fit the running kernel.
pub struct Loaded {
    pub ebpf: Ebpf,
    pub switch_has_state: bool,
    /// How requests to block devices are followed, or why they are not.
    pub requests: Result<Hooks, String>,
    /// Whether the kernel reports contention for its locks, or why not.
    pub contention: Result<(), String>,
}

/// Loads the object with the constants of this run.
pub fn load(settings: &Settings) -> Result<Loaded> {
    let facts = facts()?;
    let hooks = facts.requests.as_ref().ok().filter(|_| settings.block_io);
    let config = Config {
        has_task_pt_regs: u32::from(facts.has_task_pt_regs),
        has_current_task_btf: u32::from(facts.has_current_task_btf),
        kernel_stack_bytes: KERNEL_STACK_BYTES,
        block_io: u32::from(hooks.is_some()),
        has_io_start: u32::from(hooks.is_some_and(|hooks| hooks.has_io_start)),
        fua_flag: hooks.map_or(0, |hooks| hooks.fua_flag),
        preflush_flag: hooks.map_or(0, |hooks| hooks.preflush_flag),
        request_mask: hooks.map_or(0, |_| room(requests::SLOTS, settings) - 1),
        totals_mask: hooks.map_or(0, |_| room(requests::KINDS, settings) - 1),
        ..settings.config
    };
    let cpus = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("cannot read {path}: {error}"))?;
    let mut loader = EbpfLoader::new();
    loader
        // The object has no relocations against the kernel's types, so the loader needs none of them.
        .btf(None)
        // What the verifier objects to and its statistics, without the path of megabytes that led there: a program that is
        // refused is loaded again for its log, and as often as the log turns out too large for what it is given.
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("CONFIG", &config, true)
        .override_global("OFFSETS", &facts.offsets, true)
        .map_max_entries("THREADS", settings.thread_capacity)
        .map_max_entries("TARGETS", settings.thread_capacity)
        .map_max_entries("OWN_TIDS", if settings.config.locks == 0 { 1 } else { settings.thread_capacity })
        .map_max_entries("EVENTS", settings.ring_bytes)
        .map_max_entries("CPU_SCRATCH", cpus as u32)
        .map_max_entries("AYA_LOGS", if config.log == 0 { log::NO_RING_BYTES } else { log::RING_BYTES })
        .map_max_entries("WAIT_TIMES", if config.block_io_only == 0 { GROUPS.len() as u32 } else { 1 });
    for &(map, entries) in requests::MAPS {
        loader.map_max_entries(map, if hooks.is_some() { room(entries, settings) } else { 1 });
    }
    let has_kernel_locks = settings.config.locks != 0 && facts.contention.is_ok();
    for &(map, entries) in locks::MAPS.iter().filter(|_| !has_kernel_locks) {
        loader.map_max_entries(map, entries.min(1));
    }
    let ebpf = loader.load(OBJECT).map_err(|error| not_loaded(error, facts.maps_charged_to_cgroups))?;
    let Facts { switch_has_state, requests, contention, .. } = facts;
    Ok(Loaded { ebpf, switch_has_state, requests, contention })
}

/// Room that a map of requests has, of at most this much: powers of two stay such.
fn room(entries: u32, settings: &Settings) -> u32 {
    (entries >> settings.block_io_shift).max(32)
}

fn not_loaded(error: EbpfError, maps_charged_to_cgroups: bool) -> anyhow::Error {
    let is_limit = matches!(&error, EbpfError::MapError(MapError::CreateError { io_error, .. })
        if io_error.kind() == std::io::ErrorKind::PermissionDenied);
    let hint = if is_limit && !maps_charged_to_cgroups {
        "\n  try: run `ulimit -l unlimited` first, or add cap_sys_resource (before Linux 5.11 maps count as locked memory)"
    } else {
        ""
    };
    anyhow::Error::new(error).context(format!("cannot load the kernel programs{hint}"))
}

/// The kernel's types as aya wants them, to attach to BTF tracepoints and iterators.
pub fn kernel_types() -> Result<AyaBtf> {
    AyaBtf::from_sys_fs().with_context(|| format!("cannot use {KERNEL_BTF}"))
}

/// Attaches the ledger's hooks.
pub fn tracepoints(ebpf: &mut Ebpf, types: &AyaBtf, switch_has_state: bool) -> Result<()> {
    let switch = if switch_has_state { "sched_switch" } else { "sched_switch_without_state" };
    [(switch, "sched_switch")].iter().chain(TRACEPOINTS).try_for_each(|row| tracepoint(ebpf, types, *row))
}

/// Loads and attaches one program: its name, and its hook.
pub fn tracepoint(ebpf: &mut Ebpf, types: &AyaBtf, (name, hook): (&str, &str)) -> Result<()> {
    let program: &mut BtfTracePoint = super::program(ebpf, name)?;
    load_program(name, || program.load(hook, types))?;
    program.attach().map_err(|error| refused(name, error))?;
    Ok(())
}

/// Attaches the hooks of requests to block devices, or says in one line why it cannot.
pub fn requests(ebpf: &mut Ebpf, types: &AyaBtf, hooks: &Hooks) -> Result<(), String> {
    hooks.attach(ebpf, types).map_err(|error| brief(&format!("{error:#}")))
}

/// Attaches the hooks of contention for the kernel's locks, or says in one line why it cannot.
pub fn contention(ebpf: &mut Ebpf, types: &AyaBtf) -> Result<(), String> {
    locks::attach(ebpf, types).map_err(|error| brief(&format!("{error:#}")))
}

/// Most times that a program is loaded, as in libbpf (`PROG_LOAD_ATTEMPTS`): a signal that cannot be held back disturbs each.
const ATTEMPTS: u32 = 5;

/// Loads a program. Done again if the kernel was disturbed: it gives up the check (`EAGAIN`) when the thread is stopped, frozen
/// or traced.
pub fn load_program(name: &str, mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<()> {
    let mut attempt = 1;
    loop {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == std::io::ErrorKind::WouldBlock && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result.map_err(|error| refused(name, error)),
        }
    }
}

/// Whether a hypervisor says that it is there: bit 31 of ECX in CPUID leaf 1, which x86_64 reserves for that.
pub fn is_virtual_machine() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.lines().find(|line| line.starts_with("flags")).is_some_and(|flags| flags.contains(" hypervisor"))
}

/// A program that the kernel refuses, with the verifier's words if it was the verifier.
fn refused(name: &str, error: ProgramError) -> anyhow::Error {
    let hint = match &error {
        // With a log it was the verifier, which has the same error for what it refuses.
        ProgramError::LoadError { io_error, verifier_log }
            if io_error.kind() == std::io::ErrorKind::PermissionDenied
                && verifier_log.to_string().trim().is_empty() =>
        {
            "\n  try: run as root, or see `kernel.unprivileged_bpf_disabled` and the kernel's lockdown mode"
        }
        _ => "",
    };
    anyhow::Error::new(error).context(format!("the kernel refuses the program `{name}`{hint}"))
}

/// A refusal for one sentence of a report: of the verifier's log, which has hundreds of lines, only its verdict. That is the
/// last line before its statistics.
pub fn brief(refusal: &str) -> String {
    let Some((head, log)) = refusal.split_once("Verifier output:") else { return refusal.to_owned() };
    let statistics = ["verification time", "stack depth", "processed", "subprog ", ":"];
    let is_verdict = |line: &&str| !line.is_empty() && !statistics.iter().any(|word| line.starts_with(word));
    let verdict = log.lines().map(str::trim).rfind(is_verdict).unwrap_or("no reason was given");
    format!("{} The verifier: {verdict}", head.trim())
}

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};

    use super::{OBJECT, brief};

    /// In a program with a function of its own (the compiler calls `memset` where zeroes are written), the verifier of Linux 5.10
    /// takes each number for one that matters, and goes through what follows a search once for each of its ways out: 16 s for
    /// `block_rq_issue` on an emulated CPU, instead of 0.13.
    #[test]
    fn programs_that_search_call_no_function() {
        let file = object::File::parse(OBJECT).expect("an ELF file");
        let is_function = |target| match target {
            RelocationTarget::Symbol(symbol) => file.symbol_by_index(symbol).is_ok_and(|symbol| {
                let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
                section.is_some_and(|section| section.kind() == SectionKind::Text)
            }),
            _ => false,
        };
        let calls = |section: &object::Section<'_, '_>| {
            section.relocations().filter(|(_, relocation)| is_function(relocation.target())).count()
        };
        let mut searching = 0;
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let name = section.name().expect("a section has a name");
            if name.starts_with("tp_btf/block_") || name == "perf_event" {
                assert_eq!(calls(&section), 0, "{name}");
                searching += 1;
            }
        }
        assert_eq!(searching, 6);
        // That such a call is seen: this program has one.
        let waking = file.section_by_name("tp_btf/sched_waking").expect("a section");
        assert_eq!(calls(&waking), 1);
    }

    #[test]
    fn of_a_verifiers_log_its_verdict_remains() {
        let refusal = "refused: Permission denied (os error 13). Verifier output: 0: R1=ctx() R10=fp0\n\
                       538: (85) call bpf_copy_from_user_task#191\nR1 unbounded memory access\n\
                       verification time 1687 usec\nstack depth max 0\nsubprog 0 (seed) main insns_self 8\nprocessed 306 insns\n: Permission denied";
        let expected = "refused: Permission denied (os error 13). The verifier: R1 unbounded memory access";
        assert_eq!(brief(refusal), expected);
    }

    #[test]
    fn a_refusal_without_a_log_stays_whole() {
        assert_eq!(brief("not supported (os error 524)"), "not supported (os error 524)");
    }
}
