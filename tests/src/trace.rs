//! An account of threads that owes nothing to `profiler`: the kernel's own trace of each wake-up and each switch, taken
//! from tracefs while `profiler` records.
//!
//! In: processes and a recording to make. Out: for each thread its time on a CPU, ready for one, and blocked, within the
//! recording, and the time that may be any of them. A trace whose buffer has lost events fails the test. Beyond that,
//! some kernels keep the events of some threads (the idle thread of one CPU, for instance) from tracefs and from perf
//! alike, without a count of them; that shows as a thread that leaves a CPU twice without entering one in between. Where a whole
//! round of it is missing, nothing shows: so the trace's switches are counted against those in `/proc/PID/status`, and one
//! that lacks too many is no truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::Live;
use crate::report::Report;

/// A trace of our own, which nobody else's switches off or fills.
const INSTANCE: &str = "/sys/kernel/tracing/instances/profiler-tests";
/// For each CPU. 100,000 events a second of 70 bytes each fill it in 4.6 s.
const BUFFER_KIB: &str = "32768";

/// How long a thread was in which kind of state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    pub on_cpu_ns: u64,
    /// Ready for a CPU: from a wake-up, a preemption or a yield to the entry into a CPU.
    pub run_queue_ns: u64,
    pub blocked_ns: u64,
    /// Any of the three: between two events with another missing in between.
    pub unknown_ns: u64,
}

/// What the trace tells.
#[derive(Debug)]
pub struct Traced {
    pub times: BTreeMap<u32, Times>,
    /// Share of the threads' switches that it has, by the kernel's own count.
    pub seen: f64,
}

/// Records with these arguments, and traces all threads of these processes meanwhile. They may not start threads.
#[track_caller]
pub fn record(live: &Live, pids: &[u32], arguments: &[&str]) -> (Report, Traced) {
    let tids = threads_of(pids);
    let instance = Instance::start(&tids);
    // Both within the trace, so that a whole one has at least as many.
    let before = switches(&tids);
    let report = live.record(arguments);
    let counted = switches(&tids) - before;
    let trace = instance.stop();
    let left =
        |line: &str| matches!(parse(line), Some((_, Event::Switch { prev, .. })) if tids.contains(&prev));
    let seen = trace.lines().filter(|line| left(line)).count() as f64 / counted.max(1) as f64;
    let times = account(&trace, &tids, monotonic(report.interval_unix_ns()));
    (report, Traced { times, seen })
}

/// How often these threads have left a CPU so far.
#[track_caller]
fn switches(tids: &[u32]) -> u64 {
    let of = |tid: &u32| {
        let status = fs::read_to_string(format!("/proc/{tid}/status")).expect("the thread runs");
        let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        counts.map(|(_, count)| count.trim().parse::<u64>().expect("a number")).sum::<u64>()
    };
    tids.iter().map(of).sum()
}

/// A running trace. Dropping it removes it.
#[derive(Debug)]
struct Instance(PathBuf);

impl Instance {
    #[track_caller]
    fn start(tids: &[u32]) -> Self {
        let path = Path::new(INSTANCE);
        if path.exists() {
            // Left by a test that was killed: only one runs at a time.
            fs::remove_dir(path).expect("an old trace is removed");
        }
        fs::create_dir(path).expect("tracefs makes an instance: `cargo xtask setup` mounts tracefs");
        let instance = Self(path.to_owned());
        let any = |fields: &[&str]| {
            let tests = tids.iter().flat_map(|tid| fields.iter().map(move |field| format!("{field}=={tid}")));
            tests.collect::<Vec<_>>().join("||")
        };
        // The clock of the ledger.
        instance.write("trace_clock", "mono");
        instance.write("buffer_size_kb", BUFFER_KIB);
        instance.write("events/sched/sched_switch/filter", &any(&["prev_pid", "next_pid"]));
        instance.write("events/sched/sched_waking/filter", &any(&["pid"]));
        instance.write("events/sched/sched_switch/enable", "1");
        instance.write("events/sched/sched_waking/enable", "1");
        instance
    }

    /// All that was traced.
    #[track_caller]
    fn stop(self) -> String {
        self.write("tracing_on", "0");
        for cpu in fs::read_dir(self.0.join("per_cpu")).expect("a directory for each CPU") {
            let stats = cpu.expect("an entry").path().join("stats");
            let stats = fs::read_to_string(stats).expect("the buffer's statistics");
            check_whole(&stats);
        }
        fs::read_to_string(self.0.join("trace")).expect("the trace")
    }

    #[track_caller]
    fn write(&self, file: &str, content: &str) {
        fs::write(self.0.join(file), content).unwrap_or_else(|error| panic!("tracefs {file}: {error}"));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Fails if a CPU's buffer has lost events.
#[track_caller]
fn check_whole(stats: &str) {
    for lost in ["overrun: ", "commit overrun: ", "dropped events: "] {
        let count = stats.lines().find_map(|line| line.strip_prefix(lost)).expect("a count of what is lost");
        assert_eq!(count.trim(), "0", "the trace is no truth, it has lost events: {stats}");
    }
}

#[track_caller]
fn threads_of(pids: &[u32]) -> Vec<u32> {
    let tasks = pids.iter().flat_map(|pid| {
        fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").map(|task| {
            let name = task.expect("an entry").file_name();
            name.to_str().and_then(|tid| tid.parse().ok()).expect("a thread's number")
        })
    });
    tasks.collect()
}

/// An interval in nanoseconds since 1970, on the clock of the trace.
fn monotonic((from_ns, to_ns): (u64, u64)) -> (u64, u64) {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec`, to a valid place; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
    let ahead = unix_ns - (time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
    (from_ns - ahead, to_ns - ahead)
}

/// One line of the trace.
#[derive(Debug, PartialEq)]
enum Event {
    Waking { tid: u32 },
    Switch { prev: u32, prev_ready: bool, next: u32 },
}

/// Time and event of a line of the trace: `COMM-TID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: FIELDS`.
fn parse(line: &str) -> Option<(u64, Event)> {
    let waking = line.split_once(": sched_waking: ");
    let (before, fields) = waking.or_else(|| line.split_once(": sched_switch: "))?;
    let (seconds, microseconds) = before.split_whitespace().last()?.split_once('.')?;
    let ns = seconds.parse::<u64>().ok()? * 1_000_000_000 + microseconds.parse::<u64>().ok()? * 1000;
    if waking.is_some() {
        return Some((ns, Event::Waking { tid: number_after(fields, " pid=")? }));
    }
    let (prev, next) = fields.rsplit_once(" ==> next_comm=")?;
    let (_, prev_state) = prev.rsplit_once(" prev_state=")?;
    let event = Event::Switch {
        prev: number_after(prev, " prev_pid=")?,
        // `R+` is a preempted thread, `R` one that yielded.
        prev_ready: prev_state.starts_with('R'),
        next: number_after(next, " next_pid=")?,
    };
    Some((ns, event))
}

/// The number after the last occurrence of the key: a thread's name comes before it, and may say anything.
fn number_after(fields: &str, key: &str) -> Option<u32> {
    let (_, value) = fields.rsplit_once(key)?;
    value.split(' ').next()?.parse().ok()
}

/// The times of these threads within an interval.
#[track_caller]
fn account(trace: &str, tids: &[u32], (from_ns, to_ns): (u64, u64)) -> BTreeMap<u32, Times> {
    let thread = |tid: &u32| (*tid, Thread::unseen(from_ns, to_ns));
    let mut threads: BTreeMap<u32, Thread> = tids.iter().map(thread).collect();
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        let (ns, event) = parse(line).unwrap_or_else(|| panic!("not a line of the trace: `{line}`"));
        if ns >= to_ns {
            break;
        }
        match event {
            Event::Waking { tid } => {
                threads.entry(tid).and_modify(|thread| thread.woken(ns));
            }
            Event::Switch { prev, prev_ready, next } => {
                threads.entry(prev).and_modify(|thread| thread.left_cpu(ns, prev_ready));
                threads.entry(next).and_modify(|thread| thread.entered_cpu(ns));
            }
        }
    }
    threads.into_iter().map(|(tid, thread)| (tid, thread.finish())).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    /// No switch of it has been seen yet.
    Unseen,
    OnCpu,
    Ready,
    Blocked,
}

/// A thread on its way through the trace.
#[derive(Debug)]
struct Thread {
    interval: (u64, u64),
    doing: Doing,
    since_ns: u64,
    /// First wake-up since it has been off the CPU.
    woken_ns: Option<u64>,
    times: Times,
}

impl Thread {
    fn unseen(from_ns: u64, to_ns: u64) -> Self {
        let times = Times::default();
        Self { interval: (from_ns, to_ns), doing: Doing::Unseen, since_ns: 0, woken_ns: None, times }
    }

    fn woken(&mut self, ns: u64) {
        if matches!(self.doing, Doing::Unseen | Doing::Blocked) {
            self.woken_ns.get_or_insert(ns);
        }
    }

    fn left_cpu(&mut self, ns: u64, ready: bool) {
        match self.doing {
            Doing::Unseen | Doing::OnCpu => self.times.on_cpu_ns += self.inside(self.since_ns, ns),
            // Its entry is missing. So may be the wake-up before it, and one that was seen may have come when it ran again.
            Doing::Blocked | Doing::Ready => self.times.unknown_ns += self.inside(self.since_ns, ns),
        }
        self.go_over(if ready { Doing::Ready } else { Doing::Blocked }, ns);
    }

    fn entered_cpu(&mut self, ns: u64) {
        match (self.doing, self.woken_ns) {
            (Doing::Ready, _) => self.times.run_queue_ns += self.inside(self.since_ns, ns),
            (Doing::Unseen | Doing::Blocked, Some(woken_ns)) => {
                self.times.blocked_ns += self.inside(self.since_ns, woken_ns);
                self.times.run_queue_ns += self.inside(woken_ns, ns);
            }
            // It was woken while it was leaving, and so was ready all the time; or the event is missing.
            (Doing::Unseen | Doing::Blocked, None) | (Doing::OnCpu, _) => {
                self.times.unknown_ns += self.inside(self.since_ns, ns);
            }
        }
        self.go_over(Doing::OnCpu, ns);
    }

    fn finish(mut self) -> Times {
        let (_, to_ns) = self.interval;
        match self.doing {
            Doing::OnCpu => self.times.on_cpu_ns += self.inside(self.since_ns, to_ns),
            Doing::Ready => self.times.run_queue_ns += self.inside(self.since_ns, to_ns),
            // A thread that takes part in no switch sleeps.
            Doing::Unseen | Doing::Blocked => {
                let ready_ns = self.woken_ns.unwrap_or(to_ns);
                self.times.blocked_ns += self.inside(self.since_ns, ready_ns);
                self.times.run_queue_ns += self.inside(ready_ns, to_ns);
            }
        }
        self.times
    }

    fn go_over(&mut self, doing: Doing, ns: u64) {
        (self.doing, self.since_ns, self.woken_ns) = (doing, ns, None);
    }

    /// The part of a stretch of time that lies in the interval.
    fn inside(&self, from_ns: u64, to_ns: u64) -> u64 {
        to_ns.min(self.interval.1).saturating_sub(from_ns.max(self.interval.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Times, account, check_whole, parse};

    #[track_caller]
    fn check_line(line: &str, expected: Option<&(u64, Event)>) {
        assert_eq!(parse(line).as_ref(), expected);
    }

    #[test]
    fn a_wake_up() {
        let line = " redis-benchmark-9675    [001] d.s7.  6041.957909: sched_waking: comm=redis-server pid=9668 \
                    prio=120 target_cpu=001";
        check_line(line, Some(&(6_041_957_909_000, Event::Waking { tid: 9668 })));
    }

    #[test]
    fn switches_of_a_sleeping_and_of_a_preempted_thread() {
        let switch = |prev_ready| Event::Switch { prev: 7, prev_ready, next: 8 };
        let line = |state| {
            format!(
                "  a b-7   [000] d..2.  1.000002: sched_switch: prev_comm=a b prev_pid=7 prev_prio=120 \
                 prev_state={state} ==> next_comm=b next_pid=8 next_prio=120"
            )
        };
        check_line(&line("S"), Some(&(1_000_002_000, switch(false))));
        check_line(&line("R+"), Some(&(1_000_002_000, switch(true))));
        check_line(&line("R"), Some(&(1_000_002_000, switch(true))));
    }

    #[test]
    fn a_thread_may_be_named_as_a_field() {
        let line = "x-7 [000] d..2. 1.000002: sched_switch: prev_comm= prev_pid=1 prev_pid=7 prev_prio=120 \
                    prev_state=S ==> next_comm= prev_pid=2 ==> next_pid=8 next_prio=120";
        check_line(line, Some(&(1_000_002_000, Event::Switch { prev: 7, prev_ready: false, next: 8 })));
    }

    #[test]
    fn other_lines_are_none() {
        check_line("CPU:1 [LOST 12 EVENTS]", None);
    }

    #[test]
    #[should_panic(expected = "it has lost events")]
    fn an_overrun_fails() {
        check_whole("entries: 5\noverrun: 3\ncommit overrun: 0\ndropped events: 0\n");
    }

    /// Lines `US waking` or `US in` or `US out STATE` of thread 7, within 100 to 200 µs.
    #[track_caller]
    fn check_account(lines: &[&str], expected_us: [u64; 4]) {
        let line = |line: &&str| {
            let words: Vec<_> = line.split(' ').collect();
            let time = format!("x-1 [000] d..2. 0.{:0>6}", words[0]);
            match words[1..] {
                ["waking"] => format!("{time}: sched_waking: comm=a pid=7 prio=120 target_cpu=000\n"),
                ["in"] => format!(
                    "{time}: sched_switch: prev_comm=b prev_pid=8 prev_prio=120 prev_state=S ==> next_comm=a \
                     next_pid=7 next_prio=120\n"
                ),
                ["out", state] => format!(
                    "{time}: sched_switch: prev_comm=a prev_pid=7 prev_prio=120 prev_state={state} ==> \
                     next_comm=b next_pid=8 next_prio=120\n"
                ),
                _ => panic!("not an event: {line}"),
            }
        };
        let trace: String = lines.iter().map(line).collect();
        let [on_cpu_ns, run_queue_ns, blocked_ns, unknown_ns] = expected_us.map(|us| us * 1000);
        let expected = Times { on_cpu_ns, run_queue_ns, blocked_ns, unknown_ns };
        assert_eq!(account(&trace, &[7], (100_000, 200_000))[&7], expected);
    }

    #[test]
    fn a_sleep_ends_with_the_wake_up() {
        check_account(&["110 out S", "150 waking", "155 in", "160 out S"], [15, 5, 80, 0]);
    }

    #[test]
    fn a_preempted_thread_waits_for_a_cpu() {
        check_account(&["110 out R+", "130 waking", "150 in"], [60, 40, 0, 0]);
    }

    #[test]
    fn without_a_wake_up_a_wait_is_unknown() {
        check_account(&["90 in", "109 waking", "110 out S", "150 in"], [60, 0, 0, 40]);
    }

    #[test]
    fn what_goes_on_at_the_edges_counts_for_the_part_inside() {
        check_account(
            &["50 out S", "90 waking", "120 in", "190 out S", "195 waking", "250 in"],
            [70, 25, 5, 0],
        );
    }

    #[test]
    fn a_thread_without_a_switch_has_slept() {
        check_account(&[], [0, 0, 100, 0]);
    }

    #[test]
    fn time_with_a_missing_switch_is_unknown() {
        check_account(
            &["110 out S", "120 waking", "130 out S", "150 waking", "155 in", "170 in"],
            [40, 5, 20, 35],
        );
    }
}
