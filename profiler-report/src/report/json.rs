//! The report as JSON: docs/report-json.md explains the keys, docs/report-schema.json is the schema.
//!
//! Times are seconds. A ratio that has nothing to divide by is null.

mod values;
mod block_io;
mod locks;
mod verdict;
mod windows;
#[cfg(test)]
mod schema;

use std::collections::BTreeMap;
use std::io;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

use profiler_common::state::Group;

use self::block_io::BlockIoJson;
use self::locks::LocksJson;
use self::values::{Ratio, Seconds, StateJson, seconds};
use self::verdict::{MachineJson, VerdictJson};
use self::windows::{StretchJson, WindowJson, stretches, windows};
use super::Render;
use super::frame_text::is_unsafe;
use crate::analyze::{
    Account, CrossCheck, ProcessAccount, Quantiles, Report, StackEnds, StackTime, Stacks, StateTime,
    ThreadAccount, WaitRow,
};
use crate::recording::{Broken, Debuginfod, Detail, Part};

/// Raised when a key is removed or changes its meaning; a new key does not raise it.
const SCHEMA_VERSION: u32 = 1;

/// Writes the whole report as one JSON object.
pub struct Json;

impl Render for Json {
    fn render(&self, report: &Report<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let mut serializer = Serializer::with_formatter(&mut *out, Visible(PrettyFormatter::new()));
        Document::of(report).serialize(&mut serializer)?;
        writeln!(out)
    }
}

/// Indented, with each character told by its code that would do something to the terminal on which the file is looked at.
/// To a program it is the same text.
struct Visible<'a>(PrettyFormatter<'a>);

impl Formatter for Visible<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, character) in text.char_indices().filter(|&(_, character)| is_unsafe(character)) {
            out.write_all(&text.as_bytes()[plain_from..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain_from = at + character.len_utf8();
        }
        out.write_all(&text.as_bytes()[plain_from..])
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(title = "Report of `profiler`, schema version 1"))]
struct Document<'a> {
    /// Raised when a key is removed or changes its meaning; a new key does not raise it.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA_VERSION)))]
    schema_version: u32,
    profiler_version: &'a str,
    /// What was recorded, in the words of the command line.
    target: &'a str,
    /// Begin of the recording in nanoseconds since 1970, UTC.
    started_unix_ns: u64,
    /// Length of the recording.
    elapsed_seconds: Seconds,
    /// Of a part of a recording: where it begins in it, and how long that is.
    part: Option<PartJson>,
    hostname: &'a str,
    kernel_release: &'a str,
    architecture: &'a str,
    cpus: u32,
    /// Requested stack samples a second.
    sample_hz: u32,
    /// What drives the samples on the CPU: `cycles` or `cpu-clock`.
    sample_source: &'a str,
    /// Of `-- CMD`, if it ended within the recording; else null.
    command_exit_code: Option<i32>,
    /// All threads together.
    ledger: LedgerJson<'a>,
    /// Of a recording with more than one window.
    windows: Vec<WindowJson>,
    /// Empty where it is one verdict all the time.
    verdict_changes: Vec<StretchJson>,
    /// How long finished waits lasted; groups without a wait are left out.
    wait_times: Vec<WaitTimesJson>,
    /// In the order in which they were seen.
    processes: Vec<ProcessJson<'a>>,
    /// Busiest first; threads beyond the limit add up in one row of the process `[more processes]`.
    threads: Vec<ThreadJson<'a>>,
    stacks: StacksJson<'a>,
    block_io: BlockIoJson<'a>,
    locks: LocksJson<'a>,
    machine: MachineJson<'a>,
    /// What was lost, cut or left out.
    quality: QualityJson<'a>,
    /// What the recording itself took.
    cost: CostJson<'a>,
    verdict: VerdictJson,
}

/// How long finished waits of one group lasted.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct WaitTimesJson {
    group: WaitGroupJson,
    /// Waits that have ended.
    waits: u64,
    p50_seconds: Seconds,
    p90_seconds: Seconds,
    p99_seconds: Seconds,
    p999_seconds: Seconds,
}

impl WaitTimesJson {
    fn of(row: &WaitRow) -> Option<Self> {
        let Quantiles { p50, p90, p99, p999 } = row.quantiles;
        Some(Self {
            group: WaitGroupJson::of(row.group)?,
            waits: row.waits,
            p50_seconds: Seconds::of_ns(p50),
            p90_seconds: Seconds::of_ns(p90),
            p99_seconds: Seconds::of_ns(p99),
            p999_seconds: Seconds::of_ns(p999),
        })
    }
}

/// Groups of states whose waits are measured.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum WaitGroupJson {
    RunQueue,
    Disk,
    Lock,
    Network,
    Ipc,
    Memory,
}

impl WaitGroupJson {
    fn of(group: Group) -> Option<Self> {
        match group {
            Group::RunQueue => Some(Self::RunQueue),
            Group::Disk => Some(Self::Disk),
            Group::Lock => Some(Self::Lock),
            Group::Net => Some(Self::Network),
            Group::Ipc => Some(Self::Ipc),
            Group::Memory => Some(Self::Memory),
            Group::Cpu | Group::Idle | Group::Unknown => None,
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct PartJson {
    from_seconds: Seconds,
    to_seconds: Seconds,
    of_seconds: Seconds,
}

impl PartJson {
    fn of(part: Part) -> Self {
        Self {
            from_seconds: seconds(part.from_ns),
            to_seconds: seconds(part.to_ns),
            of_seconds: seconds(part.of_ns),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct LedgerJson<'a> {
    /// Sum over the threads of their lifetime inside the recording.
    thread_seconds: Seconds,
    /// Difference between the states and the elapsed time, absolute for each thread and then summed.
    residual_seconds: Seconds,
    /// Its share of `thread_seconds`.
    #[cfg_attr(test, schemars(range(min = 0)))]
    residual_ratio: f64,
    /// Time neither on a CPU nor ready for one.
    blocked_seconds: Seconds,
    /// Blocked time without a reason.
    unknown_seconds: Seconds,
    /// 1 − unknown / blocked; 1 when nothing was blocked.
    classified_ratio: Ratio,
    /// Time in each state that took any.
    states: BTreeMap<StateJson, Seconds>,
    /// Intervals that have ended, by state.
    counts: BTreeMap<StateJson, u64>,
    /// Kernel functions in which the unknown time waited, by samples; they add up to `unknown_seconds`.
    unknown_in: Vec<UnknownJson<'a>>,
    /// Compared with the kernel's own counters; null when they could not be read for any thread.
    cross_check: Option<CrossCheckJson<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct UnknownJson<'a> {
    function: &'a str,
    seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct CrossCheckJson<'a> {
    /// Threads whose counters could be read at both edges.
    #[cfg_attr(test, schemars(range(min = 1)))]
    threads: usize,
    /// The ledger's, scaled to the time between the two readings.
    on_cpu_seconds: Seconds,
    /// From `/proc/PID/task/TID/schedstat`.
    schedstat_run_seconds: Seconds,
    /// The ledger's, scaled to the time between the two readings.
    run_queue_seconds: Seconds,
    /// From `/proc/PID/task/TID/schedstat`.
    schedstat_run_queue_seconds: Seconds,
    /// From `/proc/PID/task/TID/stat`.
    user_seconds: Seconds,
    /// From `/proc/PID/task/TID/stat`.
    system_seconds: Seconds,
    /// A sentence for each difference of more than 2 % that is larger than the precision of the counters.
    disagreements: &'a [String],
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ProcessJson<'a> {
    /// In the profiler's PID namespace.
    tgid: u32,
    comm: &'a str,
    command_line: &'a str,
    /// How many threads of it were seen.
    threads: usize,
    thread_seconds: Seconds,
    /// Time in each state that took any.
    states: BTreeMap<StateJson, Seconds>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ThreadJson<'a> {
    /// In the profiler's PID namespace.
    tid: u32,
    tgid: u32,
    comm: &'a str,
    elapsed_seconds: Seconds,
    residual_seconds: Seconds,
    /// It began within the recording.
    born_inside: bool,
    /// It ended within the recording.
    ended_inside: bool,
    /// Time in each state that took any.
    states: BTreeMap<StateJson, Seconds>,
    /// Switches away from the CPU that it did not ask for.
    preemptions: u32,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct StacksJson<'a> {
    /// The largest ones.
    #[cfg_attr(test, schemars(length(max = crate::analyze::TOP)))]
    on_cpu: Vec<StackJson<'a>>,
    /// The largest ones; those that do not wait for work come first.
    #[cfg_attr(test, schemars(length(max = crate::analyze::TOP)))]
    off_cpu: Vec<StackJson<'a>>,
    /// Time without a sample.
    on_cpu_not_sampled_seconds: Seconds,
    /// Time without a sample.
    off_cpu_not_sampled_seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct StackJson<'a> {
    state: StateJson,
    /// Name of the process.
    comm: &'a str,
    seconds: Seconds,
    /// Share of `thread_seconds`.
    #[cfg_attr(test, schemars(range(min = 0)))]
    ratio: f64,
    /// Functions from the outermost to the innermost, inlined ones included.
    frames: &'a [String],
    /// Source of each frame as `FILE:LINE`, or null where it is not known.
    places: Vec<Option<String>>,
    /// Whether each frame's function was inlined into the one before.
    inlined: Vec<bool>,
    /// So many of the last frames are in the kernel.
    kernel_frames: usize,
    /// Stacks taken.
    samples: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct QualityJson<'a> {
    /// The largest of the shares of lost samples, thread accounts and kernel events.
    lost_ratio: Ratio,
    /// `lost_ratio` is at most 0.01.
    reliable: bool,
    /// By samples; null when no stack was taken, as are the next two.
    stacks_complete_ratio: Option<Ratio>,
    stacks_cut_ratio: Option<Ratio>,
    stacks_broken_ratio: Option<Ratio>,
    /// Broken stacks by reason.
    stacks_broken: BTreeMap<BrokenJson, u64>,
    /// Stacks in which at least one caller was found without an unwind table.
    stacks_by_frame_pointers_ratio: Option<Ratio>,
    stacks_on_cpu: StackEndsJson,
    stacks_off_cpu: StackEndsJson,
    /// Frames of all samples that have a name.
    frames_named_ratio: Option<Ratio>,
    /// What the kernel programs counted, by the names of `profiler-common/src/stat.rs`.
    counts: BTreeMap<&'a str, u64>,
    /// Threads that `/proc` shows at the end and the ledger has never seen.
    threads_unseen: u32,
    /// Waits that a pass of the off-CPU sampler had no room for.
    offcpu_over_limit: u64,
    /// Passes of the off-CPU sampler.
    offcpu_passes: u64,
    /// Passes that came too late: shares of stacks are less precise, nothing is lost.
    offcpu_passes_missed: u64,
    /// Records that did not decode.
    malformed_records: u64,
    /// Later sightings of a wait whose own sample was lost.
    repeats_without_sample: u64,
    /// Samples left out because a table of the recording was full.
    samples_over_limit: u64,
    /// Rows about locks and the ends of waits left out because a table of the recording was full.
    locks_over_limit: u64,
    /// Events that a kernel program missed because it was already running on that CPU.
    recursion_misses: u64,
    /// Sentences: everything that is off or degraded on this machine.
    skipped: &'a [String],
    debuginfod: Debuginfod,
}

/// How stacks ended, as numbers of stacks.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct StackEndsJson {
    complete: u64,
    cut: u64,
    broken: u64,
    by_frame_pointers: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct CostJson<'a> {
    /// Share of one CPU that the profiler's process took.
    #[cfg_attr(test, schemars(range(min = 0)))]
    cpu_ratio: Option<f64>,
    /// CPU time of the profiler's process over the recording.
    own_cpu_seconds: Seconds,
    /// The most resident memory of the profiler's process.
    rss_bytes: u64,
    /// Memory of the kernel maps and of perf's rings.
    kernel_bytes: u64,
    /// Each kernel program, while the kernel measured them.
    programs: Vec<ProgramJson<'a>>,
    /// Their share of one CPU over that time.
    #[cfg_attr(test, schemars(range(min = 0)))]
    programs_cpu_ratio: Option<f64>,
    /// From the start of the profiler until everything was attached.
    startup_seconds: Seconds,
    /// The process and the programs that do not run in its time, as a share of the machine's CPU time.
    #[cfg_attr(test, schemars(range(min = 0)))]
    machine_ratio: Option<f64>,
    /// The limit, from `--max-overhead`.
    budget_ratio: f64,
    /// Changes of the detail to keep to the budget.
    steps: Vec<DetailStepJson>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct DetailStepJson {
    /// Since the start.
    at_seconds: Seconds,
    /// From then on.
    #[serde(with = "DetailJson")]
    detail: Detail,
    /// Of the preceding second.
    cost_ratio: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ProgramJson<'a> {
    name: &'a str,
    run_seconds: Seconds,
    runs: u64,
    /// Mean, in nanoseconds; null where it never ran.
    #[cfg_attr(test, schemars(range(min = 0)))]
    ns_per_run: Option<f64>,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'_>) -> Self {
        let recording = report.recording;
        let meta = &recording.meta;
        Self {
            schema_version: SCHEMA_VERSION,
            profiler_version: &meta.profiler_version,
            target: &meta.target,
            started_unix_ns: meta.started_unix_ns,
            elapsed_seconds: seconds(recording.elapsed_ns()),
            part: recording.part.map(PartJson::of),
            hostname: &meta.hostname,
            kernel_release: &meta.kernel_release,
            architecture: &meta.architecture,
            cpus: meta.cpus,
            sample_hz: meta.sample_hz,
            sample_source: &meta.sample_source,
            command_exit_code: meta.command_exit_code,
            ledger: LedgerJson::of(report),
            windows: windows(&report.course),
            verdict_changes: stretches(&report.course),
            wait_times: report.wait_times.iter().filter_map(WaitTimesJson::of).collect(),
            processes: report.processes.iter().map(|process| ProcessJson::of(report, process)).collect(),
            threads: report.threads.iter().map(|thread| ThreadJson::of(report, thread)).collect(),
            stacks: StacksJson::of(&report.stacks, &report.ledger.account),
            block_io: BlockIoJson::of(report),
            locks: LocksJson::of(report),
            machine: MachineJson::of(report),
            quality: QualityJson::of(report),
            cost: CostJson::of(report),
            verdict: VerdictJson::of(&report.verdict),
        }
    }
}

impl<'a> LedgerJson<'a> {
    fn of(report: &'a Report<'_>) -> Self {
        let ledger = &report.ledger;
        let unknown_in = report.stacks.unknown_in.iter();
        Self {
            thread_seconds: seconds(ledger.account.elapsed_ns),
            residual_seconds: seconds(ledger.account.residual_ns),
            residual_ratio: ledger.residual_ratio(),
            blocked_seconds: seconds(ledger.blocked_ns),
            unknown_seconds: seconds(ledger.unknown_ns),
            classified_ratio: Ratio(ledger.classified_ratio()),
            states: by_state(&ledger.account, |time| seconds(time.ns)),
            counts: by_state(&ledger.account, |time| time.count),
            unknown_in: unknown_in
                .map(|row| UnknownJson { function: &row.function, seconds: seconds(row.ns) })
                .collect(),
            cross_check: report.cross_check.as_ref().map(CrossCheckJson::of),
        }
    }
}

impl<'a> CrossCheckJson<'a> {
    fn of(check: &'a CrossCheck) -> Self {
        Self {
            threads: check.threads,
            on_cpu_seconds: Seconds::of_ns(check.on_cpu_ns),
            schedstat_run_seconds: Seconds::of_ns(check.schedstat_run_ns),
            run_queue_seconds: Seconds::of_ns(check.run_queue_ns),
            schedstat_run_queue_seconds: Seconds::of_ns(check.schedstat_run_queue_ns),
            user_seconds: Seconds::of_ns(check.user_ns),
            system_seconds: Seconds::of_ns(check.system_ns),
            disagreements: &check.disagreements,
        }
    }
}

impl<'a> ProcessJson<'a> {
    fn of(report: &'a Report<'_>, process: &ProcessAccount) -> Self {
        let row = &report.recording.processes[process.row];
        Self {
            tgid: row.tgid,
            comm: &row.comm,
            command_line: &row.command_line,
            threads: process.threads,
            thread_seconds: seconds(process.account.elapsed_ns),
            states: by_state(&process.account, |time| seconds(time.ns)),
        }
    }
}

impl<'a> ThreadJson<'a> {
    fn of(report: &'a Report<'_>, thread: &ThreadAccount) -> Self {
        let row = &report.recording.threads[thread.row];
        Self {
            tid: row.tid,
            tgid: report.recording.processes[row.process as usize].tgid,
            comm: &row.comm,
            elapsed_seconds: seconds(thread.account.elapsed_ns),
            residual_seconds: seconds(thread.account.residual_ns),
            born_inside: row.born_inside,
            ended_inside: row.ended_inside,
            states: by_state(&thread.account, |time| seconds(time.ns)),
            preemptions: row.preemptions,
        }
    }
}

impl<'a> StacksJson<'a> {
    fn of(stacks: &'a Stacks, account: &Account) -> Self {
        let thread_ns = account.elapsed_ns.max(1) as f64;
        let stack = |stack: &'a StackTime| StackJson {
            state: StateJson::of(stack.state),
            comm: &stack.comm,
            seconds: seconds(stack.ns),
            ratio: stack.ns as f64 / thread_ns,
            frames: &stack.frames,
            places: stack.places.iter().map(|place| place.as_ref().map(ToString::to_string)).collect(),
            inlined: stack.inlined.clone(),
            kernel_frames: stack.kernel_frames,
            samples: stack.samples,
        };
        Self {
            on_cpu: stacks.on_cpu.iter().map(stack).collect(),
            off_cpu: stacks.off_cpu.iter().map(stack).collect(),
            on_cpu_not_sampled_seconds: seconds(stacks.on_cpu_not_sampled_ns),
            off_cpu_not_sampled_seconds: seconds(stacks.off_cpu_not_sampled_ns),
        }
    }
}

impl<'a> QualityJson<'a> {
    fn of(report: &'a Report<'_>) -> Self {
        let (quality, trust) = (&report.recording.quality, &report.trust);
        let ends = trust.ends.ratios();
        Self {
            lost_ratio: Ratio(trust.lost_ratio),
            reliable: trust.reliable,
            stacks_complete_ratio: ends.map(|[complete, _, _]| Ratio(complete)),
            stacks_cut_ratio: ends.map(|[_, cut, _]| Ratio(cut)),
            stacks_broken_ratio: ends.map(|[_, _, broken]| Ratio(broken)),
            stacks_broken: trust
                .ends
                .broken
                .iter()
                .map(|(&why, &count)| (BrokenJson::of(why), count))
                .collect(),
            stacks_by_frame_pointers_ratio: trust.ends.by_frame_pointers_ratio().map(Ratio),
            stacks_on_cpu: StackEndsJson::of(&trust.on_cpu_ends),
            stacks_off_cpu: StackEndsJson::of(&trust.off_cpu_ends),
            frames_named_ratio: trust.frames_named.map(Ratio),
            counts: quality.kernel_counts.iter().map(|(name, count)| (name.as_str(), *count)).collect(),
            threads_unseen: quality.threads_unseen,
            offcpu_over_limit: quality.offcpu_over_limit,
            offcpu_passes: quality.offcpu_passes,
            offcpu_passes_missed: quality.offcpu_passes_missed,
            malformed_records: quality.malformed_records,
            repeats_without_sample: quality.repeats_without_sample,
            samples_over_limit: quality.samples_over_limit,
            locks_over_limit: quality.locks_over_limit,
            recursion_misses: quality.recursion_misses,
            skipped: &report.recording.skipped,
            debuginfod: report.recording.debuginfod,
        }
    }
}

impl StackEndsJson {
    fn of(ends: &StackEnds) -> Self {
        let (broken, by_frame_pointers) = (ends.all_broken(), ends.by_frame_pointers);
        Self { complete: ends.complete, cut: ends.cut, broken, by_frame_pointers }
    }
}

impl<'a> CostJson<'a> {
    fn of(report: &'a Report<'_>) -> Self {
        let (cost, budget) = (&report.recording.cost, &report.recording.budget);
        let programs = cost.programs.iter().map(|program| ProgramJson {
            name: &program.name,
            run_seconds: seconds(program.run_ns),
            runs: program.runs,
            ns_per_run: (program.runs > 0).then(|| program.run_ns as f64 / program.runs as f64),
        });
        Self {
            cpu_ratio: report.cost.own_cpu,
            own_cpu_seconds: seconds(cost.own_cpu_ns),
            rss_bytes: cost.rss_bytes,
            kernel_bytes: cost.kernel_bytes,
            programs: programs.collect(),
            programs_cpu_ratio: report.cost.programs_cpu,
            startup_seconds: seconds(budget.startup_ns),
            machine_ratio: report.cost.machine,
            budget_ratio: budget.ratio,
            steps: budget
                .steps
                .iter()
                .map(|step| DetailStepJson {
                    at_seconds: seconds(step.at_ns),
                    detail: step.detail,
                    cost_ratio: step.cost_ratio,
                })
                .collect(),
        }
    }
}

fn by_state<T>(account: &Account, value: impl Fn(&StateTime) -> T) -> BTreeMap<StateJson, T> {
    account.states.iter().map(|(&code, time)| (StateJson::of(code), value(time))).collect()
}

/// How much is recorded.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(remote = "Detail", rename_all = "snake_case")]
enum DetailJson {
    Full,
    HalfRate,
    QuarterRate,
    NoOptionalProbes,
    FewOffCpuStacks,
    LedgerOnly,
    Detached,
}

/// Why a stack is broken.
// No descriptions of its variants: the schema of a map with these keys needs a plain list of them.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum BrokenJson {
    StackUnreadable,
    NoModule,
    NoUnwindInfo,
    TooDeep,
    ProcessGone,
    OtherStack,
}

impl BrokenJson {
    fn of(why: Broken) -> Self {
        match why {
            Broken::StackUnreadable => Self::StackUnreadable,
            Broken::NoModule => Self::NoModule,
            Broken::NoUnwindInfo => Self::NoUnwindInfo,
            Broken::TooDeep => Self::TooDeep,
            Broken::ProcessGone => Self::ProcessGone,
            Broken::OtherStack => Self::OtherStack,
        }
    }
}
