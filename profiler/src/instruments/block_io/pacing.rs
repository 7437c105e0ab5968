//! How many of the stacks that submit requests are taken. Pure.
//!
//! In: how many were chosen so far, once a second. Out: the chance of each. What one stands for goes with it, so the chance may change
//! at any moment without a bias.

/// A second should bring about so many: each takes 20 KiB of the ring until it is read.
const AIM: u64 = 100;
/// At first, when it is not known how many requests there are. The programs take no more than a few on each CPU at a time.
const FIRST: f64 = 1.0 / 32.0;
/// One of so many at the least: a disk does some million requests a second.
const LEAST: f64 = 1.0 / 65_536.0;

/// Chooses the chance.
#[derive(Debug)]
pub struct SubmitPacing {
    chance: f64,
    seen: u64,
}

impl SubmitPacing {
    pub fn new() -> Self {
        Self { chance: FIRST, seen: 0 }
    }

    /// A stack is taken when a random `u32` is at most this.
    pub fn threshold(&self) -> u32 {
        // Saturates at the largest.
        (self.chance * 2_f64.powi(32) - 1.0).max(0.0) as u32
    }

    /// Takes in how many were chosen so far, once a second. Returns the threshold if it changes.
    pub fn observe(&mut self, chosen: u64) -> Option<u32> {
        let a_second = chosen.saturating_sub(self.seen);
        self.seen = chosen;
        let next = if a_second > 2 * AIM {
            self.chance * AIM as f64 / a_second as f64
        } else if a_second < AIM / 2 {
            self.chance * 4.0
        } else {
            self.chance
        };
        let before = self.threshold();
        self.chance = next.clamp(LEAST, 1.0);
        let now = self.threshold();
        (now != before).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requests_a_second: u64, least: f64, most: f64) {
        let (mut pacing, mut chosen) = (SubmitPacing::new(), 0);
        for _ in 0..20 {
            chosen += (requests_a_second as f64 * pacing.chance) as u64;
            pacing.observe(chosen);
        }
        assert!((least..=most).contains(&pacing.chance), "{}", pacing.chance);
    }

    #[test]
    fn it_brings_about_as_many_as_it_aims_at_or_all() {
        check(10, 1.0, 1.0);
        check(1000, 0.05, 0.2);
        check(100_000, 0.0005, 0.002);
    }

    #[test]
    fn all_are_taken_where_there_are_few() {
        let mut pacing = SubmitPacing::new();
        for _ in 0..5 {
            pacing.observe(0);
        }
        assert_eq!(pacing.threshold(), u32::MAX);
    }
}
