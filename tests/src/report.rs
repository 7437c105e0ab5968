//! A recording's JSON report, as the tests ask about it.
//!
//! In: the file. Out: numbers of threads and of the whole, and the checks that many tests share. A number that is missing
//! from the report is a failure of the test, not a zero; a state that is missing is zero, as the schema says.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A report.
#[derive(Debug)]
pub struct Report(pub Value);

/// One thread of a report.
#[derive(Clone, Copy, Debug)]
pub struct Thread<'report>(pub &'report Value);

impl Report {
    /// Reads the file.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("no report {}: {error}", path.display()));
        Self(serde_json::from_str(&text).expect("the report is JSON"))
    }

    /// The number at a JSON pointer such as `/ledger/residual_ratio`.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> f64 {
        let value = self.0.pointer(pointer).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no number at `{pointer}` in {:#}", self.0))
    }

    /// Seconds of all threads in a state.
    pub fn seconds(&self, state: &str) -> f64 {
        state_seconds(&self.0["ledger"]["states"], state)
    }

    /// Intervals of all threads in a state.
    pub fn count(&self, state: &str) -> f64 {
        state_seconds(&self.0["ledger"]["counts"], state)
    }

    /// Length of the recording.
    #[track_caller]
    pub fn elapsed(&self) -> f64 {
        self.number("/elapsed_seconds")
    }

    /// From when to when it went, in nanoseconds since 1970.
    #[track_caller]
    pub fn interval_unix_ns(&self) -> (u64, u64) {
        let started = self.0["started_unix_ns"].as_u64().expect("a start in the report");
        (started, started + (self.elapsed() * 1e9) as u64)
    }

    /// All threads.
    #[track_caller]
    pub fn threads(&self) -> impl Iterator<Item = Thread<'_>> {
        self.0["threads"].as_array().expect("a list of threads").iter().map(Thread)
    }

    /// The only thread of this name.
    #[track_caller]
    pub fn thread_named(&self, comm: &str) -> Thread<'_> {
        let found: Vec<_> = self.threads().filter(|thread| thread.comm() == comm).collect();
        assert_eq!(found.len(), 1, "threads named `{comm}` in {:#}", self.0["threads"]);
        found[0]
    }

    /// The thread with this id.
    #[track_caller]
    pub fn thread(&self, tid: u32) -> Thread<'_> {
        let found = self.threads().find(|thread| thread.tid() == tid);
        found.unwrap_or_else(|| panic!("no thread {tid} in {:#}", self.0["threads"]))
    }

    /// Whether a process is in the report.
    pub fn has_process(&self, tgid: u32) -> bool {
        let processes = self.0["processes"].as_array();
        processes.is_some_and(|all| all.iter().any(|process| process["tgid"] == tgid))
    }

    /// Whether a process of this name is in the report.
    pub fn has_process_named(&self, comm: &str) -> bool {
        let processes = self.0["processes"].as_array();
        processes.is_some_and(|all| all.iter().any(|process| process["comm"] == comm))
    }

    /// Whether this kernel has no stacks of waiting threads (before 5.18), which the report says.
    pub fn lacks_off_cpu_stacks(&self) -> bool {
        self.0["quality"]["skipped"].to_string().contains("no stacks of waiting threads")
    }

    /// Whether one of the listed stacks (`on_cpu` or `off_cpu`) has frames that contain these words, in this order from
    /// the root, with others in between.
    pub fn has_stack(&self, kind: &str, words: &[&str]) -> bool {
        let stacks = self.0["stacks"][kind].as_array();
        stacks.is_some_and(|all| all.iter().any(|stack| frames_contain(&stack["frames"], words)))
    }
}

impl Thread<'_> {
    /// Its id.
    pub fn tid(&self) -> u32 {
        self.0["tid"].as_u64().expect("a thread has an id") as u32
    }

    /// Its process's id.
    pub fn tgid(&self) -> u32 {
        self.0["tgid"].as_u64().expect("a thread has a process") as u32
    }

    /// Its name.
    pub fn comm(&self) -> &str {
        self.0["comm"].as_str().expect("a thread has a name")
    }

    /// The part of its life inside the recording.
    pub fn elapsed(&self) -> f64 {
        self.0["elapsed_seconds"].as_f64().expect("a thread has a length")
    }

    /// Seconds in a state.
    pub fn seconds(&self, state: &str) -> f64 {
        state_seconds(&self.0["states"], state)
    }

    /// Part of its time in a state.
    pub fn share(&self, state: &str) -> f64 {
        self.seconds(state) / self.elapsed()
    }

    /// Part of its time on a CPU or ready for one.
    pub fn busy_share(&self) -> f64 {
        self.busy_seconds() / self.elapsed()
    }

    /// Seconds on a CPU or ready for one.
    pub fn busy_seconds(&self) -> f64 {
        self.seconds("on_cpu") + self.run_queue_seconds()
    }

    /// Seconds ready for a CPU without one.
    pub fn run_queue_seconds(&self) -> f64 {
        self.seconds("runq_wake") + self.seconds("runq_preempt")
    }

    /// Seconds neither on a CPU nor ready for one.
    pub fn blocked_seconds(&self) -> f64 {
        let states = self.0["states"].as_object().expect("states of the thread").values();
        states.filter_map(Value::as_f64).sum::<f64>() - self.busy_seconds()
    }
}

fn state_seconds(states: &Value, state: &str) -> f64 {
    states[state].as_f64().unwrap_or(0.0)
}

fn frames_contain(frames: &Value, words: &[&str]) -> bool {
    let mut wanted = words.iter().peekable();
    for frame in frames.as_array().into_iter().flatten() {
        let name = frame.as_str().unwrap_or_default();
        wanted.next_if(|word| name.contains(**word));
    }
    wanted.peek().is_none()
}

/// The number lies between the two.
#[track_caller]
pub fn check_within(what: &str, found: f64, least: f64, most: f64) {
    assert!((least..=most).contains(&found), "{what}: {found:.4}, expected {least:.4} to {most:.4}");
}

/// The numbers are as near as the test says.
#[track_caller]
pub fn check_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found:.4}, expected {expected:.4} ± {tolerance:.4}"
    );
}

/// A thread spends this part of its time in a state.
#[track_caller]
pub fn check_share(thread: Thread, state: &str, expected: f64, tolerance: f64) {
    let found = thread.share(state);
    let what = format!("share of `{state}` of thread `{}`", thread.comm());
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found:.4}, expected {expected:.4}: {:#}",
        thread.0
    );
}

/// Blocked time has one reason, for at least 95 % of it.
#[track_caller]
pub fn check_main_reason(report: &Report, state: &str) {
    let (seconds, blocked) = (report.seconds(state), report.number("/ledger/blocked_seconds"));
    assert!(
        blocked > 0.0 && seconds >= 0.95 * blocked,
        "`{state}` is {seconds} of {blocked} s blocked: {:#}",
        report.0["ledger"]
    );
}

/// The promises that hold for each recording: the books close, blocked time has reasons, and next to nothing is lost.
#[track_caller]
pub fn check_closed(report: &Report) {
    let ledger = &report.0["ledger"];
    assert!(report.number("/ledger/residual_ratio") <= 0.01, "the books do not close: {ledger:#}");
    assert!(report.number("/ledger/classified_ratio") >= 0.95, "too much has no reason: {ledger:#}");
    assert!(report.number("/quality/lost_ratio") <= 0.01, "too much was lost: {:#}", report.0["quality"]);
    let states =
        ledger["states"].as_object().expect("states of the ledger").values().filter_map(Value::as_f64);
    let (sum, whole) = (states.sum::<f64>(), report.number("/ledger/thread_seconds"));
    assert!((sum - whole).abs() <= 0.01 * whole, "states add up to {sum} s of {whole}: {ledger:#}");
}
