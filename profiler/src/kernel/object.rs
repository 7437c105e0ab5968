//! Loads the object, attaches its programs and gives out its maps.

use std::{borrow::Cow, fs};

use anyhow::{Context as _, Result};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Array, Map, MapData, MapError},
    programs::{BtfTracePoint, PerfEvent},
    util,
};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use profiler_common::config::Control;

use super::{
    batch::MapReader,
    btf::Btf,
    iterate::{Passes, Seeder},
    plan::{Plan, Settings},
    program::{load_program, program, refused},
    syscalls,
};

/// Where the kernel publishes its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The kernel programs: compressed if they were prebuilt.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profiler-ebpf"));
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where they come from, and their hash.
pub const ORIGIN: &str = concat!(env!("PROFILER_OBJECT_ORIGIN"), ", sha256 ", env!("PROFILER_OBJECT_SHA256"));

/// Hooks of the ledger by program name, with that of switches.
const LEDGER: &[(&str, &str)] = &[
    ("sched_waking", "sched_waking"),
    ("task_newtask", "task_newtask"),
    ("sched_process_exec", "sched_process_exec"),
];

/// The loaded object, while programs are attached.
pub struct Object {
    pub(super) ebpf: Ebpf,
    /// As aya wants them, to attach to BTF tracepoints and iterators: 30 MB.
    types: AyaBtf,
    pub(super) control: Array<MapData, Control>,
    /// Held so that its memory is counted with that of the others.
    pub(super) classes: Array<MapData, u8>,
    switch_has_state: bool,
    /// By which whole maps are read.
    pub reader: MapReader,
}

impl Object {
    /// Loads the object, with what `add` adds to the plan, and stops its programs before any of them can run.
    ///
    /// # Errors
    /// The kernel lacks something or refuses something; says what.
    pub fn load(settings: &Settings, add: impl FnOnce(&Btf, &mut Plan)) -> Result<Self> {
        let bytes = fs::read(KERNEL_BTF).with_context(|| {
            format!(
                "cannot read the kernel's type information (BTF) from {KERNEL_BTF}\n  \
                 try: a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all current distributions ship"
            )
        })?;
        // Kept no longer than needed: the types take some 6 MB.
        let btf = Btf::parse(&bytes).with_context(|| format!("cannot use {KERNEL_BTF}"))?;
        let mut plan = Plan::new(settings, &btf)?;
        add(&btf, &mut plan);
        let reader = MapReader::new(&btf);
        drop(btf);
        let mut ebpf = load(&plan)?;
        let mut control: Array<_, Control> = take_map(&mut ebpf, "CONTROL")?.try_into()?;
        // Where only disks are followed, requests count from the moment at which the programs are attached.
        let stopped = u32::from(plan.config.block_io_only == 0);
        let stopped = Control { stopped, on_cpu_threshold: u32::MAX, ..Control::default() };
        control.set(0, stopped, 0)?;
        let mut classes: Array<_, u8> = take_map(&mut ebpf, "SYSCALL_CLASSES")?.try_into()?;
        for (number, class) in syscalls::classes() {
            classes.set(number, class, 0)?;
        }
        let types = AyaBtf::from_sys_fs().with_context(|| format!("cannot use {KERNEL_BTF}"))?;
        Ok(Self { ebpf, types, control, classes, switch_has_state: plan.switch_has_state, reader })
    }

    /// Attaches the ledger's hooks.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub fn attach_ledger(&mut self) -> Result<()> {
        let switch = if self.switch_has_state { "sched_switch" } else { "sched_switch_without_state" };
        self.tracepoint((switch, "sched_switch"))?;
        LEDGER.iter().try_for_each(|row| self.tracepoint(*row))
    }

    /// Loads what lists the threads.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn seeder(&mut self) -> Result<Seeder> {
        Seeder::new(&mut self.ebpf, &self.types)
    }

    /// Loads an iterator over tasks, and links it to each of these processes; without any, to all tasks.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn passes(&mut self, name: &'static str, only: &[u32]) -> Result<Passes> {
        Passes::new(&mut self.ebpf, &self.types, (name, only))
    }

    /// Loads and attaches one program: its name, and its hook.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn tracepoint(&mut self, (name, hook): (&str, &str)) -> Result<()> {
        let program: &mut BtfTracePoint = program(&mut self.ebpf, name)?;
        load_program(name, || program.load(hook, &self.types))?;
        program.attach().map_err(|error| refused(name, error))?;
        Ok(())
    }

    /// Loads a program for perf events. Its descriptor lives as long as the object.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn perf_program(&mut self, name: &str) -> Result<RawFd> {
        let program: &mut PerfEvent = program(&mut self.ebpf, name)?;
        load_program(name, || program.load())?;
        Ok(program.fd()?.as_fd().as_raw_fd())
    }

    /// Takes a map out of the object.
    ///
    /// # Errors
    /// There is none of that name and kind.
    pub fn map<M>(&mut self, name: &str) -> Result<M>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        Ok(take_map(&mut self.ebpf, name)?.try_into()?)
    }
}

fn load(plan: &Plan) -> Result<Ebpf> {
    let cpus = util::nr_cpus().map_err(|(path, error)| anyhow::anyhow!("cannot read {path}: {error}"))?;
    let mut loader = EbpfLoader::new();
    loader
        // The object has no relocations against the kernel's types, so the loader needs none of them.
        .btf(None)
        // What the verifier objects to and its statistics, without the path of megabytes that led there: a program that is
        // refused is loaded again for its log, and as often as the log turns out too large for what it is given.
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("CONFIG", &plan.config, true)
        .override_global("OFFSETS", &plan.offsets, true)
        .map_max_entries("CPU_SCRATCH", cpus as u32);
    for &(map, entries) in plan.capacities() {
        loader.map_max_entries(map, entries);
    }
    loader.load(&unpacked()?).map_err(|error| not_loaded(error, plan.maps_charged_to_cgroups))
}

/// The object as an ELF file. It is part of this program, so nothing bounds its size.
fn unpacked() -> Result<Cow<'static, [u8]>> {
    Ok(if OBJECT.starts_with(&ZSTD_MAGIC) {
        Cow::Owned(zstd::decode_all(OBJECT).context("the kernel programs in this program are damaged")?)
    } else {
        Cow::Borrowed(OBJECT)
    })
}

/// CPUs that are online.
///
/// # Errors
/// The kernel's list of them cannot be read.
pub fn online_cpus() -> Result<Vec<u32>> {
    util::online_cpus().map_err(|(path, error)| anyhow::anyhow!("cannot read {path}: {error}"))
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the kernel programs have no map `{name}`"))
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

/// A refusal for one sentence of a report: of the verifier's log, which has hundreds of lines, only its verdict. That is the
/// last line before its statistics.
pub fn brief(refusal: &str) -> String {
    let Some((head, log)) = refusal.split_once("Verifier output:") else { return refusal.to_owned() };
    let statistics = ["verification time", "stack depth", "processed", "subprog ", ":"];
    let is_verdict = |line: &&str| !line.is_empty() && !statistics.iter().any(|word| line.starts_with(word));
    let verdict = log.lines().map(str::trim).rfind(is_verdict).unwrap_or("no reason was given");
    format!("{} The verifier: {verdict}", head.trim())
}

/// An error as one line, without the verifier's log and without hints: the doctor has its own.
pub fn error_line(error: &anyhow::Error) -> String {
    let brief = brief(&format!("{error:#}"));
    let told = brief.lines().map(str::trim).filter(|line| !line.is_empty());
    let (first, rest): (Vec<_>, Vec<_>) = told.partition(|line| !line.starts_with("try:"));
    // The kernel's words stand behind the hint, on its last line.
    let source =
        rest.iter().filter_map(|line| line.split_once(": ")?.1.split_once(": ")).map(|(_, tail)| tail);
    first.into_iter().chain(source).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};

    use super::{brief, error_line, unpacked};

    /// In a program with a function of its own (the compiler calls `memset` where zeroes are written), the verifier of Linux 5.10
    /// takes each number for one that matters, and goes through what follows a search once for each of its ways out: 16 s for
    /// `block_rq_issue` on an emulated CPU, instead of 0.13.
    #[test]
    fn programs_that_search_call_no_function() {
        let bytes = unpacked().expect("the object");
        let file = object::File::parse(bytes.as_ref()).expect("an ELF file");
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

    #[track_caller]
    fn check(error: &str, expected: &str) {
        assert_eq!(error_line(&anyhow::anyhow!(error.to_owned())), expected);
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
