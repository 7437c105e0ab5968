//! A command that exists before it begins, so that a tool can be attached to it first.
//!
//! In: the words of a command. Out: a process that is stopped right before it becomes that command, and later its output.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use profiler_tests::running::{Running, wait_until};

/// Becomes its arguments once somebody lets it go on.
const STOP_FIRST: &str = r#"kill -STOP $$; exec "$@""#;
const TO_STOP: Duration = Duration::from_secs(10);
/// The slowest workload under the slowest tool.
const TO_END: Duration = Duration::from_secs(120);

/// A command that has not begun.
#[derive(Debug)]
pub struct Held(Running);

impl Held {
    /// Starts it, and waits until it is stopped.
    pub fn start(words: &[String]) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", STOP_FIRST, "sh"]).args(words);
        let running = Running::start(shell)?;
        let stat = format!("/proc/{}/stat", running.pid());
        // The state is the field behind the name, which may have spaces.
        let is_stopped = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
        wait_until("the command waits for its start", TO_STOP, is_stopped)?;
        Ok(Self(running))
    }

    /// Its process, before and after the start.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets it go, waits for its successful end, and returns what it printed.
    pub fn output(self) -> Result<String> {
        self.0.signal(libc::SIGCONT);
        let finished = self.0.finish(TO_END)?;
        ensure!(finished.status.success(), "it failed: {finished:?}");
        Ok(finished.stdout)
    }
}
