//! Processes and threads: who they are, and their time in each state, by window and added up.

use serde::{Deserialize, Serialize};

use super::sum::{Keyed, Sum, add_number};
use super::{ProcessId, ProcessIo, ThreadId};

/// One process, by the ids of the profiler's PID namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    pub tgid: u32,
    pub comm: String,
    /// Command line, arguments joined by spaces; empty if it could not be read in time.
    pub command_line: String,
    /// What the kernel itself counted of its reads and writes, where both edges could be read.
    pub io: Option<ProcessIo>,
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thread {
    pub process: ProcessId,
    pub tid: u32,
    pub comm: String,
    /// From when to when the recording has to account for this thread: the part of its life inside the recording.
    pub from_ns: u64,
    pub to_ns: u64,
    pub born_inside: bool,
    pub ended_inside: bool,
    pub kernel_thread: bool,
    /// What the kernel itself counted for this thread over the same time, where both edges could be read.
    pub kernel_counters: Option<KernelCounters>,
}

/// The time of one thread in one window.
///
/// A window is not cut for all threads at the same moment: an account that changes while the accounts are read is cut
/// at that change. So each thread has its own [`ThreadTimes::elapsed_ns`], and its states add up to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    pub thread: ThreadId,
    /// Time to account for.
    pub elapsed_ns: u64,
    /// Switches away from the CPU that the thread did not ask for.
    pub preemptions: u32,
    /// States with any time or any end of an interval, by code.
    pub states: Vec<TimeInState>,
}

/// Time of one thread in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeInState {
    /// `profiler_common::state` code.
    pub state: u32,
    pub ns: u64,
    /// Intervals that ended. An interval that is open at the end of the recording counts as ended there.
    pub count: u32,
}

impl Sum for TimeInState {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.ns, later.ns);
        self.count = self.count.saturating_add(later.count);
    }
}

impl Keyed for TimeInState {
    type Key = u32;

    fn key(&self) -> u32 {
        self.state
    }
}

impl Sum for ThreadTimes {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.elapsed_ns, later.elapsed_ns);
        self.preemptions = self.preemptions.saturating_add(later.preemptions);
        for time in &later.states {
            match self.states.binary_search_by_key(&time.state, |known| known.state) {
                Ok(at) => self.states[at].add(time),
                Err(at) => self.states.insert(at, *time),
            }
        }
    }
}

impl Keyed for ThreadTimes {
    type Key = ThreadId;

    fn key(&self) -> ThreadId {
        self.thread
    }
}

/// The kernel's own account of a thread, as differences over the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelCounters {
    /// `/proc/PID/task/TID/schedstat`, first field.
    pub run_ns: u64,
    /// `/proc/PID/task/TID/schedstat`, second field: time on a run queue.
    pub run_queue_ns: u64,
    /// `/proc/PID/task/TID/stat`, utime; in units of a clock tick, mostly 10 ms.
    pub user_ns: u64,
    /// `/proc/PID/task/TID/stat`, stime.
    pub system_ns: u64,
    /// What the ledger had at the same two readings, which lie a little inside the recording.
    pub elapsed_ns: u64,
}
