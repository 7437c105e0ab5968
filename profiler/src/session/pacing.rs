//! How often off-CPU stacks are taken, how many at a time, and how large the ring is. Pure.

use profiler_common::{
    config::PassCounts,
    sample::{FIXED_BYTES, PAGE_BYTES},
};

/// Stacks that a pass aims at. One costs some 10 µs in the kernel and here, so at 99 Hz this is 0.5 % of one CPU.
const AIM: u32 = 5;
/// Stacks that a pass takes at the most: the aim comes from the pass before, and a burst may come between.
pub const MOST_CAPTURES: u32 = 32;
/// Part of one CPU that passes may take. A pass looks at each thread for some 0.3 µs, so with many threads it takes place
/// only at each second, third, … tick; times stay exact, and only the stacks' shares get coarser.
const PASS_SHARE: f64 = 0.004;
/// The mean duration of a pass follows the last ones with this weight: slowly, so that when a pass takes place does not
/// hang on what it is to see.
const NEWEST_WEIGHT: f64 = 1.0 / 16.0;
/// The ring holds what arrives in this time at worst, so that the loop may be late that long.
const SLACK_SECONDS: f64 = 0.25;

/// Chooses the ticks at which a pass takes place, and the probability with which it takes a candidate.
///
/// A pass that could find nothing new is left out: no recorded thread has left a CPU since the last one, and that one
/// has left no wait without a stack. All waits that it would have found go on, so that the next one counts for it.
#[derive(Default)]
pub struct Pacing {
    candidates: u32,
    /// Waits that the last pass has found and that have no stack yet.
    left_over: u32,
    /// How often recorded threads had left a CPU before the last pass.
    left_cpu: Option<u64>,
    /// Passes left out since the last one.
    left_out: u32,
    mean_ns: Option<f64>,
    ticks_a_pass: u32,
    ticks_to_wait: u32,
    ticks: u64,
    passes: u64,
    over_limit: u64,
}

impl Pacing {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { ticks_a_pass: 1, ..Self::default() }
    }

    /// Whether a pass would be due at this tick.
    pub fn is_due(&mut self) -> bool {
        self.ticks += 1;
        if self.ticks_to_wait > 0 {
            self.ticks_to_wait -= 1;
            return false;
        }
        self.ticks_to_wait = self.ticks_a_pass - 1;
        self.passes += 1;
        true
    }

    /// For how many passes the one that is due stands, itself included; none if it can be left out. `left_cpu` counts how
    /// often recorded threads have left a CPU.
    pub fn weight(&mut self, left_cpu: u64) -> Option<u32> {
        if self.left_cpu == Some(left_cpu) && self.left_over == 0 {
            self.left_out += 1;
            return None;
        }
        self.left_cpu = Some(left_cpu);
        Some(1 + std::mem::take(&mut self.left_out))
    }

    /// The passes left out at the very end, for which one more has to stand; none if there are none.
    pub fn remainder(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.left_out)).filter(|&left_out| left_out > 0)
    }

    /// The next pass's threshold: a candidate is taken when a random 32-bit number is at most this.
    pub fn threshold(&self) -> u32 {
        if self.candidates <= AIM {
            return u32::MAX;
        }
        (u64::from(u32::MAX) * u64::from(AIM) / u64::from(self.candidates)) as u32
    }

    /// Takes in what a pass saw, and how long it took.
    pub fn passed(&mut self, pass: &PassCounts, took_ns: u64, sample_hz: u32) {
        self.candidates = pass.candidates;
        self.left_over = pass.left_over;
        self.over_limit += u64::from(pass.over_limit);
        let took_ns = took_ns as f64;
        let mean_ns = self.mean_ns.map_or(took_ns, |mean_ns| mean_ns + (took_ns - mean_ns) * NEWEST_WEIGHT);
        self.mean_ns = Some(mean_ns);
        self.ticks_a_pass = ticks_a_pass(mean_ns, sample_hz);
        self.ticks_to_wait = self.ticks_a_pass - 1;
    }

    /// Passes so far, those left out included.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Passes that did not take place because the loop came too late to their ticks.
    pub fn missed(&self, elapsed_ns: u64, sample_hz: u32) -> u64 {
        let expected = u128::from(elapsed_ns) * u128::from(sample_hz) / 1_000_000_000;
        let missed_ticks = (expected as u64).saturating_sub(self.ticks);
        (missed_ticks * self.passes).checked_div(self.ticks).unwrap_or(missed_ticks)
    }

    /// Candidates that a pass had no room for.
    pub fn over_limit(&self) -> u64 {
        self.over_limit
    }
}

/// At each how many-th tick a pass takes place that takes this long; at least once a second.
fn ticks_a_pass(mean_ns: f64, sample_hz: u32) -> u32 {
    let tick_ns = 1e9 / f64::from(sample_hz);
    ((mean_ns / (tick_ns * PASS_SHARE)).ceil() as u32).clamp(1, sample_hz)
}

/// Whether passes limited to each of the processes cost less than one over all tasks: a pass of its own costs some 12 µs
/// (a descriptor is made, read and closed), a task that is passed over 0.3 µs.
pub fn limited_is_cheaper(processes: usize, threads_on_machine: u32) -> bool {
    processes as u64 * 12_000 < u64::from(threads_on_machine) * 300
}

/// Size of the ring: a power of two of pages.
pub fn ring_bytes(sample_hz: u32, stack_bytes: u32) -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    bytes_for(sample_hz, stack_bytes, cpus as u32)
}

fn bytes_for(sample_hz: u32, stack_bytes: u32, cpus: u32) -> u32 {
    let sample_bytes = f64::from(FIXED_BYTES as u32 + stack_bytes + PAGE_BYTES as u32);
    let samples_a_second = f64::from(sample_hz) * f64::from(cpus + AIM);
    let bytes = samples_a_second * SLACK_SECONDS * sample_bytes;
    // At least what one tick brings at its most; at most half of the memory that the profiler allows itself.
    let one_tick = f64::from(cpus + MOST_CAPTURES) * sample_bytes;
    (bytes.max(one_tick) as u32).min(32 << 20).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(candidates: u32, probability: f64) {
        let got = (f64::from(Pacing { candidates, ..Pacing::new() }.threshold()) + 1.0) / 4_294_967_296.0;
        assert!((got - probability).abs() < 1e-6, "{got}");
    }

    #[test]
    fn few_candidates_are_all_taken_and_many_with_the_probability_that_meets_the_aim() {
        check(0, 1.0);
        check(5, 1.0);
        check(10, 0.5);
        check(1000, 0.005);
    }

    #[test]
    fn a_pass_that_came_too_late_is_missed() {
        let pacing = Pacing { ticks: 95, passes: 95, ..Pacing::new() };
        assert_eq!(pacing.missed(1_000_000_000, 99), 4);
        assert_eq!(pacing.missed(900_000_000, 99), 0);
    }

    #[test]
    fn a_dear_pass_takes_place_at_fewer_ticks() {
        // A tick of 10 ms has room for 40 µs.
        assert_eq!(ticks_a_pass(40e3, 100), 1);
        assert_eq!(ticks_a_pass(41e3, 100), 2);
        assert_eq!(ticks_a_pass(4e6, 100), 100);
        assert_eq!(ticks_a_pass(4e9, 100), 100);
        let mut pacing = Pacing::new();
        assert!(pacing.is_due());
        pacing.passed(&PassCounts::default(), 100_000, 100);
        assert_eq!([pacing.is_due(), pacing.is_due(), pacing.is_due()], [false, false, true]);
    }

    #[test]
    fn a_pass_that_could_find_nothing_new_is_left_out_and_the_next_counts_for_it() {
        let mut pacing = Pacing::new();
        assert_eq!(pacing.weight(7), Some(1));
        assert_eq!([pacing.weight(7), pacing.weight(7)], [None, None]);
        assert_eq!(pacing.weight(8), Some(3));
        assert_eq!(pacing.weight(9), Some(1));
        assert_eq!(pacing.remainder(), None);
        assert_eq!([pacing.weight(9), pacing.weight(9)], [None, None]);
        assert_eq!(pacing.remainder(), Some(2));
    }

    #[test]
    fn a_wait_without_a_stack_is_looked_for_again() {
        let mut pacing = Pacing::new();
        assert_eq!(pacing.weight(7), Some(1));
        pacing.passed(&PassCounts { candidates: 6, left_over: 1, ..PassCounts::default() }, 1000, 100);
        assert_eq!(pacing.weight(7), Some(1));
    }

    #[test]
    fn one_process_among_many_threads_gets_passes_of_its_own() {
        assert!(limited_is_cheaper(1, 5000));
        assert!(!limited_is_cheaper(10, 150));
    }

    #[test]
    fn the_ring_grows_with_the_cpus_up_to_its_bound() {
        // 99 Hz × (2 + 5) × 0.25 s × 21,576 B = 3.7 MB
        assert_eq!(bytes_for(99, 16 << 10, 2), 4 << 20);
        assert_eq!(bytes_for(99, 16 << 10, 256), 32 << 20);
        // (1 + 32) × 21,576 B = 0.7 MB
        assert_eq!(bytes_for(1, 16 << 10, 1), 1 << 20);
        // 99 Hz × (2 + 5) × 0.25 s × 70,728 B = 12.3 MB
        assert_eq!(bytes_for(99, 64 << 10, 2), 16 << 20);
    }
}
