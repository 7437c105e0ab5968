//! The report as JSON: docs/report-json.md explains the keys, docs/report-schema.json is the schema.
//!
//! Times are seconds. A ratio that has nothing to divide by is null.

mod block_io;
mod locks;
mod verdict;
mod windows;

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

use profiler_common::state::Group;

use self::block_io::BlockIoJson;
use self::locks::LocksJson;
use self::verdict::{MachineJson, VerdictJson};
use self::windows::{StretchJson, WindowJson, stretches, windows};
use super::frame_text::is_unsafe;
use super::{Render, state_name};
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
struct Document<'a> {
    schema_version: u32,
    profiler_version: &'a str,
    target: &'a str,
    started_unix_ns: u64,
    elapsed_seconds: f64,
    /// Of a part of a recording: where it begins in it, and how long that is.
    part: Option<PartJson>,
    hostname: &'a str,
    kernel_release: &'a str,
    architecture: &'a str,
    cpus: u32,
    sample_hz: u32,
    sample_source: &'a str,
    command_exit_code: Option<i32>,
    ledger: LedgerJson<'a>,
    windows: Vec<WindowJson>,
    verdict_changes: Vec<StretchJson>,
    wait_times: Vec<WaitTimesJson>,
    processes: Vec<ProcessJson<'a>>,
    threads: Vec<ThreadJson<'a>>,
    stacks: StacksJson<'a>,
    block_io: BlockIoJson<'a>,
    locks: LocksJson<'a>,
    machine: MachineJson<'a>,
    quality: QualityJson<'a>,
    cost: CostJson<'a>,
    verdict: VerdictJson<'a>,
}

/// How long finished waits of one group lasted.
#[derive(Serialize)]
struct WaitTimesJson {
    group: &'static str,
    waits: u64,
    p50_seconds: f64,
    p90_seconds: f64,
    p99_seconds: f64,
    p999_seconds: f64,
}

impl WaitTimesJson {
    fn of(row: &WaitRow) -> Self {
        let group = match row.group {
            Group::Cpu => "cpu",
            Group::RunQueue => "run_queue",
            Group::Disk => "disk",
            Group::Lock => "lock",
            Group::Net => "network",
            Group::Ipc => "ipc",
            Group::Memory => "memory",
            Group::Idle => "idle",
            Group::Unknown => "unknown",
        };
        let Quantiles { p50, p90, p99, p999 } = row.quantiles;
        Self {
            group,
            waits: row.waits,
            p50_seconds: p50 / 1e9,
            p90_seconds: p90 / 1e9,
            p99_seconds: p99 / 1e9,
            p999_seconds: p999 / 1e9,
        }
    }
}

#[derive(Serialize)]
struct PartJson {
    from_seconds: f64,
    to_seconds: f64,
    of_seconds: f64,
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
struct LedgerJson<'a> {
    thread_seconds: f64,
    residual_seconds: f64,
    residual_ratio: f64,
    blocked_seconds: f64,
    unknown_seconds: f64,
    classified_ratio: f64,
    states: BTreeMap<String, f64>,
    counts: BTreeMap<String, u64>,
    unknown_in: Vec<UnknownJson<'a>>,
    cross_check: Option<CrossCheckJson<'a>>,
}

#[derive(Serialize)]
struct UnknownJson<'a> {
    function: &'a str,
    seconds: f64,
}

#[derive(Serialize)]
struct CrossCheckJson<'a> {
    threads: usize,
    on_cpu_seconds: f64,
    schedstat_run_seconds: f64,
    run_queue_seconds: f64,
    schedstat_run_queue_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
    disagreements: &'a [String],
}

#[derive(Serialize)]
struct ProcessJson<'a> {
    tgid: u32,
    comm: &'a str,
    command_line: &'a str,
    threads: usize,
    thread_seconds: f64,
    states: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct ThreadJson<'a> {
    tid: u32,
    tgid: u32,
    comm: &'a str,
    elapsed_seconds: f64,
    residual_seconds: f64,
    born_inside: bool,
    ended_inside: bool,
    states: BTreeMap<String, f64>,
    preemptions: u32,
}

#[derive(Serialize)]
struct StacksJson<'a> {
    on_cpu: Vec<StackJson<'a>>,
    off_cpu: Vec<StackJson<'a>>,
    on_cpu_not_sampled_seconds: f64,
    off_cpu_not_sampled_seconds: f64,
}

#[derive(Serialize)]
struct StackJson<'a> {
    state: String,
    comm: &'a str,
    seconds: f64,
    ratio: f64,
    frames: &'a [String],
    places: Vec<Option<String>>,
    inlined: Vec<bool>,
    kernel_frames: usize,
    samples: u64,
}

#[derive(Serialize)]
struct QualityJson<'a> {
    lost_ratio: f64,
    reliable: bool,
    stacks_complete_ratio: Option<f64>,
    stacks_cut_ratio: Option<f64>,
    stacks_broken_ratio: Option<f64>,
    stacks_broken: BTreeMap<&'static str, u64>,
    stacks_by_frame_pointers_ratio: Option<f64>,
    stacks_on_cpu: StackEndsJson,
    stacks_off_cpu: StackEndsJson,
    frames_named_ratio: Option<f64>,
    counts: BTreeMap<&'a str, u64>,
    threads_unseen: u32,
    offcpu_over_limit: u64,
    offcpu_passes: u64,
    offcpu_passes_missed: u64,
    malformed_records: u64,
    repeats_without_sample: u64,
    samples_over_limit: u64,
    locks_over_limit: u64,
    recursion_misses: u64,
    skipped: &'a [String],
    debuginfod: Debuginfod,
}

#[derive(Serialize)]
struct StackEndsJson {
    complete: u64,
    cut: u64,
    broken: u64,
    by_frame_pointers: u64,
}

#[derive(Serialize)]
struct CostJson<'a> {
    cpu_ratio: Option<f64>,
    own_cpu_seconds: f64,
    rss_bytes: u64,
    kernel_bytes: u64,
    programs: Vec<ProgramJson<'a>>,
    programs_cpu_ratio: Option<f64>,
    startup_seconds: f64,
    machine_ratio: Option<f64>,
    budget_ratio: f64,
    steps: Vec<StepJson>,
}

#[derive(Serialize)]
struct StepJson {
    at_seconds: f64,
    detail: &'static str,
    cost_ratio: f64,
}

#[derive(Serialize)]
struct ProgramJson<'a> {
    name: &'a str,
    run_seconds: f64,
    runs: u64,
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
            wait_times: report.wait_times.iter().map(WaitTimesJson::of).collect(),
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
            classified_ratio: ledger.classified_ratio(),
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
            on_cpu_seconds: check.on_cpu_ns / 1e9,
            schedstat_run_seconds: check.schedstat_run_ns / 1e9,
            run_queue_seconds: check.run_queue_ns / 1e9,
            schedstat_run_queue_seconds: check.schedstat_run_queue_ns / 1e9,
            user_seconds: check.user_ns / 1e9,
            system_seconds: check.system_ns / 1e9,
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
            state: state_name(stack.state),
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
            lost_ratio: trust.lost_ratio,
            reliable: trust.reliable,
            stacks_complete_ratio: ends.map(|[complete, _, _]| complete),
            stacks_cut_ratio: ends.map(|[_, cut, _]| cut),
            stacks_broken_ratio: ends.map(|[_, _, broken]| broken),
            stacks_broken: trust.ends.broken.iter().map(|(&why, &count)| (broken_name(why), count)).collect(),
            stacks_by_frame_pointers_ratio: trust.ends.by_frame_pointers_ratio(),
            stacks_on_cpu: StackEndsJson::of(&trust.on_cpu_ends),
            stacks_off_cpu: StackEndsJson::of(&trust.off_cpu_ends),
            frames_named_ratio: trust.frames_named,
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
                .map(|step| StepJson {
                    at_seconds: seconds(step.at_ns),
                    detail: detail_name(step.detail),
                    cost_ratio: step.cost_ratio,
                })
                .collect(),
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn by_state<T>(account: &Account, value: impl Fn(&StateTime) -> T) -> BTreeMap<String, T> {
    account.states.iter().map(|(&code, time)| (state_name(code), value(time))).collect()
}

/// Names of [`Detail`].
fn detail_name(detail: Detail) -> &'static str {
    match detail {
        Detail::Full => "full",
        Detail::HalfRate => "half_rate",
        Detail::QuarterRate => "quarter_rate",
        Detail::NoOptionalProbes => "no_optional_probes",
        Detail::FewOffCpuStacks => "few_off_cpu_stacks",
        Detail::LedgerOnly => "ledger_only",
        Detail::Detached => "detached",
    }
}

/// The keys of `stacks_broken`.
fn broken_name(why: Broken) -> &'static str {
    match why {
        Broken::StackUnreadable => "stack_unreadable",
        Broken::NoModule => "no_module",
        Broken::NoUnwindInfo => "no_unwind_info",
        Broken::TooDeep => "too_deep",
        Broken::ProcessGone => "process_gone",
        Broken::OtherStack => "other_stack",
    }
}
