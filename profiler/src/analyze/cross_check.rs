//! The ledger against the kernel's own counters, which are kept in another way and at other places.
//!
//! Compares sums over the threads whose counters could be read at both edges of the recording.

use profiler_common::state;

use crate::recording::{Recording, Thread};

/// A difference above this share of the larger number is told, if it is also above the floor.
const LIMIT: f64 = 0.02;
/// The scheduler brings a running thread's `schedstat` up to date at its tick: 10 ms at 100 Hz, the slowest there is.
const TICK_NS: f64 = 10e6;
/// `utime` and `stime` are each cut to a clock tick of 10 ms, at both edges. The difference of two evenly spread errors
/// has a standard deviation of 10 ms / √6 = 4.1 ms; of two such fields 5.8 ms. Four of those, for one thread.
const TIMES_NS: f64 = 4.0 * 5.8e6;

/// A difference of up to this for each context switch is one of where in it the line is drawn.
const SWITCH_NS: f64 = 2e3;

/// Sums over the threads that have counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossCheck {
    pub threads: usize,
    /// The ledger's time, scaled to the time between the two readings of the counters.
    pub on_cpu_ns: f64,
    pub schedstat_run_ns: f64,
    pub run_queue_ns: f64,
    pub schedstat_run_queue_ns: f64,
    pub user_ns: f64,
    pub system_ns: f64,
    /// Sentences: what differs, by how much, and why that may be.
    pub disagreements: Vec<String>,
}

impl CrossCheck {
    /// None if no thread has counters.
    pub(super) fn of(recording: &Recording) -> Option<Self> {
        let mut check = Self::default();
        let mut queue = Queue::default();
        for thread in &recording.threads {
            check.add(thread);
            queue.add(thread);
        }
        if check.threads == 0 {
            return None;
        }
        check.disagreements = check.disagreements(recording.meta.cpus, &queue);
        Some(check)
    }

    fn add(&mut self, thread: &Thread) {
        let Some(counters) = thread.kernel_counters else { return };
        let elapsed_ns = thread.to_ns.saturating_sub(thread.from_ns);
        // The two readings lie a little inside the recording.
        let scale = match counters.elapsed_ns {
            0 => 1.0,
            between if elapsed_ns > 0 => between as f64 / elapsed_ns as f64,
            _ => 0.0,
        };
        self.threads += 1;
        self.on_cpu_ns += ns_in(thread, state::ON_CPU) * scale;
        self.run_queue_ns += run_queue_ns(thread) * scale;
        self.schedstat_run_ns += counters.run_ns as f64;
        self.schedstat_run_queue_ns += counters.run_queue_ns as f64;
        self.user_ns += counters.user_ns as f64;
        self.system_ns += counters.system_ns as f64;
    }

    fn disagreements(&self, cpus: u32, queue: &Queue) -> Vec<String> {
        // Only a thread that runs at an edge has a stale counter, and each CPU runs one.
        let running = (cpus as usize).clamp(1, self.threads) as f64;
        let on_cpu = Comparison {
            what: "time on the CPU",
            ledger_ns: self.on_cpu_ns,
            source: "schedstat",
            kernel_ns: self.schedstat_run_ns,
            floor_ns: running * TICK_NS,
            when_more: "the kernel takes interrupts and a hypervisor's share out of a thread's run time",
            when_less: "the ledger has missed context switches",
            switches: queue.runs,
        };
        let run_queue = Comparison {
            what: "time waiting for a CPU",
            ledger_ns: self.run_queue_ns,
            source: "schedstat",
            kernel_ns: self.schedstat_run_queue_ns,
            floor_ns: running * TICK_NS + queue.unfinished_ns(),
            when_more: "the ledger counts from the wake-up, the kernel only from the entry into a CPU's queue",
            when_less: "the ledger has missed wake-ups",
            switches: queue.waits,
        };
        let times = Comparison {
            what: "time on the CPU",
            ledger_ns: self.on_cpu_ns,
            source: "utime + stime",
            kernel_ns: self.user_ns + self.system_ns,
            floor_ns: running * TICK_NS + (self.threads as f64).sqrt() * TIMES_NS,
            when_more: "the kernel takes interrupts and a hypervisor's share out of a thread's run time",
            when_less: "the ledger has missed context switches",
            switches: queue.runs,
        };
        // Most kernels scale utime and stime to the run time of schedstat: a second sentence would say the same again.
        let run_time = on_cpu.sentence().or_else(|| times.sentence());
        [run_time, run_queue.sentence()].into_iter().flatten().collect()
    }
}

/// The run queue of the compared threads, as it was on average.
#[derive(Default)]
struct Queue {
    wait_ns: f64,
    waits: f64,
    runs: f64,
    longest_elapsed_ns: f64,
}

impl Queue {
    fn add(&mut self, thread: &Thread) {
        if thread.kernel_counters.is_some() {
            let count = |code: u32| thread.state_count.get(code as usize).copied().unwrap_or(0);
            self.wait_ns += run_queue_ns(thread);
            self.waits += count(state::RUNQ_WAKE) as f64 + count(state::RUNQ_PREEMPT) as f64;
            self.runs += count(state::ON_CPU) as f64;
            let elapsed_ns = thread.to_ns.saturating_sub(thread.from_ns) as f64;
            self.longest_elapsed_ns = self.longest_elapsed_ns.max(elapsed_ns);
        }
    }

    /// What the kernel has not counted at an edge: it adds a wait when it ends. By Little's law `wait / elapsed` threads
    /// are waiting at any moment, each for a mean wait; at two edges.
    fn unfinished_ns(&self) -> f64 {
        if self.waits == 0.0 || self.longest_elapsed_ns == 0.0 {
            return 0.0;
        }
        2.0 * (self.wait_ns / self.longest_elapsed_ns) * (self.wait_ns / self.waits)
    }
}

fn ns_in(thread: &Thread, code: u32) -> f64 {
    thread.state_ns.get(code as usize).copied().unwrap_or(0) as f64
}

fn run_queue_ns(thread: &Thread) -> f64 {
    ns_in(thread, state::RUNQ_WAKE) + ns_in(thread, state::RUNQ_PREEMPT)
}

/// One number of the ledger beside the kernel's.
struct Comparison {
    what: &'static str,
    ledger_ns: f64,
    source: &'static str,
    kernel_ns: f64,
    /// Differences up to this are within what the kernel's counter can tell.
    floor_ns: f64,
    /// Probable cause when the ledger has more, and when it has less.
    when_more: &'static str,
    when_less: &'static str,
    /// How often this time began.
    switches: f64,
}

impl Comparison {
    /// None if the two agree.
    fn sentence(&self) -> Option<String> {
        let difference = self.ledger_ns - self.kernel_ns;
        let larger = self.ledger_ns.max(self.kernel_ns);
        if difference.abs() <= self.floor_ns || difference.abs() <= LIMIT * larger {
            return None;
        }
        let (word, cause) =
            if difference > 0.0 { ("more", self.when_more) } else { ("less", self.when_less) };
        let each_ns = difference.abs() / self.switches.max(1.0);
        let cause = if each_ns <= SWITCH_NS {
            let each = each_ns / 1e3;
            format!("the two draw the line at different points of a context switch, {each:.1} µs apart")
        } else {
            cause.to_owned()
        };
        Some(format!(
            "{}: the ledger has {:.3} s, {:.1} % {word} than the {:.3} s of {}; probable cause: {cause}",
            self.what,
            self.ledger_ns / 1e9,
            100.0 * difference.abs() / self.kernel_ns.max(1.0),
            self.kernel_ns / 1e9,
            self.source,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::KernelCounters;
    use crate::testing::example;

    const MS: u64 = 1_000_000;

    /// One thread of 10 s on 1 CPU: on the CPU 5 s, in the run queue 1 s in 1,000 waits.
    #[track_caller]
    fn check(counters: KernelCounters, expected: &[&str]) {
        let mut recording = example();
        recording.meta.cpus = 1;
        recording.threads.truncate(1);
        let thread = &mut recording.threads[0];
        thread.state_ns[state::ON_CPU as usize] = 5_000 * MS;
        thread.state_count[state::RUNQ_PREEMPT as usize] = 0;
        thread.kernel_counters = Some(counters);
        assert_eq!(CrossCheck::of(&recording).expect("has counters").disagreements, expected);
    }

    const AGREEING: KernelCounters = KernelCounters {
        run_ns: 5_000 * MS,
        run_queue_ns: 1_000 * MS,
        user_ns: 3_000 * MS,
        system_ns: 2_000 * MS,
        elapsed_ns: 10_000 * MS,
    };

    #[test]
    fn equal_numbers_agree() {
        check(AGREEING, &[]);
    }

    #[test]
    fn two_percent_are_no_disagreement_and_more_are() {
        check(KernelCounters { run_ns: 4_900 * MS, ..AGREEING }, &[]);
        let sentence = "time on the CPU: the ledger has 5.000 s, 2.2 % more than the 4.890 s of schedstat; probable \
                        cause: the kernel takes interrupts and a hypervisor's share out of a thread's run time";
        check(KernelCounters { run_ns: 4_890 * MS, ..AGREEING }, &[sentence]);
    }

    #[test]
    fn a_ledger_with_less_has_missed_something() {
        let sentence = "time waiting for a CPU: the ledger has 1.000 s, 33.3 % less than the 1.500 s of schedstat; \
                        probable cause: the ledger has missed wake-ups";
        check(KernelCounters { run_queue_ns: 1_500 * MS, ..AGREEING }, &[sentence]);
    }

    #[test]
    fn a_little_in_each_switch_is_told_as_that() {
        // 1 s in 1,000,000 waits, and 0.1 s less in the kernel: 0.1 µs each.
        let mut recording = example();
        recording.meta.cpus = 1;
        recording.threads.truncate(1);
        recording.threads[0].state_count[state::RUNQ_WAKE as usize] = 1_000_000;
        let counters = KernelCounters { run_queue_ns: 900 * MS, run_ns: 4_000 * MS, ..AGREEING };
        recording.threads[0].kernel_counters = Some(KernelCounters { user_ns: 2_000 * MS, ..counters });
        let sentence = "time waiting for a CPU: the ledger has 1.000 s, 11.1 % more than the 0.900 s of schedstat; \
                        probable cause: the two draw the line at different points of a context switch, 0.1 µs apart";
        assert_eq!(CrossCheck::of(&recording).expect("has counters").disagreements, [sentence]);
    }

    #[test]
    fn user_and_system_time_are_compared_as_a_sum() {
        let sentence = "time on the CPU: the ledger has 5.000 s, 25.0 % more than the 4.000 s of utime + stime; probable \
                        cause: the kernel takes interrupts and a hypervisor's share out of a thread's run time";
        check(KernelCounters { system_ns: 1_000 * MS, ..AGREEING }, &[sentence]);
    }

    #[test]
    fn a_difference_within_the_clock_ticks_is_none() {
        // 10 s · 0.001 between the readings: on the CPU 5 ms, in the run queue 1 ms. The counters have stood still.
        check(KernelCounters { elapsed_ns: 10 * MS, ..KernelCounters::default() }, &[]);
    }

    #[test]
    fn the_ledger_is_scaled_to_the_time_between_the_readings() {
        let half = KernelCounters {
            run_ns: 2_500 * MS,
            run_queue_ns: 500 * MS,
            user_ns: 2_500 * MS,
            system_ns: 0,
            elapsed_ns: 5_000 * MS,
        };
        check(half, &[]);
    }

    #[test]
    fn only_threads_with_counters_are_compared() {
        let check = CrossCheck::of(&example()).expect("two threads have counters");
        // Threads 812 and 813: 4.0 s and 1.0 s against 4.0 s and 1.5 s.
        assert_eq!(
            (check.threads, check.on_cpu_ns as u64, check.schedstat_run_ns as u64),
            (2, 5_000 * MS, 5_500 * MS)
        );
        assert_eq!(check.disagreements.len(), 1);
        assert_eq!(CrossCheck::of(&Recording::default()), None);
    }

    #[test]
    fn waits_that_go_on_at_the_edges_are_not_missed() {
        // 2 s of 10 s in 20 waits of 100 ms: 0.2 threads wait at any moment, 2 · 0.2 · 100 ms at the edges.
        let queue = Queue { wait_ns: 2e9, waits: 20.0, longest_elapsed_ns: 10e9, ..Queue::default() };
        assert_eq!(queue.unfinished_ns().round() as u64, 40 * MS);
    }
}
