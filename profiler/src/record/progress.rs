//! The progress line on stderr.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use profiler_common::stat::Stat;

use crate::{collect::Collector, kernel::Kernel, notice};

/// The line is written again this often.
const PERIOD: Duration = Duration::from_millis(500);

/// Writes the line, if stderr is a terminal and the user wants it.
pub struct Progress {
    visible: bool,
    start: Instant,
    next: Instant,
    duration: Option<Duration>,
}

impl Progress {
    pub fn new(wanted: bool, duration: Option<Duration>) -> Self {
        let start = Instant::now();
        Self { visible: wanted && notice::stderr_can_erase(), start, next: start, duration }
    }

    /// Shows the state if it is time.
    pub fn show(&mut self, collector: &Collector, kernel: &Kernel) -> Result<()> {
        let now = Instant::now();
        if !self.visible || now < self.next {
            return Ok(());
        }
        self.next = now + PERIOD;
        let (on_cpu, off_cpu) = collector.sample_counts();
        let lost: u64 =
            kernel.stats()?.into_iter().filter(|(stat, _)| is_loss(*stat)).map(|(_, count)| count).sum();
        let line = line(now - self.start, self.duration, on_cpu, off_cpu, lost);
        // A line that wraps cannot be taken back.
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        let columns = size.map_or(80, |size| usize::from(size.ws_col).max(2));
        let line: String = line.chars().take(columns - 1).collect();
        // A terminal that went away is no reason to lose the recording.
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        Ok(())
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.visible {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn is_loss(stat: Stat) -> bool {
    matches!(
        stat,
        Stat::OnCpuDropped
            | Stat::OffCpuDropped
            | Stat::ThreadsFull
            | Stat::EndsDropped
            | Stat::ProcessEventsDropped
    )
}

fn line(passed: Duration, duration: Option<Duration>, on_cpu: u64, off_cpu: u64, lost: u64) -> String {
    let passed = passed.as_secs_f64();
    let until = duration.map_or_else(
        || " (Ctrl-C to stop)".to_owned(),
        |duration| format!(" of {:.0} s", duration.as_secs_f64()),
    );
    format!("recording: {passed:.1} s{until}; stacks: {on_cpu} on CPU, {off_cpu} off CPU, {lost} lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_time_samples_and_losses() {
        assert_eq!(
            line(Duration::from_millis(2500), Some(Duration::from_secs(10)), 120, 30, 1),
            "recording: 2.5 s of 10 s; stacks: 120 on CPU, 30 off CPU, 1 lost"
        );
        assert_eq!(
            line(Duration::from_secs(1), None, 0, 0, 0),
            "recording: 1.0 s (Ctrl-C to stop); stacks: 0 on CPU, 0 off CPU, 0 lost"
        );
    }
}
