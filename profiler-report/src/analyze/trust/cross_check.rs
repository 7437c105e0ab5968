//! The ledger against the kernel's own counters, which are kept in another way and at other places.
//!
//! Compares sums over the threads whose counters could be read at both edges of the recording.
//!
//! One difference is the kernel's own. A wake-up that will preempt what runs on the CPU, or end its idling, tells the run
//! queue to skip the next reading of its clock (`wakeup_preempt` in kernel/sched/core.c calls `rq_clock_skip_update`;
//! formerly `check_preempt_curr`), so the switch that follows is dated to the wake-up: the moment in between counts as run
//! time, in `schedstat` and in `utime` and `stime`, which follow it. The ledger reads the clock at the switch. And the kernel
//! counts a wait from the entry into a queue, the ledger from the wake-up that leads to it.

use profiler_common::state;

use crate::recording::{Span, ThreadSum};

/// A difference above this share of the larger number is reported, if it is also above the floor.
const LIMIT: f64 = 0.02;
/// The scheduler brings a running thread's `schedstat` up to date at its tick: 10 ms at 100 Hz, the slowest there is.
const TICK_NS: f64 = 10e6;
/// `utime` and `stime` are each cut to a clock tick of 10 ms, at both edges. The difference of two evenly spread errors
/// has a standard deviation of 10 ms / √6 = 4.1 ms; of two such fields 5.8 ms. Four of those, for one thread.
const TIMES_NS: f64 = 4.0 * 5.8e6;

/// What a wake-up may cost by the difference that the module's comment explains: an interrupt to the woken thread's CPU,
/// its end of idling, and the scheduler. Measured under redis on a virtual machine: 0.3 to 1.5 µs. Well above that, as after a
/// deep idle state, it may as well be something else.
const WAKE_UP_NS: f64 = 12e3;

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
    pub(in crate::analyze) fn of(recording: &Span) -> Option<Self> {
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

    fn add(&mut self, thread: &ThreadSum) {
        let Some(counters) = thread.kernel_counters else { return };
        let elapsed_ns = thread.elapsed_ns;
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
            wakes: queue.wakes,
            wakes_make: Makes::Less,
            wakes_why: "because schedstat counts the moment before a switch as run time",
            when_more: "missed context switches, or interrupts and hypervisor time, which schedstat does not count",
            when_less: "slow wake-ups, which schedstat counts as run time, or missed context switches",
        };
        let run_queue = Comparison {
            what: "time waiting for a CPU",
            ledger_ns: self.run_queue_ns,
            source: "schedstat",
            kernel_ns: self.schedstat_run_queue_ns,
            floor_ns: running * TICK_NS + queue.unfinished_ns(),
            wakes: queue.wakes,
            wakes_make: Makes::More,
            wakes_why: "because schedstat leaves out the moments before the run queue and before the switch",
            when_more: "slow wake-ups, which schedstat counts as run time, or missed context switches",
            when_less: "missed wake-ups",
        };
        let times = Comparison {
            source: "utime + stime",
            kernel_ns: self.user_ns + self.system_ns,
            floor_ns: running * TICK_NS + (self.threads as f64).sqrt() * TIMES_NS,
            ..on_cpu
        };
        // They follow schedstat's run time: what explains one explains the other.
        let told = on_cpu.is_disagreement() && on_cpu.is_explained() && times.is_explained();
        let compared = if told { vec![on_cpu, run_queue] } else { vec![on_cpu, run_queue, times] };
        compared.iter().filter_map(Comparison::sentence).collect()
    }
}

/// The run queue of the compared threads, as it was on average.
#[derive(Default)]
struct Queue {
    wait_ns: f64,
    waits: f64,
    /// Those of the waits that began with a wake-up.
    wakes: f64,
    longest_elapsed_ns: f64,
}

impl Queue {
    fn add(&mut self, thread: &ThreadSum) {
        if thread.kernel_counters.is_some() {
            let count = |code: u32| thread.state_count.get(code as usize).copied().unwrap_or(0);
            self.wait_ns += run_queue_ns(thread);
            self.waits += count(state::RUNQ_WAKE) as f64 + count(state::RUNQ_PREEMPT) as f64;
            self.wakes += count(state::RUNQ_WAKE) as f64;
            let elapsed_ns = thread.elapsed_ns as f64;
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

fn ns_in(thread: &ThreadSum, code: u32) -> f64 {
    thread.state_ns.get(code as usize).copied().unwrap_or(0) as f64
}

fn run_queue_ns(thread: &ThreadSum) -> f64 {
    ns_in(thread, state::RUNQ_WAKE) + ns_in(thread, state::RUNQ_PREEMPT)
}

/// What the kernel's account of wake-ups makes of the ledger's number, compared with the kernel's.
#[derive(Clone, Copy)]
enum Makes {
    Less,
    More,
}

/// One number of the ledger beside the kernel's.
#[derive(Clone, Copy)]
struct Comparison {
    what: &'static str,
    ledger_ns: f64,
    source: &'static str,
    kernel_ns: f64,
    /// Differences up to this are within what the kernel's counter can show.
    floor_ns: f64,
    /// Wake-ups of the compared threads.
    wakes: f64,
    wakes_make: Makes,
    wakes_why: &'static str,
    /// Possible causes when the ledger has more, and when it has less.
    when_more: &'static str,
    when_less: &'static str,
}

impl Comparison {
    fn difference_ns(&self) -> f64 {
        self.ledger_ns - self.kernel_ns
    }

    fn is_disagreement(&self) -> bool {
        let larger = self.ledger_ns.max(self.kernel_ns);
        let difference = self.difference_ns().abs();
        difference > self.floor_ns && difference > LIMIT * larger
    }

    /// Whether the difference is one that the kernel's account of wake-ups makes, in direction and in size.
    fn is_explained(&self) -> bool {
        let excess_ns = match self.wakes_make {
            Makes::Less => -self.difference_ns(),
            Makes::More => self.difference_ns(),
        };
        excess_ns > 0.0 && excess_ns <= self.wakes * WAKE_UP_NS
    }

    /// None if the two agree.
    fn sentence(&self) -> Option<String> {
        if !self.is_disagreement() {
            return None;
        }
        let difference = self.difference_ns();
        let (word, causes) =
            if difference > 0.0 { ("more", self.when_more) } else { ("less", self.when_less) };
        let why = if self.is_explained() {
            format!("{:.1} µs per wake-up, {}", difference.abs() / self.wakes / 1e3, self.wakes_why)
        } else {
            format!("possible causes: {causes}")
        };
        Some(format!(
            "{} is {:.1} % {word} than in {} ({:.3} s, {:.3} s); {why}",
            self.what,
            100.0 * difference.abs() / self.ledger_ns.max(self.kernel_ns),
            self.source,
            self.ledger_ns / 1e9,
            self.kernel_ns / 1e9,
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
        let sentence = "time on the CPU is 2.2 % more than in schedstat (5.000 s, 4.890 s); possible \
                        causes: missed context switches, or interrupts and hypervisor time, which schedstat does not count";
        check(KernelCounters { run_ns: 4_890 * MS, ..AGREEING }, &[sentence]);
    }

    #[test]
    fn a_ledger_with_less_waiting_may_have_missed_wake_ups() {
        let sentence = "time waiting for a CPU is 33.3 % less than in schedstat (1.000 s, 1.500 s); \
                        possible causes: missed wake-ups";
        check(KernelCounters { run_queue_ns: 1_500 * MS, ..AGREEING }, &[sentence]);
    }

    /// The thread of `check` with this number of wake-ups; the kernel has 0.24 s more on the CPU and 0.24 s
    /// less waiting.
    #[track_caller]
    fn check_wakes(wakes: u32, expected: &[&str]) {
        let mut recording = example();
        recording.meta.cpus = 1;
        recording.threads.truncate(1);
        let thread = &mut recording.threads[0];
        thread.state_ns[state::ON_CPU as usize] = 5_000 * MS;
        thread.state_count[state::RUNQ_WAKE as usize] = wakes;
        thread.kernel_counters = Some(KernelCounters {
            run_ns: 5_240 * MS,
            run_queue_ns: 760 * MS,
            user_ns: 3_240 * MS,
            ..AGREEING
        });
        assert_eq!(CrossCheck::of(&recording).expect("has counters").disagreements, expected);
    }

    #[test]
    fn a_small_difference_for_each_wake_up_is_explained_and_told_once() {
        let each = "2.4 µs per wake-up";
        let on_cpu = format!(
            "time on the CPU is 4.6 % less than in schedstat (5.000 s, 5.240 s); {each}, \
             because schedstat counts the moment before a switch as run time"
        );
        let waiting = format!(
            "time waiting for a CPU is 24.0 % more than in schedstat (1.000 s, 0.760 s); \
             {each}, because schedstat leaves out the moments before the run queue and before the switch"
        );
        check_wakes(100_000, &[&on_cpu, &waiting]);
    }

    #[test]
    fn a_large_difference_for_each_wake_up_has_possible_causes() {
        let tail =
            "possible causes: slow wake-ups, which schedstat counts as run time, or missed context switches";
        let sentence = |what, ledger, difference, kernel, source| {
            format!("{what} is {difference} than in {source} ({ledger} s, {kernel} s); {tail}")
        };
        let on_cpu = |source| sentence("time on the CPU", "5.000", "4.6 % less", "5.240", source);
        let waiting = sentence("time waiting for a CPU", "1.000", "24.0 % more", "0.760", "schedstat");
        // 0.24 s / 19,000 = 12.6 µs.
        check_wakes(19_000, &[&on_cpu("schedstat"), &waiting, &on_cpu("utime + stime")]);
    }

    #[test]
    fn user_and_system_time_are_compared_as_a_sum() {
        let sentence = "time on the CPU is 20.0 % more than in utime + stime (5.000 s, 4.000 s); possible \
                        causes: missed context switches, or interrupts and hypervisor time, which schedstat does not count";
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
        assert_eq!(CrossCheck::of(&Span::default()), None);
    }

    #[test]
    fn waits_that_go_on_at_the_edges_are_not_missed() {
        // 2 s of 10 s in 20 waits of 100 ms: 0.2 threads wait at any moment, 2 · 0.2 · 100 ms at the edges.
        let queue = Queue { wait_ns: 2e9, waits: 20.0, wakes: 20.0, longest_elapsed_ns: 10e9 };
        assert_eq!(queue.unfinished_ns().round() as u64, 40 * MS);
    }
}
