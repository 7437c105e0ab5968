//! The kernel's own account of threads, read beside a recording: `/proc/PID/task/TID/schedstat`.
//!
//! In: process ids. Out: run time and run-queue time of their threads over any interval within the watch. The readings
//! are taken all the time, so that the recording's own edges can be used: nobody has to guess when it really began.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::report::{Report, check_near};

/// Time between two readings. The counters are taken as linear in between, so the error at each edge is a part of this.
const PERIOD: Duration = Duration::from_millis(5);

/// How wrong the counters can be at an edge: the kernel brings those of a running thread up to date at its tick, which is 10 ms at the
/// longest, and adds a wait for a CPU when it ends.
pub const EDGE_SECONDS: f64 = 0.01;

/// The strongest niceness: beside others that are busy, the readings are to be no later than the kernel's own.
const STRONGEST: libc::c_int = -20;

/// What the kernel has counted for a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    pub run_seconds: f64,
    /// Ready for a CPU without one.
    pub run_queue_seconds: f64,
}

impl Counters {
    /// Neither on a CPU nor ready for one, of a time that the thread was there for.
    pub fn blocked_seconds(&self, whole: f64) -> f64 {
        whole - self.run_seconds - self.run_queue_seconds
    }
}

/// The counters of a thread at one moment.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names, reason = "the unit ends the name")]
struct Reading {
    unix_ns: u64,
    run_ns: u64,
    run_queue_ns: u64,
}

type Readings = BTreeMap<u32, Vec<Reading>>;

/// A watch that is going on.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Readings>,
}

/// A watch that is over.
#[derive(Debug)]
pub struct Watched(Readings);

impl Watch {
    /// Starts to read the counters of all threads of these processes.
    pub fn start(pids: Vec<u32>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = thread::spawn(move || {
            // SAFETY: the call takes numbers; zero is the thread that calls. Without the privilege it stays as it is.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, STRONGEST) };
            let mut readings = Readings::new();
            while !stopped.load(Ordering::Relaxed) {
                read_processes(&pids, &mut readings);
                thread::sleep(PERIOD);
            }
            read_processes(&pids, &mut readings);
            readings
        });
        Self { stop, reader }
    }

    /// Ends the watch with a last reading.
    pub fn stop(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        Watched(self.reader.join().expect("the reader does not panic"))
    }
}

impl Watched {
    /// What each thread used between two moments, in nanoseconds since 1970.
    pub fn between(&self, (from_ns, to_ns): (u64, u64)) -> BTreeMap<u32, Counters> {
        let used = |readings: &Vec<Reading>| {
            let (from, to) = (at(readings, from_ns), at(readings, to_ns));
            Counters { run_seconds: (to.0 - from.0) / 1e9, run_queue_seconds: (to.1 - from.1) / 1e9 }
        };
        self.0.iter().map(|(tid, readings)| (*tid, used(readings))).collect()
    }

    /// A thread was blocked in this state alone, for as long as the kernel counts it neither as running nor as ready: ±1 %, and what
    /// the counters may be wrong by at each edge.
    #[track_caller]
    pub fn check_blocked(&self, report: &Report, tid: u32, state: &str) {
        let (thread, counted) = (report.thread(tid), self.between(report.interval_unix_ns())[&tid]);
        let expected = counted.blocked_seconds(report.elapsed());
        let tolerance = 0.01 * report.elapsed() + 2.0 * EDGE_SECONDS;
        check_near(&format!("`{state}` of thread {tid}"), thread.seconds(state), expected, tolerance);
    }

    /// The sum of that over all threads.
    pub fn sum_between(&self, interval: (u64, u64)) -> Counters {
        self.between(interval).values().fold(Counters::default(), |sum, used| Counters {
            run_seconds: sum.run_seconds + used.run_seconds,
            run_queue_seconds: sum.run_queue_seconds + used.run_queue_seconds,
        })
    }
}

/// Run time and run-queue time at a moment: between two readings on the line from one to the other, outside of them as
/// in the nearest one.
fn at(readings: &[Reading], unix_ns: u64) -> (f64, f64) {
    let after = readings.partition_point(|reading| reading.unix_ns < unix_ns);
    let left = readings[after.saturating_sub(1)];
    let right = readings[after.min(readings.len() - 1)];
    let length = right.unix_ns.saturating_sub(left.unix_ns);
    let part = if length == 0 { 0.0 } else { (unix_ns - left.unix_ns) as f64 / length as f64 };
    // A thread id that is used again starts anew.
    let between = |left: u64, right: u64| left as f64 + right.saturating_sub(left) as f64 * part;
    (between(left.run_ns, right.run_ns), between(left.run_queue_ns, right.run_queue_ns))
}

fn read_processes(pids: &[u32], readings: &mut Readings) {
    for pid in pids {
        read_process(*pid, readings);
    }
}

/// Threads that end while they are read are left as they were.
fn read_process(pid: u32, readings: &mut Readings) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for task in tasks.flatten() {
        let tid = task.file_name().to_str().and_then(|name| name.parse().ok());
        let text = fs::read_to_string(task.path().join("schedstat"));
        if let (Some(tid), Some(reading)) = (tid, text.ok().and_then(|text| parse(&text))) {
            readings.entry(tid).or_default().push(reading);
        }
    }
}

/// `run_ns run_queue_ns timeslices`.
fn parse(schedstat: &str) -> Option<Reading> {
    let mut numbers = schedstat.split_whitespace().map(str::parse);
    let (run_ns, run_queue_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64;
    Some(Reading { unix_ns, run_ns, run_queue_ns })
}

#[cfg(test)]
mod tests {
    use super::{Reading, at};

    const READINGS: [Reading; 2] = [
        Reading { unix_ns: 100, run_ns: 10, run_queue_ns: 0 },
        Reading { unix_ns: 200, run_ns: 60, run_queue_ns: 40 },
    ];

    #[track_caller]
    fn check(unix_ns: u64, expected: (f64, f64)) {
        assert_eq!(at(&READINGS, unix_ns), expected);
    }

    #[test]
    fn between_two_readings_counters_grow_evenly() {
        check(150, (35.0, 20.0));
    }

    #[test]
    fn outside_the_watch_counters_stand_still() {
        check(50, (10.0, 0.0));
        check(300, (60.0, 40.0));
    }
}
