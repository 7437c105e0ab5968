//! The report as JSON: docs/report-json.md explains the keys, docs/report-schema.json is the schema.
//!
//! Times are seconds. A ratio that has nothing to divide by is null.

mod values;
mod block_io;
mod locks;
mod verdict;
mod windows;
mod quality;
mod cost;
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
use self::cost::CostJson;
use self::locks::LocksJson;
use self::quality::QualityJson;
use self::values::{Ratio, Seconds, StateJson, seconds};
use self::verdict::{MachineJson, VerdictJson};
use self::windows::{StretchJson, WindowJson, stretches, windows};
use super::Render;
use super::frame_text::is_unsafe;
use crate::analyze::{
    Account, CrossCheck, ProcessAccount, Quantiles, Report, StackTime, Stacks, StateTime, ThreadAccount,
    WaitRow,
};
use crate::recording::Part;

/// Raised when a key is removed or changes its meaning; a new key does not raise it.
pub const SCHEMA_VERSION: u32 = 1;

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

fn by_state<T>(account: &Account, value: impl Fn(&StateTime) -> T) -> BTreeMap<StateJson, T> {
    account.states.iter().map(|(&code, time)| (StateJson::of(code), value(time))).collect()
}
