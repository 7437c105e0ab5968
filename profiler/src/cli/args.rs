//! The arguments, with the words that users' fingers know from perf and py-spy.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, ArgGroup, Parser, ValueEnum};
use regex::Regex;

use super::{
    switches::Switches,
    values::{duration, kernel_bytes, moment, share, stack_bytes},
    version,
};
use profiler_report::{analyze::flame, report};

const EXAMPLES: &str = "\
Examples:
  sudo profiler record -p 812 -d 10        a process, by its id or its name
  sudo profiler record -a -d 10            the whole machine
  sudo profiler record -- ./program        a command, from its first instruction
  profiler report profiler-pid-812.prof    the report of a recording
  sudo profiler record -p 812 -d 10 -o waits.svg --view offcpu";

/// Shows where a process's wall-clock time goes and why: on the CPU, waiting for a CPU, disk, locks, network, sleep.
#[derive(Debug, Parser)]
#[command(version, long_version = version::long(), max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Record processes, print a report and leave a capture file
    Record(Record),
    /// Print the report of a capture, or render it in other formats
    Report(Report),
    /// Show live what the disks do
    ///
    /// Requests, latencies in the queue and in the device, and whose they are.
    Io(Io),
    /// Check what the profiler can do on this machine
    ///
    /// Each requirement and probe works, is degraded (with the loss and the command that fixes it) or impossible (with the
    /// reason). Exit code 0: all works, 1: something is degraded, 2: nothing can be recorded.
    Doctor(Doctor),
    /// Print the completions for a shell, to be put where the shell looks for them
    Completions(Completions),
    /// Print the manual page of the program or of a command, for packages
    #[command(hide = true)]
    Man(Man),
}

#[derive(Debug, Parser)]
#[command(group(ArgGroup::new("target").required(true).args(
    ["pid", "tid", "comm", "unit", "container", "cgroup", "all", "command"]
)))]
pub struct Record {
    /// Record these processes, with threads that start later: ids, or the name of a program that runs once (its workers are
    /// recorded with it). `docker:NAME`, `unit:NAME` are short for --container and --unit.
    #[arg(short, long, visible_alias = "name", value_name = "PID|NAME", value_delimiter = ',')]
    pub pid: Vec<String>,

    /// Record these threads alone, and threads that they start.
    #[arg(short, long, value_name = "TID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub tid: Vec<u32>,

    /// Record processes whose name (up to 15 bytes) matches, now or after an exec, and their children.
    #[arg(long, value_name = "REGEX")]
    pub comm: Option<Regex>,

    /// Record this service of systemd: `nginx.service`, or `nginx`.
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<String>,

    /// Record this container, by its name or the beginning of its id.
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,

    /// Record everything in this cgroup (version 2) or below it.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,

    /// Record the whole machine.
    #[arg(short, long, alias = "all-cpus")]
    pub all: bool,

    /// Also record the children of the recorded processes, existing and forked later. Always on for names, --comm, --cgroup, -a
    /// and -- CMD.
    #[arg(long, short_alias = 's', aliases = ["subprocesses", "follow-forks"])]
    pub children: bool,

    /// Record for this long: `10`, `10s`, `2m`. Without it, until Ctrl-C or until the target ends.
    #[arg(short, long, aliases = ["time", "seconds"], value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Stacks a second.
    #[arg(short = 'F', long = "frequency", aliases = ["freq", "rate", "hz"], short_alias = 'r', value_name = "HZ", default_value_t = 99,
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
    pub command: Vec<OsString>,

    /// Options of perf and py-spy for what is always done here: stacks, native frames, without stopping the target.
    #[arg(short = 'g', aliases = ["native", "nonblocking", "idle"], short_aliases = ['S'], hide = true, action = ArgAction::Count)]
    pub always: u8,

    /// How perf is asked to walk stacks. They are walked as each needs it.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "dwarf", value_name = "MODE")]
    pub call_graph: Option<CallGraph>,
}

/// What `perf record --call-graph` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CallGraph {
    Fp,
    Dwarf,
    Lbr,
}

#[derive(Debug, Parser)]
pub struct Report {
    /// Captures, as `profiler record` leaves them; `-` is stdin. Without any, the newest `profiler-*.prof` here.
    #[arg(value_name = "FILE")]
    pub captures: Vec<PathBuf>,

    /// As perf names the file.
    #[arg(short = 'i', long = "input", hide = true, value_name = "FILE", conflicts_with = "captures")]
    pub input: Option<PathBuf>,

    /// As perf asks for text.
    #[arg(long, hide = true)]
    pub stdio: bool,

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
pub struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Parser)]
pub struct Man {
    /// Of which command; without it of the program.
    pub command: Option<String>,
}

#[derive(Debug, Parser)]
pub struct Outputs {
    /// Write a result here; repeatable. The extension is the format: .txt .json .folded .svg .prof; `-` is stdout.
    #[arg(short, long = "output", value_name = "FILE")]
    pub output: Vec<OsString>,

    /// The format of what is written, whatever its file is called; without a file, of stdout.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,

    /// For programs: the report as JSON on stdout.
    #[arg(long)]
    pub json: bool,

    /// A flamegraph.
    #[arg(long, hide = true, value_name = "FILE")]
    pub svg: Vec<OsString>,

    /// What flamegraphs (.svg, .folded) show.
    #[arg(long, value_enum, default_value_t = View::Wall)]
    pub view: View,

    /// Short for `--view cpu`.
    #[arg(long, hide = true, alias = "oncpu", conflicts_with_all = ["view", "offcpu"])]
    pub cpu: bool,

    /// Short for `--view offcpu`.
    #[arg(long, hide = true, conflicts_with = "view")]
    pub offcpu: bool,
}

impl Outputs {
    /// What flamegraphs show.
    pub fn view(&self) -> flame::View {
        match (self.cpu, self.offcpu) {
            (true, _) => flame::View::Cpu,
            (_, true) => flame::View::OffCpu,
            _ => self.view.into(),
        }
    }
}

/// A format, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[value(aliases = ["txt", "stdio"])]
    Text,
    Json,
    #[value(aliases = ["collapsed", "raw"])]
    Folded,
    #[value(alias = "flamegraph")]
    Svg,
    #[value(alias = "capture")]
    Prof,
}

impl From<Format> for report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Folded => Self::Folded,
            Format::Svg => Self::Svg,
            Format::Prof => Self::Capture,
        }
    }
}

/// What a flamegraph shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// All of each thread's time, on the CPU and waiting.
    Wall,
    /// Time on the CPU.
    #[value(aliases = ["oncpu", "on-cpu"])]
    Cpu,
    /// Time off the CPU.
    #[value(alias = "off-cpu")]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

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
        check_refused(&["--comm", "("]);
    }
}
