//! How many off-CPU stacks a tick takes, and how large the ring is. Pure.

use profiler_common::{config::PassCounts, sample::SampleRecord};

/// Stacks that a tick aims at. One costs some 10 µs in the kernel and here, so at 99 Hz this is 0.5 % of one CPU.
const AIM: u32 = 5;
/// Stacks that a tick takes at the most: the aim comes from the tick before, and a burst may come between.
pub const MOST_CAPTURES: u32 = 32;
/// The ring holds what arrives in this time at worst, so that the loop may be late that long.
const SLACK_SECONDS: f64 = 0.25;

/// Chooses the probability with which the next pass takes a candidate.
#[derive(Default)]
pub struct Pacing {
    candidates: u32,
    passes: u64,
    over_limit: u64,
}

impl Pacing {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next pass's threshold: a candidate is taken when a random 32-bit number is at most this.
    pub fn threshold(&self) -> u32 {
        if self.candidates <= AIM {
            return u32::MAX;
        }
        (u64::from(u32::MAX) * u64::from(AIM) / u64::from(self.candidates)) as u32
    }

    /// Takes in what a pass saw.
    pub fn passed(&mut self, pass: &PassCounts) {
        self.candidates = pass.candidates;
        self.passes += 1;
        self.over_limit += u64::from(pass.over_limit);
    }

    /// Passes so far.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Passes that did not take place because the loop came too late, of those that a recording of this length has.
    pub fn missed(&self, elapsed_ns: u64, sample_hz: u32) -> u64 {
        let expected = u128::from(elapsed_ns) * u128::from(sample_hz) / 1_000_000_000;
        (expected as u64).saturating_sub(self.passes)
    }

    /// Candidates that a pass had no room for.
    pub fn over_limit(&self) -> u64 {
        self.over_limit
    }
}

/// Whether passes limited to each of the processes cost less than one over all tasks: a pass of its own costs some 12 µs
/// (a descriptor is made, read and closed), a task that is passed over 50 ns.
pub fn limited_is_cheaper(processes: usize, threads_on_machine: u32) -> bool {
    processes as u64 * 12_000 < u64::from(threads_on_machine) * 50
}

/// Size of the ring: a power of two of pages.
pub fn ring_bytes(sample_hz: u32) -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    bytes_for(sample_hz, cpus as u32)
}

fn bytes_for(sample_hz: u32, cpus: u32) -> u32 {
    let samples_a_second = f64::from(sample_hz) * f64::from(cpus + AIM);
    let bytes = samples_a_second * SLACK_SECONDS * size_of::<SampleRecord>() as f64;
    // Between 1 MiB, which holds two ticks at their most, and half of the memory that the profiler allows itself.
    (bytes as u32).clamp(1 << 20, 32 << 20).next_power_of_two().min(32 << 20)
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
        let pacing = Pacing { passes: 95, ..Pacing::new() };
        assert_eq!(pacing.missed(1_000_000_000, 99), 4);
        assert_eq!(pacing.missed(900_000_000, 99), 0);
    }

    #[test]
    fn one_process_among_many_threads_gets_passes_of_its_own() {
        assert!(limited_is_cheaper(1, 5000));
        assert!(!limited_is_cheaper(10, 150));
    }

    #[test]
    fn the_ring_grows_with_the_cpus_up_to_its_bound() {
        // 99 Hz × (2 + 5) × 0.25 s × 17,480 B = 3.0 MB
        assert_eq!(bytes_for(99, 2), 4 << 20);
        assert_eq!(bytes_for(99, 256), 32 << 20);
        assert_eq!(bytes_for(1, 1), 1 << 20);
    }
}
