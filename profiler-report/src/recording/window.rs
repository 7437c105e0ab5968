//! Windows: what was seen from one moment to another. They add up: a recording is the sum of its windows.

use super::ThreadId;
use super::block_io::BlockIoRows;
use super::cost::Cost;
use super::locks::LockRows;
use super::machine::Machine;
use super::quality::Quality;
use super::stacks::Sample;
use super::sum::{Sum, add_number, add_rows};
use super::threads::{ThreadTimes, TimeInState};
use super::wait_times::WaitTimes;

/// What was seen from one moment to another. Rows refer to the tables of the recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// CLOCK_MONOTONIC.
    pub from_ns: u64,
    pub to_ns: u64,
    /// A row for each thread that lived in it.
    pub ledger: Vec<ThreadTimes>,
    pub samples: Vec<Sample>,
    pub wait_times: Vec<WaitTimes>,
    pub block_io: BlockIoRows,
    pub locks: LockRows,
    pub machine: Machine,
    pub quality: Quality,
    pub cost: Cost,
}

impl Window {
    pub fn elapsed_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }

    /// Rows of all tables together: what it takes of memory is some 30 to 100 bytes for each.
    pub fn rows(&self) -> usize {
        let states: usize = self.ledger.iter().map(|times| 1 + times.states.len()).sum();
        states + self.samples.len() + self.block_io.len() + self.locks.len()
    }
}

impl Sum for Window {
    /// `later` begins where this one ends.
    fn add(&mut self, later: &Self) {
        self.to_ns = later.to_ns;
        add_rows(&mut self.ledger, &later.ledger);
        add_rows(&mut self.samples, &later.samples);
        add_rows(&mut self.wait_times, &later.wait_times);
        self.block_io.add(&later.block_io);
        self.locks.add(&later.locks);
        self.machine.add(&later.machine);
        self.quality.add(&later.quality);
        self.cost.add(&later.cost);
    }
}

/// The windows of a recording that continues: at most this number, however long it lasts.
///
/// When there are too many, each two neighbours become one, and later windows are twice as long. So a recording of an
/// hour has windows of two minutes, and none of it costs more memory than the first minute.
#[derive(Clone, Debug)]
pub struct Windows {
    windows: Vec<Window>,
    period_ns: u64,
}

/// Most windows of a recording.
pub const MOST_WINDOWS: usize = 60;
/// Rows of all windows together: some 50 bytes each, 25 MiB. A machine with 10,000 threads, each in two states in each
/// window, reaches it after 17 windows.
const MOST_ROWS: usize = 1 << 19;
/// Length of a window at first.
const FIRST_PERIOD_NS: u64 = 1_000_000_000;

impl Default for Windows {
    fn default() -> Self {
        Self { windows: vec![], period_ns: FIRST_PERIOD_NS }
    }
}

impl Windows {
    /// How long the next window is to be.
    pub fn period_ns(&self) -> u64 {
        self.period_ns
    }

    /// Where the last window ended; none before the first.
    pub fn ended_at_ns(&self) -> Option<u64> {
        self.windows.last().map(|window| window.to_ns)
    }

    /// Adds the next window.
    pub fn push(&mut self, window: Window) {
        self.windows.push(window);
        while self.windows.len() > 1 && (self.windows.len() >= MOST_WINDOWS || self.rows() > MOST_ROWS) {
            self.windows = halved(std::mem::take(&mut self.windows));
            self.period_ns = self.period_ns.saturating_mul(2);
        }
    }

    fn rows(&self) -> usize {
        self.windows.iter().map(Window::rows).sum()
    }

    /// Moves time of a thread's wait to another state, in the windows that it was in: its reason turned out to be
    /// another one only after they had ended. The wait lasted up to the end of the last window.
    pub fn move_time(&mut self, thread: ThreadId, from: u32, to: u32, ns: u64) {
        let mut left = ns;
        for window in self.windows.iter_mut().rev() {
            let Some(times) = window.ledger.iter_mut().find(|times| times.thread == thread) else { continue };
            let Ok(at) = times.states.binary_search_by_key(&from, |time| time.state) else { continue };
            let moved = times.states[at].ns.min(left);
            times.states[at].ns -= moved;
            match times.states.binary_search_by_key(&to, |time| time.state) {
                Ok(at) => add_number(&mut times.states[at].ns, moved),
                Err(at) => times.states.insert(at, TimeInState { state: to, ns: moved, count: 0 }),
            }
            times.states.retain(|time| time.ns > 0 || time.count > 0);
            left -= moved;
            if left == 0 {
                break;
            }
        }
    }

    /// All of them. A last one of less than half the length of the others is part of its neighbour.
    pub fn finish(mut self) -> Vec<Window> {
        let is_short = |window: &Window| window.elapsed_ns() < self.period_ns / 2;
        if self.windows.len() > 1
            && let Some(last) = self.windows.pop_if(|last| is_short(last))
            && let Some(neighbour) = self.windows.last_mut()
        {
            neighbour.add(&last);
        }
        self.windows
    }
}

/// Each two neighbours as one.
fn halved(windows: Vec<Window>) -> Vec<Window> {
    let mut halved = Vec::with_capacity(windows.len().div_ceil(2));
    let mut windows = windows.into_iter();
    while let Some(mut window) = windows.next() {
        if let Some(later) = windows.next() {
            window.add(&later);
        }
        halved.push(window);
    }
    halved
}
