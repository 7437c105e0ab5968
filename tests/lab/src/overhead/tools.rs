//! The tools: how each is started on a workload's processes, when it is attached, and how it ends.
//!
//! Each runs as its users run it, without options but those that aim it. Those that aim at processes get the workload's.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use profiler_tests::report::Report;
use profiler_tests::running::{Finished, Running};

use super::empty::Empty;
use crate::Bench;
use profiler_tests::command;

/// Something that is attached while a workload runs.
pub struct Tool {
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    Nothing,
    EmptyPrograms,
    /// Its report is read afterwards.
    Profiler(fn(&Target) -> Vec<String>),
    /// The program that must be there, and the command.
    Peer(&'static str, fn(&Target) -> Vec<String>),
    /// A program for bpftrace.
    Script(&'static str),
    /// `profiler io`, with a budget that it never reaches.
    Watch,
}

/// What a tool is aimed at.
pub struct Target<'a> {
    pub pids: &'a [u32],
    /// Where its output goes.
    pub output: &'a str,
}

impl Target<'_> {
    fn first(&self) -> String {
        self.pids[0].to_string()
    }

    fn all(&self) -> String {
        self.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }
}

/// With what all others are compared.
pub const NO_TOOL: &str = "no tool";

pub const TOOLS: &[Tool] = &[
    Tool { name: NO_TOOL, kind: Kind::Nothing },
    Tool { name: "no tool, once more", kind: Kind::Nothing },
    Tool { name: "empty programs", kind: Kind::EmptyPrograms },
    Tool {
        name: "profiler record -p",
        kind: Kind::Profiler(|target| words(&["-p", &target.first(), "--children"])),
    },
    Tool { name: "profiler record -a", kind: Kind::Profiler(|_| words(&["-a"])) },
    Tool {
        name: "perf record -F 99 -g -p",
        kind: Kind::Peer("perf", |target| {
            words(&["perf", "record", "-F", "99", "-g", "-p", &target.all(), "-o", target.output])
        }),
    },
    Tool {
        name: "perf trace -s",
        kind: Kind::Peer("perf", |target| words(&["perf", "trace", "-s", "-o", target.output])),
    },
    Tool {
        name: "perf sched record",
        kind: Kind::Peer("perf", |target| words(&["perf", "sched", "record", "-o", target.output])),
    },
    Tool { name: "offcputime", kind: Kind::Peer("offcputime", |_| words(&["offcputime"])) },
    Tool {
        name: "offcputime -p",
        kind: Kind::Peer("offcputime", |target| words(&["offcputime", "-p", &target.first()])),
    },
    Tool { name: "bpftrace, as offcputime", kind: Kind::Script(OFF_CPU_TIME) },
    Tool { name: "biolatency", kind: Kind::Peer("biolatency", |_| words(&["biolatency"])) },
    Tool { name: "bpftrace, as biolatency", kind: Kind::Script(BLOCK_LATENCY) },
];

const NOTHING: Tool = Tool { name: NO_TOOL, kind: Kind::Nothing };
const NOTHING_AGAIN: Tool = Tool { name: "no tool, once more", kind: Kind::Nothing };
const RECORD: Tool = Tool {
    name: "profiler record -p",
    kind: Kind::Profiler(|target| words(&["-p", &target.first(), "--children"])),
};

/// What tells of disks.
pub const DISK_TOOLS: &[Tool] = &[
    NOTHING,
    NOTHING_AGAIN,
    Tool { name: "biolatency", kind: Kind::Peer("biolatency", |_| words(&["biolatency"])) },
    Tool { name: "profiler io", kind: Kind::Watch },
    RECORD,
];

/// What tells of futexes.
pub const FUTEX_TOOLS: &[Tool] = &[
    NOTHING,
    NOTHING_AGAIN,
    Tool { name: "bpftrace, calls of futex", kind: Kind::Script(FUTEX_CALLS) },
    Tool {
        name: "profiler record -p --locks off",
        kind: Kind::Profiler(|target| words(&["-p", &target.first(), "--children", "--locks", "off"])),
    },
    RECORD,
];

fn words(all: &[&str]) -> Vec<String> {
    all.iter().copied().map(str::to_owned).collect()
}

/// What offcputime does: the stacks of a thread that leaves its CPU, and the time until it is back. It prints nothing: without
/// a cache of symbols bpftrace 0.17 takes minutes to name some thousand stacks, after what is measured.
const OFF_CPU_TIME: &str = "
tracepoint:sched:sched_switch {
    if (args->prev_pid != 0) {
        @left[args->prev_pid] = nsecs;
        @kernel[args->prev_pid] = kstack;
        @user[args->prev_pid] = ustack;
    }
    $left = @left[args->next_pid];
    if ($left != 0) {
        @us[@kernel[args->next_pid], @user[args->next_pid], args->next_comm] = sum((nsecs - $left) / 1000);
        delete(@left[args->next_pid]);
    }
}
END { clear(@left); clear(@kernel); clear(@user); clear(@us); }";

/// biolatency.bt of bpftrace 0.20, which uses tracepoints where older ones need kprobes.
const BLOCK_LATENCY: &str = "
tracepoint:block:block_bio_queue { @start[args->sector] = nsecs; }
tracepoint:block:block_rq_complete, tracepoint:block:block_bio_complete /@start[args->sector]/ {
    @usecs = hist((nsecs - @start[args->sector]) / 1000);
    delete(@start[args->sector]);
}
END { clear(@start); }";

/// How long each call of `futex` takes: what a look at locks by their system calls costs.
const FUTEX_CALLS: &str = "
tracepoint:syscalls:sys_enter_futex { @start[tid] = nsecs; }
tracepoint:syscalls:sys_exit_futex /@start[tid]/ {
    @ns[comm] = hist(nsecs - @start[tid]);
    delete(@start[tid]);
}
END { clear(@start); }";

const TO_ATTACH: Duration = Duration::from_secs(20);
/// For so long its descriptors stay as they are once it is attached.
const SETTLED: Duration = Duration::from_millis(300);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// perf reads all that it has written, and some look up names.
const TO_END: Duration = Duration::from_secs(120);

impl Tool {
    /// The program that is missing for it.
    pub fn missing(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Peer(program, _) if !command::on_path(program) => Some(program),
            Kind::Script(_) if !command::on_path("bpftrace") => Some("bpftrace"),
            _ => None,
        }
    }

    /// Starts it, and waits until it is attached.
    pub fn attach(&self, bench: &Bench, pids: &[u32]) -> Result<Attached> {
        let output = bench.path("overhead-output");
        let target = Target { pids, output: &output };
        match self.kind {
            Kind::Nothing => Ok(Attached::Nothing),
            Kind::EmptyPrograms => Ok(Attached::EmptyPrograms(Empty::attach()?)),
            Kind::Profiler(aim) => {
                let report = bench.path("overhead.json");
                let mut profiler = bench.profiler(&["record", "-q", "-o", &report]);
                profiler.args(aim(&target));
                Ok(Attached::Process(Process::start(profiler)?, Some(report)))
            }
            Kind::Peer(_, words) => {
                let words = words(&target);
                let mut peer = Command::new(&words[0]);
                peer.args(&words[1..]);
                Ok(Attached::Process(Process::start(peer)?, None))
            }
            Kind::Watch => {
                let watch = bench.profiler(&["io", "--max-overhead", "100%"]);
                Ok(Attached::Process(Process::start(watch)?, None))
            }
            Kind::Script(script) => {
                let path = bench.path("overhead.bt");
                fs::write(&path, script)?;
                let mut bpftrace = Command::new("bpftrace");
                bpftrace.arg(&path);
                Ok(Attached::Process(Process::start(bpftrace)?, None))
            }
        }
    }
}

/// A tool at work.
pub enum Attached {
    Nothing,
    EmptyPrograms(Empty),
    /// And the report that it will write, if it is the profiler.
    Process(Process, Option<String>),
}

impl Attached {
    /// Ends it as Ctrl-C does. It must have been at work until now; of a recording by the profiler nothing may be missing by its
    /// own choice.
    pub fn stop(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::EmptyPrograms(programs) => {
                drop(programs);
                Ok(())
            }
            Self::Process(process, report) => {
                process.stop()?;
                let Some(report) = report else { return Ok(()) };
                let report = Report::read(report.as_ref());
                let steps = report.0["cost"]["steps"].as_array().context("a report without steps")?;
                ensure!(steps.is_empty(), "the profiler recorded less: {steps:?}");
                Ok(())
            }
        }
    }
}

/// A running tool.
pub struct Process(Running);

impl Process {
    fn start(command: Command) -> Result<Self> {
        let process = Self(Running::start(command)?);
        let started = Instant::now();
        let (mut before, mut since) = (0, started);
        while before == 0 || since.elapsed() < SETTLED {
            if started.elapsed() > TO_ATTACH {
                match process.0.finish(Duration::ZERO) {
                    Ok(finished) => bail!("it ended before it was attached: {}", last_words(&finished)),
                    Err(_) => bail!("it was not attached after {TO_ATTACH:?}"),
                }
            }
            thread::sleep(LOOK_AGAIN);
            let now = hooks(process.0.pid());
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        Ok(process)
    }

    fn stop(self) -> Result<()> {
        let was_attached = hooks(self.0.pid()) > 0;
        self.0.signal(libc::SIGINT);
        let Ok(finished) = self.0.finish(TO_END) else {
            bail!("it still ran {TO_END:?} after the signal to end");
        };
        // Some end by the signal, which is no failure of theirs, and some end well by themselves when their targets have ended.
        ensure!(
            was_attached || finished.status.success(),
            "it ended before the workload: {}",
            last_words(&finished)
        );
        Ok(())
    }
}

/// What it said last, for one line of a table.
fn last_words(finished: &Finished) -> String {
    let line = finished.stderr.lines().rfind(|line| !line.trim().is_empty());
    line.map_or_else(|| finished.status.to_string(), |line| format!("`{}`", line.trim()))
}

/// How many of a process's descriptors are perf events, or programs and links of the kernel's virtual machine.
fn hooks(pid: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let names = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let is_hook =
        |name: &str| ["[perf_event]", "bpf-prog", "bpf_link"].iter().any(|kind| name.contains(kind));
    names.filter(|name| is_hook(&name.to_string_lossy())).count()
}
