//! How sure a median is, without any assumption on how the values are distributed.
//!
//! Each of `n` independent values is below the true median with probability 1/2. So the median lies between the `k`th smallest
//! and the `k`th largest value unless fewer than `k` values fall on one side of it: with probability
//! `1 - 2 · P(B < k)`, B binomial with `n` and 1/2 (H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition, section
//! 7.1). Of five values the smallest and the largest bound it with 1 - 2/32 = 93.75 %; for 95 % six are needed.

use super::rounds::Series;

/// What an interval should reach, if there are enough values.
const WANTED: f64 = 0.95;

/// Which values bound the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The `rank`th smallest and the `rank`th largest, from 1.
    pub rank: usize,
    /// Probability that the median lies between the two.
    pub confidence: f64,
}

/// The narrowest bounds that reach 95 %, or the widest that there are.
pub fn bounds(values: usize) -> Bounds {
    // Ranks beyond the middle would cross.
    let mut all = (1..=values / 2).map(|rank| Bounds { rank, confidence: confidence(values, rank) });
    let widest = Bounds { rank: 1, confidence: confidence(values, 1) };
    all.rfind(|bounds| bounds.confidence >= WANTED).unwrap_or(widest)
}

fn confidence(values: usize, rank: usize) -> f64 {
    let mut ways = 1.0;
    let mut tail = 0.0;
    for below in 0..rank {
        tail += ways;
        ways = ways * (values - below) as f64 / (below + 1) as f64;
    }
    (1.0 - 2.0 * tail / 2f64.powi(values as i32)).max(0.0)
}

impl Series {
    /// The confidence interval of the median.
    pub fn interval(&self) -> (f64, f64) {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = bounds(sorted.len()).rank;
        (sorted[rank - 1], sorted[sorted.len() - rank])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: usize, rank: usize, confidence: f64) {
        let found = bounds(values);
        assert_eq!(found.rank, rank);
        assert!((found.confidence - confidence).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn one_value_bounds_nothing() {
        check(1, 1, 0.0);
    }

    #[test]
    fn five_values_do_not_reach_95_percent() {
        // 1 - 2 · 1/32
        check(5, 1, 0.9375);
    }

    #[test]
    fn six_values_do() {
        // 1 - 2 · 1/64
        check(6, 1, 0.968_75);
    }

    #[test]
    fn of_more_values_the_outermost_are_left_out() {
        // 1 - 2 · (1 + 9)/512, and 1 - 2 · (1 + 20 + 190 + 1140 + 4845 + 15504)/1048576
        check(9, 2, 0.960_937_5);
        check(20, 6, 0.958_610_534_667_968_8);
    }

    #[test]
    fn an_interval_is_made_of_the_values() {
        let of = |values: &[f64]| Series::new("x", values.iter().copied()).interval();
        assert_eq!(of(&[3.0, 1.0, 5.0, 2.0, 4.0]), (1.0, 5.0));
        assert_eq!(of(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), (2.0, 8.0));
    }
}
