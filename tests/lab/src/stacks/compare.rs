//! Do two samplings of the same run agree in the shares of their largest stacks?
//!
//! In: shares of stacks on both sides, and how many samples they rest on. Out: the stacks whose shares differ by more than
//! sampling explains. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// How many stacks of each side are compared.
const LARGEST: usize = 20;

/// Standard errors that a difference may have. Two lists of 20 are at most 40 comparisons; with a chance of 5 % that
/// any of them fails where nothing is wrong (Bonferroni), each may fail with one of 0.125 %, to both sides: the normal
/// distribution has that beyond 3.23.
pub const STANDARD_ERRORS: f64 = 3.23;

/// One side.
pub struct Side {
    pub shares: BTreeMap<String, f64>,
    pub samples: u64,
}

/// A stack with its shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub path: String,
    pub ours: f64,
    pub theirs: f64,
    pub allowed: f64,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub compared: usize,
    /// Those that differ too much, the largest difference first.
    pub differ: Vec<Difference>,
}

/// Compares the largest stacks of either side.
pub fn compare(ours: &Side, theirs: &Side) -> Comparison {
    let paths: BTreeSet<&String> = largest(ours).chain(largest(theirs)).collect();
    let share = |side: &Side, path: &String| side.shares.get(path).copied().unwrap_or(0.0);
    let mut differ: Vec<_> = paths
        .iter()
        .map(|&path| {
            let (p1, p2) = (share(ours, path), share(theirs, path));
            let allowed = allowed((p1, ours.samples as f64), (p2, theirs.samples as f64));
            Difference { path: path.clone(), ours: p1, theirs: p2, allowed }
        })
        .filter(|found| (found.ours - found.theirs).abs() > found.allowed)
        .collect();
    let size = |found: &Difference| (found.ours - found.theirs).abs();
    differ.sort_by(|a, b| size(b).total_cmp(&size(a)));
    Comparison { compared: paths.len(), differ }
}

fn largest(side: &Side) -> impl Iterator<Item = &String> {
    let mut all: Vec<_> = side.shares.iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(a.1));
    all.into_iter().take(LARGEST).map(|(path, _)| path)
}

/// The standard error of a difference of two shares of the same thing, taken from both together, times the number allowed.
fn allowed((p1, n1): (f64, f64), (p2, n2): (f64, f64)) -> f64 {
    let p = (p1 * n1 + p2 * n2) / (n1 + n2);
    STANDARD_ERRORS * (p * (1.0 - p) * (1.0 / n1 + 1.0 / n2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(samples: u64, shares: &[(&str, f64)]) -> Side {
        Side { shares: shares.iter().map(|(path, share)| ((*path).to_owned(), *share)).collect(), samples }
    }

    #[track_caller]
    fn check(ours: &[(&str, f64)], theirs: &[(&str, f64)], expected: &[&str]) {
        let found = compare(&side(400, ours), &side(400, theirs));
        let paths: Vec<_> = found.differ.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn shares_may_differ_by_the_sampling_error() {
        // At 50 % of 400 samples each, 3.23 standard errors are 11.4 points.
        check(&[("a", 0.55), ("b", 0.45)], &[("a", 0.45), ("b", 0.55)], &[]);
        check(&[("a", 0.56), ("b", 0.44)], &[("a", 0.44), ("b", 0.56)], &["a", "b"]);
    }

    #[test]
    fn a_stack_that_one_side_lacks_differs() {
        check(&[("a", 1.0)], &[("a", 0.75), ("b", 0.25)], &["a", "b"]);
    }

    #[test]
    fn a_rare_stack_that_one_side_has_not_seen_does_not() {
        check(&[("a", 1.0)], &[("a", 0.9975), ("b", 0.0025)], &[]);
    }

    #[test]
    fn only_the_largest_of_either_side_are_compared() {
        let names: Vec<String> = (0..50).map(|index| format!("{index:02}")).collect();
        let shares: Vec<_> = names.iter().map(|name| (name.as_str(), 0.02)).collect();
        assert_eq!(compare(&side(400, &shares), &side(400, &shares)).compared, 20);
    }
}
