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

use crate::report::{Report, check_within};
use crate::running::run_before_others;

/// Time between two readings.
const PERIOD: Duration = Duration::from_millis(5);

/// How wrong the run time can be at an edge: the kernel brings that of a running thread up to date at its tick, which is 10 ms at the
/// longest.
pub const EDGE_SECONDS: f64 = 0.01;

/// What the kernel has counted for a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    pub run_seconds: f64,
    /// Ready for a CPU without one.
    pub run_queue_seconds: f64,
    /// By how much either may be more or less: what came between the readings on both sides of an edge.
    pub uncertain_seconds: f64,
    /// What a hypervisor took of the machine during the watch, some of it while the thread had a CPU: the kernel takes that out
    /// of its run time, and to the ledger the thread was on its CPU.
    pub stolen_seconds: f64,
}

impl Counters {
    /// Neither on a CPU nor ready for one, of a time that the thread was there for.
    pub fn blocked_seconds(&self, whole: f64) -> f64 {
        whole - self.run_seconds - self.run_queue_seconds
    }

    /// The time on a CPU in the ledger is what the kernel has counted, and at most what was stolen on top.
    #[track_caller]
    pub fn check_on_cpu(&self, found: f64, tolerance: f64) {
        check_within(
            "on a CPU",
            found,
            self.run_seconds - tolerance,
            self.run_seconds + tolerance + self.stolen_seconds,
        );
    }

    /// How wrong the counters of a recording may be.
    pub fn tolerance(&self) -> f64 {
        self.uncertain_seconds + 2.0 * EDGE_SECONDS
    }
}

/// Seconds for which the threads of a process have run so far.
pub fn run_seconds(pid: u32) -> f64 {
    let mut readings = Readings::new();
    read_process(pid, &mut readings);
    readings.values().flatten().map(|reading| reading.run_ns as f64 / 1e9).sum()
}

/// Seconds for which a hypervisor has had the CPUs of this machine, which the kernel takes out of the run time of threads: field 8 of
/// `/proc/stat`, in hundredths, each CPU's cut to whole ones.
pub fn stolen_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("the kernel's counters");
    let ticks = text.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse::<f64>().ok());
    ticks.expect("a kernel since 2.6.11") / 100.0
}

/// The same since an earlier reading, and a tick more if there is any.
pub fn stolen_since(before: f64) -> f64 {
    let stolen = stolen_seconds() - before;
    if stolen > 0.0 { stolen + EDGE_SECONDS } else { 0.0 }
}

/// The counters of a thread, read some time between two moments.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names, reason = "the unit ends the name")]
struct Reading {
    from_unix_ns: u64,
    to_unix_ns: u64,
    run_ns: u64,
    run_queue_ns: u64,
}

type Readings = BTreeMap<u32, Vec<Reading>>;

/// A watch that is going on.
#[derive(Debug)]
pub struct Watch {
    stolen_before: f64,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Readings>,
}

/// A watch that is over.
#[derive(Debug)]
pub struct Watched {
    readings: Readings,
    stolen_seconds: f64,
}

impl Watch {
    /// Starts to read the counters of all threads of these processes.
    pub fn start(pids: Vec<u32>) -> Self {
        let stolen_before = stolen_seconds();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = thread::spawn(move || {
            run_before_others();
            let mut readings = Readings::new();
            while !stopped.load(Ordering::Relaxed) {
                read_processes(&pids, &mut readings);
                thread::sleep(PERIOD);
            }
            read_processes(&pids, &mut readings);
            readings
        });
        Self { stolen_before, stop, reader }
    }

    /// Ends the watch with a last reading.
    pub fn stop(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        let readings = self.reader.join().expect("the reader does not panic");
        Watched { readings, stolen_seconds: stolen_since(self.stolen_before) }
    }
}

impl Watched {
    /// What each thread used between two moments, in nanoseconds since 1970.
    pub fn between(&self, (from_ns, to_ns): (u64, u64)) -> BTreeMap<u32, Counters> {
        let used = |readings: &Vec<Reading>| {
            let (from, to) = (around(readings, from_ns), around(readings, to_ns));
            let middle = |value: fn(&Reading) -> u64| {
                let at = |(before, after): (Reading, Reading)| value(&before) as f64 + value(&after) as f64;
                (at(to) - at(from)) / 2e9
            };
            // A thread id that is used again starts at zero.
            let width = |(before, after): (Reading, Reading)| {
                let run = after.run_ns.saturating_sub(before.run_ns);
                (run + after.run_queue_ns.saturating_sub(before.run_queue_ns)) as f64 / 1e9
            };
            Counters {
                run_seconds: middle(|reading| reading.run_ns),
                run_queue_seconds: middle(|reading| reading.run_queue_ns),
                uncertain_seconds: f64::midpoint(width(from), width(to)),
                stolen_seconds: self.stolen_seconds,
            }
        };
        self.readings.iter().map(|(tid, readings)| (*tid, used(readings))).collect()
    }

    /// A thread was blocked in this state alone, for as long as the kernel counts it neither as running nor as ready: ±1 %, what
    /// the counters may be wrong by at each edge, and less by what was stolen.
    #[track_caller]
    pub fn check_blocked(&self, report: &Report, tid: u32, state: &str) {
        let (thread, counted) = (report.thread(tid), self.between(report.interval_unix_ns())[&tid]);
        let expected = counted.blocked_seconds(report.elapsed());
        let tolerance = 0.01 * report.elapsed() + counted.tolerance();
        // With its other states: where time is missing in this one, it is in another.
        let what = format!("`{state}` of thread {tid} ({})", thread.0["states"]);
        let least = expected - tolerance - counted.stolen_seconds;
        check_within(&what, thread.seconds(state), least, expected + tolerance);
    }

    /// The sum of that over all threads.
    pub fn sum_between(&self, interval: (u64, u64)) -> Counters {
        self.between(interval).values().fold(Counters::default(), |sum, used| Counters {
            run_seconds: sum.run_seconds + used.run_seconds,
            run_queue_seconds: sum.run_queue_seconds + used.run_queue_seconds,
            uncertain_seconds: sum.uncertain_seconds + used.uncertain_seconds,
            // Of the machine, not of a thread.
            stolen_seconds: self.stolen_seconds,
        })
    }
}

/// The last reading before a moment, and the first one after it that differs: a wait for a CPU is counted when it ends, so one that goes
/// on at that moment is in the latter. Where there is none, the nearest.
fn around(readings: &[Reading], unix_ns: u64) -> (Reading, Reading) {
    let before =
        readings[readings.partition_point(|reading| reading.to_unix_ns <= unix_ns).saturating_sub(1)];
    let differs =
        |reading: &&Reading| (reading.run_ns, reading.run_queue_ns) != (before.run_ns, before.run_queue_ns);
    let mut later = readings.iter().filter(|reading| reading.from_unix_ns >= unix_ns);
    (before, later.find(differs).copied().unwrap_or(before))
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
        let from_ns = unix_ns();
        let text = fs::read_to_string(task.path().join("schedstat"));
        if let (Some(tid), Some(reading)) = (tid, text.ok().and_then(|text| parse(&text, from_ns))) {
            readings.entry(tid).or_default().push(reading);
        }
    }
}

/// `run_ns run_queue_ns timeslices`, read since this moment.
fn parse(schedstat: &str, from_unix_ns: u64) -> Option<Reading> {
    let mut numbers = schedstat.split_whitespace().map(str::parse);
    let (run_ns, run_queue_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Reading { from_unix_ns, to_unix_ns: unix_ns(), run_ns, run_queue_ns })
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Reading, Watched};

    fn reading(from_unix_ns: u64, run_ns: u64, run_queue_ns: u64) -> Reading {
        Reading { from_unix_ns, to_unix_ns: from_unix_ns + 1, run_ns, run_queue_ns }
    }

    /// Nanoseconds of run time, of run-queue time, and how uncertain they are.
    #[track_caller]
    fn check(interval: (u64, u64), expected: [u64; 3]) {
        let readings =
            [reading(100, 10, 0), reading(200, 10, 0), reading(300, 60, 40), reading(400, 160, 40)];
        let readings = BTreeMap::from([(7, readings.to_vec())]);
        let counted = Watched { readings, stolen_seconds: 0.0 }.between(interval)[&7];
        let found = [counted.run_seconds, counted.run_queue_seconds, counted.uncertain_seconds];
        assert_eq!(found.map(|seconds| (seconds * 1e9).round() as u64), expected);
    }

    #[test]
    fn an_edge_lies_between_two_readings() {
        // 10 to 60 and 0 to 40 at the first; 60 to 160 and 40 at the second.
        check((250, 350), [75, 20, 95]);
    }

    #[test]
    fn a_wait_that_goes_on_is_in_the_next_reading_that_differs() {
        check((150, 350), [75, 20, 95]);
    }

    #[test]
    fn outside_the_watch_counters_stand_still() {
        check((450, 500), [0, 0, 0]);
    }
}
