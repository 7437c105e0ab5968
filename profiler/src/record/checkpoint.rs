//! Saves what has been recorded so far from time to time, so that it outlives this process.
//!
//! A child that is forked for it has the memory of that moment, and closes the books of it; the recording goes on meanwhile. In:
//! a [`Save`]. Out: files that the caller removes when the results are written.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::host;
use profiler_report::recording::Recording;

/// Most of a recording that is lost when the profiler is killed …
const PERIOD: Duration = Duration::from_secs(10);
/// … unless a child takes more than one part in this number of one CPU.
const SPARSITY: u32 = 500;

/// Where a recording is saved that is under way.
pub struct Save(Box<dyn SaveFn>);

trait SaveFn: Fn(&Recording) -> io::Result<()> + Send {}
impl<F: Fn(&Recording) -> io::Result<()> + Send> SaveFn for F {}

impl Save {
    pub fn new(save: impl Fn(&Recording) -> io::Result<()> + Send + 'static) -> Self {
        Self(Box::new(save))
    }

    pub fn save(&self, recording: &Recording) -> io::Result<()> {
        (self.0)(recording)
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Save")
    }
}

/// When to save, and who is at it.
#[derive(Debug)]
pub struct Checkpoints {
    next: Instant,
    child: Option<libc::pid_t>,
    /// CPU time of the children that have ended.
    cpu_ns: u64,
}

impl Checkpoints {
    /// The first is due after a whole period.
    pub fn new() -> Self {
        Self { next: Instant::now() + PERIOD, child: None, cpu_ns: 0 }
    }

    /// Whether it is time for another one, and the last one is done.
    pub fn is_due(&mut self) -> bool {
        if Instant::now() < self.next {
            return false;
        }
        self.wait(libc::WNOHANG);
        self.child.is_none() && Instant::now() >= self.next
    }

    /// Forks, and tells whether this is the child, which then has to [`end_with`] its work. Without one (the machine has no room for
    /// it) the next period tries again.
    pub fn fork(&mut self) -> bool {
        self.next = Instant::now() + PERIOD;
        // SAFETY: the child does one thing and ends. Of this process's other threads, one waits in a system call without a lock, and
        // the C library makes its own locks usable for the child.
        match unsafe { libc::fork() } {
            0 => true,
            child => {
                self.child = (child > 0).then_some(child);
                false
            }
        }
    }

    /// Waits for the last child, and tells the CPU time of all in nanoseconds.
    pub fn finish(&mut self) -> u64 {
        self.wait(0);
        self.cpu_ns
    }

    fn wait(&mut self, options: libc::c_int) {
        let Some(child) = self.child else { return };
        // SAFETY: an all-zero `rusage` is valid; the call fills it.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both places are valid, or may be null.
        let waited = unsafe { libc::wait4(child, std::ptr::null_mut(), options, &raw mut usage) };
        if waited == 0 {
            return;
        }
        self.child = None;
        if waited == child {
            let cpu_ns = host::cpu_ns(&usage);
            self.cpu_ns += cpu_ns;
            self.next += Duration::from_nanos(cpu_ns) * SPARSITY;
        }
    }
}

/// This process is the child: it does its work and ends. What fails leaves the file of the time before.
pub fn end_with(work: impl FnOnce() -> Result<()>) -> ! {
    // They would be reported to the parent too, by the pipe that both have.
    host::restore_default(libc::SIGINT);
    host::restore_default(libc::SIGTERM);
    let done = catch_unwind(AssertUnwindSafe(work)).is_ok_and(|done| done.is_ok());
    // SAFETY: ends the process at once: nothing of the parent's may be dropped here.
    unsafe { libc::_exit(i32::from(!done)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_cpu_ns() -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    #[test]
    fn a_child_does_its_work_beside_and_is_paid_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut checkpoints = Checkpoints::new();
        assert!(!checkpoints.is_due());
        let path = file.path().to_owned();
        if checkpoints.fork() {
            end_with(|| {
                while own_cpu_ns() < 30_000_000 {}
                Ok(std::fs::write(path, "done")?)
            });
        }
        // The kernel may charge CPU time by ticks, of at most 10 ms.
        assert!(checkpoints.finish() >= 20_000_000);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "done");
        assert!(checkpoints.next > Instant::now() + PERIOD, "a dear one makes the next one later");
    }

    #[test]
    fn a_child_that_panics_ends_there() {
        let mut checkpoints = Checkpoints::new();
        if checkpoints.fork() {
            // Without the panic's message: another test's thread may have held the lock of its output when this process was forked.
            end_with(|| std::panic::resume_unwind(Box::new("on purpose")));
        }
        checkpoints.finish();
        assert_eq!(checkpoints.child, None);
    }
}
