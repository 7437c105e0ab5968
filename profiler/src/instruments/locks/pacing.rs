//! How often the end of a wait is reported. Pure.
//!
//! In: how many were reported in each second. Out: the period: a thread's waits are reported each time that
//! they add up to it. What one stands for is counted in time, so the period may change at any moment without
//! a bias.

/// A second should bring about so many: each keeps the woken thread waiting for the 8 to 18 µs of a stack walk, and has
/// 200 to 700 bytes. In ten seconds a cause with a tenth of the waits then has 200 of them.
const AIM: u64 = 200;
/// A wait of this length is reported in any case where there are few threads: the tick of the samplers.
const SHORTEST_NS: u64 = 10_000_000;
/// A thread that waits all the time is reported at least this often.
const LONGEST_NS: u64 = 10_000_000_000;

/// Chooses the period.
#[derive(Debug)]
pub struct WakePacing {
    period_ns: u64,
    told: u64,
}

impl WakePacing {
    /// For so many threads, as if all waited all the time.
    pub fn new(threads: u32) -> Self {
        let period_ns = (u64::from(threads) * 1_000_000_000 / AIM).clamp(SHORTEST_NS, LONGEST_NS);
        Self { period_ns, told: 0 }
    }

    pub fn period_ns(&self) -> u64 {
        self.period_ns
    }

    /// Takes in how many were reported so far, once a second. Returns the period if it changes.
    pub fn observe(&mut self, told: u64) -> Option<u64> {
        let a_second = told.saturating_sub(self.told);
        self.told = told;
        let next = if a_second > 2 * AIM {
            self.period_ns.saturating_mul(a_second) / AIM
        } else if a_second < AIM / 2 {
            self.period_ns / 2
        } else {
            self.period_ns
        };
        let next = next.clamp(SHORTEST_NS, LONGEST_NS);
        let changes = next != self.period_ns;
        self.period_ns = next;
        changes.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(threads: u32, a_second: &[u64], expected_ms: u64) {
        let mut pacing = WakePacing::new(threads);
        let mut told = 0;
        for more in a_second {
            told += more;
            pacing.observe(told);
        }
        assert_eq!(pacing.period_ns(), expected_ms * 1_000_000);
    }

    #[test]
    fn it_begins_with_what_threads_that_always_wait_would_bring() {
        check(1, &[], 10);
        check(100, &[], 500);
        check(100_000, &[], 10_000);
    }

    #[test]
    fn a_storm_is_thinned_out_at_once() {
        check(1, &[40_000], 2_000);
    }

    #[test]
    fn quiet_threads_are_told_of_more_often_again() {
        check(100, &[10, 10, 10, 10, 10, 10], 10);
    }

    #[test]
    fn what_is_about_right_stays() {
        check(100, &[200, 350, 150], 500);
    }
}
