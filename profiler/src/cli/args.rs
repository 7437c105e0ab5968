//! The arguments, with the words that users' fingers know from perf and py-spy.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, ArgGroup, Parser, ValueEnum};
use profiler_common::sample::{MOST_STACK_BYTES, PAGE_BYTES};
use regex::Regex;

use super::{switches::Switches, version};
use crate::record::Target;
use profiler_report::analyze::flame;

/// Shows where a process's wall-clock time goes and why: on the CPU, waiting for a CPU, disk, locks, network, sleep.
#[derive(Debug, Parser)]
#[command(version, long_version = version::long(), max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Record processes, print a report and leave a capture file.
    Record(Record),
    /// Print the report of a capture file, or render it in other formats.
    Report(Report),
    /// Show live what the disks do: requests, latencies in the queue and in the device, and their processes.
    Io(Io),
    /// Check what the profiler can do on this machine: each requirement and probe works, is degraded (with the loss and
    /// the command that fixes it) or impossible (with the reason). Exit code 0: all works, 1: something is degraded, 2:
    /// nothing can be recorded.
    Doctor(Doctor),
}

#[derive(Debug, Parser)]
#[command(group(ArgGroup::new("target").required(true).args(["pid", "comm", "cgroup", "all", "command"])))]
pub struct Record {
    /// Record these processes, with threads that start later.
    #[arg(short, long, value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,

    /// Record processes whose name (up to 15 bytes) matches, now or after an exec, and their children.
    #[arg(long, value_name = "REGEX")]
    comm: Option<Regex>,

    /// Record everything in this cgroup (version 2) or below it.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,

    /// Record the whole machine.
    #[arg(short, long)]
    all: bool,

    /// Also record the children of the recorded processes, existing and forked later. Always on for --comm, --cgroup, -a and -- CMD.
    #[arg(long)]
    pub children: bool,

    /// Record for this long: `10`, `10s`, `2m`. Without it, until Ctrl-C or until the target ends.
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Stacks a second.
    #[arg(short = 'F', long = "frequency", value_name = "HZ", default_value_t = 99,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub frequency: u32,

    /// Take at most this much of each user stack, up to `64k`; deeper frames show as `[cut]`. Default: `16k` on the CPU,
    /// up to `64k` for waiting threads and for threads whose stack was cut.
    #[arg(long, value_name = "BYTES", value_parser = stack_bytes)]
    pub stack_bytes: Option<u32>,

    /// Upper limit on the CPU time that recording may use, as a share of the whole machine. Above it, fewer stacks are
    /// taken, then none, and finally the recording ends; the report says when and why.
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = share)]
    pub max_overhead: f64,

    /// Upper limit on kernel memory, from `2m` to `1g`. With less, fewer threads have an account and fewer samples can be
    /// buffered; losses are counted and shown. Each CPU always takes about 150 KiB.
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = kernel_bytes)]
    pub kernel_memory: u64,

    #[command(flatten)]
    pub switches: Switches,

    #[command(flatten)]
    pub outputs: Outputs,

    /// No progress, no closing line and no warnings on stderr.
    #[arg(short, long)]
    pub quiet: bool,

    /// Report on stderr how long each step took; given twice, also what the kernel programs do: which threads get an
    /// account and why, and what there was to see of a wait without a reason.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Record this command from its first instruction, with its children. Its exit code becomes ours; under sudo it runs
    /// as the invoking user.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Parser)]
pub struct Report {
    /// A capture, as `profiler record` leaves it.
    #[arg(value_name = "FILE")]
    pub capture: PathBuf,

    /// Report on what came after this much of the recording alone: `20s`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Duration>,

    /// Report on what came before this much of the recording alone: `40s`. The part is made of whole windows: those that lie in it
    /// with at least half of their length.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<Duration>,

    #[command(flatten)]
    pub outputs: Outputs,
}

#[derive(Debug, Parser)]
pub struct Io {
    /// Length of an interval: `1`, `500ms`, `1m`.
    #[arg(value_name = "INTERVAL", default_value = "1s", value_parser = duration)]
    pub interval: Duration,

    /// Number of intervals [default: until Ctrl-C].
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// Also show the distribution of each row's latencies.
    #[arg(short = 'H', long)]
    pub histogram: bool,

    /// Upper limit on its CPU time, as a share of the whole machine; five seconds in a row above it end the program.
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = share)]
    pub max_overhead: f64,
}

#[derive(Debug, Parser)]
pub struct Doctor {
    /// For programs: one JSON object (docs/doctor-json.md).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Parser)]
pub struct Outputs {
    /// Write a result here; repeatable. The extension is the format: .txt .json .folded .svg .prof; `-` is stdout.
    #[arg(short, long = "output", value_name = "FILE")]
    pub output: Vec<OsString>,

    /// What flamegraphs (.svg, .folded) show.
    #[arg(long, value_enum, default_value_t = View::Wall)]
    pub view: View,
}

/// What a flamegraph shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// All of each thread's time, on the CPU and waiting.
    Wall,
    /// Time on the CPU.
    Cpu,
    /// Time off the CPU.
    Offcpu,
}

impl From<View> for flame::View {
    fn from(view: View) -> Self {
        match view {
            View::Wall => Self::Wall,
            View::Cpu => Self::Cpu,
            View::Offcpu => Self::OffCpu,
        }
    }
}

impl Record {
    /// What to record: clap has seen to it that it is exactly one.
    pub fn target(&self) -> Target {
        if !self.pid.is_empty() {
            let mut tgids = self.pid.clone();
            tgids.sort_unstable();
            tgids.dedup();
            Target::Processes(tgids)
        } else if let Some(regex) = &self.comm {
            Target::Comm(regex.clone())
        } else if let Some(path) = &self.cgroup {
            Target::Cgroup(path.clone())
        } else if self.all {
            Target::All
        } else {
            Target::Command(self.command.clone())
        }
    }
}

/// Bytes of stack, plain or in KiB, rounded up to whole pages.
fn stack_bytes(text: &str) -> Result<u32, String> {
    let number = bytes(text).ok_or("not a number of bytes; try: 16384, 16k or 64k")?;
    let bytes = u32::try_from(number).ok().filter(|bytes| (1..=MOST_STACK_BYTES).contains(bytes));
    let bytes = bytes.ok_or_else(|| format!("must be between 1 and {MOST_STACK_BYTES} (64k)"))?;
    Ok(bytes.next_multiple_of(PAGE_BYTES as u32))
}

/// Bytes of memory in the kernel.
fn kernel_bytes(text: &str) -> Result<u64, String> {
    let number = bytes(text).ok_or("not a number of bytes; try: 16m or 64m")?;
    let allowed = (2 << 20..=1 << 30).contains(&number);
    allowed.then_some(number).ok_or_else(|| "must be from 2m to 1g".to_owned())
}

/// A number of bytes: plain, or in KiB, MiB or GiB.
fn bytes(text: &str) -> Option<u64> {
    let units = [('k', 10), ('m', 20), ('g', 30)];
    let unit = units.into_iter().find(|(letter, _)| text.ends_with([*letter, letter.to_ascii_uppercase()]));
    let (number, shift) = unit.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], shift));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A percentage, with its sign or without, as a share.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent: f64 = number.parse().map_err(|_| "not a percentage; try: 1%, 0.5% or 100%".to_owned())?;
    if percent > 0.0 && percent <= 100.0 {
        Ok(percent / 100.0)
    } else {
        Err("must be more than 0 % and at most 100 %".to_owned())
    }
}

/// A moment of a recording: as a duration, or its start.
fn moment(text: &str) -> Result<Duration, String> {
    if text.trim_end_matches(['s', 'm', 'h']) == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

/// A number with a unit: ms, s (the default), m or h.
fn duration(text: &str) -> Result<Duration, String> {
    /// A timer of a year is beyond doubt, and far from overflow.
    const MOST_SECONDS: f64 = 366.0 * 86_400.0;
    let number_end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let seconds_a_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is not a unit of time; try: 10, 10s, 500ms, 2m or 1h")),
    };
    let seconds =
        number.parse::<f64>().map_err(|_| "not a number with a unit; try: 10, 10s, 2m".to_owned())?;
    let seconds = seconds * seconds_a_unit;
    if seconds <= 0.0 || seconds > MOST_SECONDS {
        return Err("must be more than zero and at most a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[track_caller]
    fn check(text: &str, expected_ms: Option<u128>) {
        assert_eq!(duration(text).ok().map(|duration| duration.as_millis()), expected_ms, "{text}");
    }

    #[test]
    fn durations_have_units() {
        check("10", Some(10_000));
        check("10s", Some(10_000));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("500ms", Some(500));
        check("1.5", Some(1500));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "0", "-1", "x", "10 s", "5d", "1e9", "99999h", "1.2.3"] {
            check(text, None);
        }
    }

    #[track_caller]
    fn check_stack_bytes(text: &str, expected: Option<u32>) {
        assert_eq!(stack_bytes(text).ok(), expected, "{text}");
    }

    #[test]
    fn stack_bytes_are_whole_pages_up_to_the_most() {
        check_stack_bytes("16k", Some(16_384));
        check_stack_bytes("64K", Some(65_536));
        check_stack_bytes("65536", Some(65_536));
        check_stack_bytes("5000", Some(8192));
        check_stack_bytes("1", Some(4096));
        for text in ["0", "65537", "65k", "", "k", "-1", "16m", "99999999k", "99999999999g"] {
            check_stack_bytes(text, None);
        }
    }

    #[test]
    fn memory_in_the_kernel_has_its_bounds() {
        assert_eq!(
            ["2m", "64M", "1g", "4194304"].map(kernel_bytes),
            [2 << 20, 64 << 20, 1 << 30, 4 << 20].map(Ok)
        );
        for text in ["", "1m", "2g", "x", "-1", "64"] {
            assert!(kernel_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!([share("1%"), share("0.5"), share("100 %")], [Ok(0.01), Ok(0.005), Ok(1.0)]);
        for text in ["0", "-1%", "101%", "x", "", "%", "NaN", "inf"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[track_caller]
    fn check_refused(words: &[&str]) {
        let result = Args::try_parse_from([&["profiler", "record"], words].concat());
        assert!(result.is_err(), "{words:?}");
    }

    #[test]
    fn exactly_one_kind_of_target_is_needed() {
        check_refused(&[]);
        check_refused(&["-a", "-p", "1"]);
        check_refused(&["-p", "1", "--", "ls"]);
        check_refused(&["-p", "0"]);
        check_refused(&["--comm", "("]);
    }
}
