//! How often off-CPU stacks are taken, and how many at a time. Pure.

use profiler_common::config::PassCounts;

/// Stacks that a pass aims at. One costs some 10 µs in the kernel and here, so at 99 Hz this is 0.5 % of one CPU.
pub const AIM: u32 = 5;
/// Stacks that a pass takes at most: the aim comes from the pass before, and a burst may come between.
pub const MOST_CAPTURES: u32 = 32;
/// Part of one CPU that passes may take. A pass looks at each thread for some 0.3 µs, so with many threads it takes place
/// only at each second, third, … tick; times stay exact, and only the stacks' shares get coarser.
const PASS_SHARE: f64 = 0.004;
/// The mean duration of a pass follows the last ones with this weight: slowly, so that when a pass takes place does not
/// hang on what it is to see.
const NEWEST_WEIGHT: f64 = 1.0 / 16.0;

/// Ticks between two passes while threads rarely begin to wait. Odd, so that half-way between it and one there is a tick.
const SPARSE_TICKS: u32 = 5;
/// Ticks without a new wait after which passes become sparse.
const QUIET_TICKS: u32 = 100;

/// Chooses the ticks at which a pass takes place, and the probability with which it takes a candidate.
///
/// A pass that could find nothing new is left out: no recorded thread has left a CPU since the last one, and that one
/// has left no wait without a stack. All waits that it would have found go on, so that the next one counts for it.
///
/// While no thread begins to wait, passes are sparse, and each counts for the ticks from one to the next. Threads that are
/// preempted do not make them denser: on busy CPUs it is the profiler itself that preempts them.
#[derive(Default)]
pub struct Pacing {
    candidates: u32,
    /// Waits that the last pass has found and that have no stack yet.
    left_over: u32,
    /// How often recorded threads had left a CPU before the last pass.
    left_cpu: Option<u64>,
    /// Ticks for which passes left out since the last one would have counted.
    left_out: u32,
    /// Ticks since a pass has found a new wait.
    quiet_ticks: u32,
    is_sparse: bool,
    mean_ns: Option<f64>,
    /// Fewest ticks from one pass to the next.
    least_ticks: u32,
    ticks_a_pass: u32,
    ticks_to_wait: u32,
    ticks: u64,
    passes: u64,
    over_limit: u64,
}

/// For how many ticks the next pass stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Where it finds a wait that was not found before.
    pub new: u32,
    /// Where it finds one again: also for the ticks of passes that were left out.
    pub again: u32,
}

impl Pacing {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { least_ticks: 1, ticks_a_pass: 1, ticks_to_wait: 1, ..Self::default() }
    }

    /// Passes take place at each so-manyth tick at most, from the one after the next on.
    pub fn set_least_ticks(&mut self, ticks: u32) {
        self.least_ticks = ticks;
    }

    /// In how many ticks the loop has to look again, `most` at the latest.
    pub fn ticks_to_sleep(&self, most: u32) -> u32 {
        self.ticks_to_wait.clamp(1, most)
    }

    /// Whether a pass would be due now that so many more ticks have passed.
    pub fn is_due(&mut self, ticks: u32) -> bool {
        self.ticks += u64::from(ticks);
        self.ticks_to_wait = self.ticks_to_wait.saturating_sub(ticks);
        if self.ticks_to_wait > 0 {
            return false;
        }
        self.passes += 1;
        true
    }

    /// For how much the pass that is due stands; none if it can be left out. `left_cpu` counts how often recorded threads
    /// have left a CPU.
    pub fn weight(&mut self, left_cpu: u64) -> Option<Weight> {
        let new = self.period();
        if self.left_cpu == Some(left_cpu) && self.left_over == 0 {
            self.left_out += new;
            self.plan(self.ticks_a_pass, false);
            return None;
        }
        self.left_cpu = Some(left_cpu);
        Some(Weight { new, again: new + std::mem::take(&mut self.left_out) })
    }

    /// What was left out at the very end, for which one more pass has to stand; none if nothing was.
    pub fn remainder(&mut self) -> Option<Weight> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then_some(Weight { new: 1, again: left_out })
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
        let ticks_a_pass = ticks_a_pass(mean_ns, sample_hz).max(self.least_ticks);
        self.plan(ticks_a_pass, pass.new_waits > 0);
    }

    /// When the next pass is due. Between passes of different periods lies half of each: so that whichever wait the change
    /// falls into, the weights of its passes add up to its ticks in the mean.
    fn plan(&mut self, ticks_a_pass: u32, has_new_waits: bool) {
        let before = self.period();
        self.ticks_a_pass = ticks_a_pass;
        self.quiet_ticks = if has_new_waits { 0 } else { (self.quiet_ticks + before).min(QUIET_TICKS) };
        self.is_sparse = self.quiet_ticks == QUIET_TICKS && self.candidates <= AIM;
        self.ticks_to_wait = before.midpoint(self.period());
    }

    /// Ticks from one pass to the next.
    fn period(&self) -> u32 {
        let sparse = if self.is_sparse { SPARSE_TICKS } else { 1 };
        self.ticks_a_pass.max(sparse)
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
        assert!(pacing.is_due(1));
        pacing.passed(&PassCounts::default(), 100_000, 100);
        // Half-way from each tick to each third one, then each third one, which counts for three.
        assert_eq!([pacing.is_due(1), pacing.is_due(1)], [false, true]);
        assert_eq!(pacing.weight(1), Some(Weight { new: 3, again: 3 }));
        pacing.passed(&PassCounts::default(), 100_000, 100);
        assert_eq!([pacing.is_due(1), pacing.is_due(1), pacing.is_due(1)], [false, false, true]);
    }

    const fn dense(again: u32) -> Weight {
        Weight { new: 1, again }
    }

    #[test]
    fn a_pass_that_could_find_nothing_new_is_left_out_and_the_next_counts_for_it() {
        let mut pacing = Pacing::new();
        assert_eq!(pacing.weight(7), Some(dense(1)));
        assert_eq!([pacing.weight(7), pacing.weight(7)], [None, None]);
        assert_eq!(pacing.weight(8), Some(dense(3)));
        assert_eq!(pacing.weight(9), Some(dense(1)));
        assert_eq!(pacing.remainder(), None);
        assert_eq!([pacing.weight(9), pacing.weight(9)], [None, None]);
        assert_eq!(pacing.remainder(), Some(dense(2)));
    }

    #[test]
    fn a_wait_without_a_stack_is_looked_for_again() {
        let mut pacing = Pacing::new();
        assert_eq!(pacing.weight(7), Some(dense(1)));
        pacing.passed(&PassCounts { candidates: 6, left_over: 1, ..PassCounts::default() }, 1000, 100);
        assert_eq!(pacing.weight(7), Some(dense(1)));
    }

    /// Passes of a thread that waits from one tick to another, and otherwise runs; the weight with which the wait is found.
    fn found(waits: std::ops::Range<u32>) -> u32 {
        let mut pacing = Pacing::new();
        let (mut sum, mut is_known) = (0, false);
        for tick in 1..waits.end + 300 {
            if !pacing.is_due(1) {
                continue;
            }
            // Preempted between any two passes.
            let Some(weight) = pacing.weight(u64::from(tick)) else { continue };
            let is_new = waits.contains(&tick) && !is_known;
            if waits.contains(&tick) {
                sum += if is_known { weight.again } else { weight.new };
                is_known = true;
            }
            let counts = PassCounts {
                candidates: u32::from(is_new),
                new_waits: u32::from(is_new),
                ..PassCounts::default()
            };
            pacing.passed(&counts, 1000, 100);
        }
        sum
    }

    #[test]
    fn a_wait_counts_for_its_ticks_in_the_mean_however_passes_change_pace() {
        // Found by sparse passes, gone on through dense ones (up to 100 ticks), and ended among sparse ones again.
        for length in [1, 2, 7, 60, 150, 400] {
            let starts = 1000..1000 + SPARSE_TICKS;
            let sum: u32 = starts.map(|start| found(start..start + length)).sum();
            assert_eq!(sum, length * SPARSE_TICKS, "{length} ticks");
        }
    }

    #[test]
    fn passes_are_sparse_after_a_quiet_time_and_dense_with_the_first_wait() {
        let mut pacing = Pacing::new();
        let nothing = PassCounts::default();
        for _ in 0..QUIET_TICKS {
            assert_eq!(pacing.ticks_to_sleep(5), 1);
            assert!(pacing.is_due(1));
            pacing.passed(&nothing, 1000, 100);
        }
        assert_eq!(pacing.ticks_to_sleep(5), 3);
        assert!(pacing.is_due(3));
        pacing.passed(&nothing, 1000, 100);
        assert_eq!((pacing.ticks_to_sleep(5), pacing.ticks_to_sleep(1)), (5, 1));
        assert!(pacing.is_due(5));
        pacing.passed(&PassCounts { new_waits: 1, ..nothing }, 1000, 100);
        assert_eq!(pacing.ticks_to_sleep(5), 3);
        assert!(pacing.is_due(3));
        pacing.passed(&nothing, 1000, 100);
        assert_eq!(pacing.ticks_to_sleep(5), 1);
    }

    #[test]
    fn one_process_among_many_threads_gets_passes_of_its_own() {
        assert!(limited_is_cheaper(1, 5000));
        assert!(!limited_is_cheaper(10, 150));
    }
}
