//! Processes that tests and benchmarks start: workloads, and commands that must end in time.
//!
//! In: a program and its arguments. Out: a running [`Workload`] that is surely gone when it is dropped, or a
//! [`Finished`] command with all that it printed. Knows nothing of `profiler`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How often a wait that has no descriptor to sleep on looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// 88,761 parts of a CPU beside 1,024 of a usual thread (kernel/sched/core.c, `sched_prio_to_weight`).
const STRONGEST_NICENESS: libc::c_int = -20;

/// Lets the thread that calls run before all threads of the usual kind: a device that we play, or who reads counters, is not to wait
/// for a CPU. It must not run for long. Without the privilege it stays as it is.
pub fn run_before_others() {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads one `sched_param`; zero is the thread that calls.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) };
}

/// A running workload, in a process group of its own. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    output: BufReader<ChildStdout>,
    pids: Vec<u32>,
}

impl Workload {
    /// Starts the workload `name` of `directory` and waits until it says that it is in its steady state.
    pub fn start(directory: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(directory.join(name));
        command.args(arguments);
        Self::start_command(command)
    }

    /// The same with the strongest niceness, for workloads whose truth is what they wait for beside CPUs: it gets those that it wants
    /// before whatever else of its session runs. (Other sessions may be scheduled as groups of their own, beside which it counts for less.)
    pub fn start_urgent(directory: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(directory.join(name));
        command.args(arguments);
        // SAFETY: one system call, which is safe after a fork.
        unsafe {
            command.pre_exec(|| match libc::setpriority(libc::PRIO_PROCESS, 0, STRONGEST_NICENESS) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        Self::start_command(command)
    }

    /// The same for a command that ends in a workload, such as `unshare … spin`.
    pub fn start_command(mut command: Command) -> Result<Self> {
        let words = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("failed to start {words}"))?;
        let output = BufReader::new(child.stdout.take().context("standard output was piped")?);
        let mut workload = Self { child, output, pids: Vec::new() };
        let mut line = String::new();
        workload.output.read_line(&mut line)?;
        let mut words_of_line = line.split_whitespace();
        ensure!(words_of_line.next() == Some("ready"), "{words} did not get ready: it printed `{line}`");
        workload.pids = words_of_line.map(str::parse).collect::<Result<_, _>>()?;
        Ok(workload)
    }

    /// The process that said that it is ready, or the first of several.
    pub fn pid(&self) -> u32 {
        self.pids[0]
    }

    /// All processes that said so.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// The process that was started.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All processes that said so, as `profiler -p` takes them.
    pub fn pid_list(&self) -> String {
        self.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }

    /// Waits for the end and returns what the workload knows to be true.
    pub fn truth(mut self) -> Result<Value> {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        last_json_line(&rest)
    }

    /// Sends a signal to each process of the workload that is still there.
    pub fn signal(&self, signal: i32) {
        send_signal_to_group(&self.child, signal);
    }

    /// Whether the process that was started is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        send_signal_to_group(&self.child, libc::SIGKILL);
        // A failure to wait leaves a zombie until this process ends, which harms nobody.
        let _ = self.child.wait();
    }
}

fn send_signal_to_group(child: &Child, signal: i32) {
    // SAFETY: `kill` takes numbers. The group is that of a child that has not been waited for, so it is still ours.
    unsafe { libc::kill(-(child.id() as i32), signal) };
}

/// The last line of a workload's output, which holds its truth.
pub fn last_json_line(output: &str) -> Result<Value> {
    let line = output.lines().last().context("the workload printed nothing at its end")?;
    serde_json::from_str(line).with_context(|| format!("not a line of JSON: `{line}`"))
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs, with its output going to files, so that it never waits for a reader. Dropping it kills it
/// and all that is left of its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    words: String,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts the command.
    pub fn start(mut command: Command) -> Result<Self> {
        let words = format!("{command:?}");
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
        let child = command.spawn().with_context(|| format!("failed to start {words}"))?;
        Ok(Self { child, words, stdout, stderr })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: `kill` takes numbers. The child has not been waited for, so the number is still its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Waits for its end, and fails if that does not come within `limit`.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(started.elapsed() < limit, "still running after {limit:?}: {}", self.words);
            thread::sleep(LOOK_AGAIN);
        };
        Ok(Finished { status, stdout: content(&mut self.stdout)?, stderr: content(&mut self.stderr)? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            send_signal_to_group(&self.child, libc::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn content(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command to its end.
pub fn run(command: Command, limit: Duration) -> Result<Finished> {
    Running::start(command)?.finish(limit)
}

/// Looks until `condition` holds, and fails if it does not within `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !condition() {
        ensure!(started.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
