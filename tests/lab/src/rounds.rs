//! Variants of a measurement, taken in turn, so that a machine that grows slower does so for all of them.

use std::fmt::Write;

use anyhow::{Context, Result};

/// One variant's name, and what measures it once.
pub type Variant<'a> = (&'static str, Box<dyn FnMut() -> Result<f64> + 'a>);

/// What was measured of one variant, a value a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: &'static str,
    pub values: Vec<f64>,
}

/// Measures each variant once a round.
pub fn in_turn(rounds: u16, mut variants: Vec<Variant>) -> Result<Vec<Series>> {
    let mut all: Vec<_> = variants.iter().map(|(name, _)| Series { name, values: Vec::new() }).collect();
    for round in 1..=rounds {
        for ((name, measure), series) in variants.iter_mut().zip(&mut all) {
            let value = measure().with_context(|| format!("`{name}`, round {round}"))?;
            eprintln!("round {round} of {rounds}, {name}: {value:.4}");
            series.values.push(value);
        }
    }
    Ok(all)
}

impl Series {
    /// A series from values that were computed round by round.
    pub fn new(name: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        Self { name, values: values.into_iter().collect() }
    }

    /// The middle value, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
    }

    /// Smallest and largest value.
    pub fn spread(&self) -> (f64, f64) {
        let smallest = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (smallest, largest)
    }
}

/// A table of series, a line each.
pub fn table(heading: &str, decimals: usize, all: &[Series]) -> String {
    let mut text = format!("| {heading} | median | smallest | largest |\n|---|---|---|---|\n");
    for series in all {
        let (median, (smallest, largest)) = (series.median(), series.spread());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {median:.decimals$} | {smallest:.decimals$} | {largest:.decimals$} |",
            series.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Series, in_turn, table};

    #[track_caller]
    fn check_median(values: &[f64], expected: f64) {
        let found = Series::new("x", values.iter().copied()).median();
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    #[test]
    fn median_is_the_middle_and_not_the_mean() {
        check_median(&[1.0, 100.0, 2.0], 2.0);
        check_median(&[4.0, 1.0, 2.0, 100.0], 3.0);
        check_median(&[7.0], 7.0);
    }

    #[test]
    fn variants_take_turns() {
        let clock = Cell::new(0.0);
        let tick = || {
            clock.set(clock.get() + 1.0);
            Ok(clock.get())
        };
        let all = in_turn(2, vec![("a", Box::new(tick)), ("b", Box::new(tick))]).unwrap();
        assert_eq!(all, [Series::new("a", [1.0, 3.0]), Series::new("b", [2.0, 4.0])]);
    }

    #[test]
    fn table_has_median_and_spread() {
        let text = table("ns", 1, &[Series::new("no tool", [3.0, 1.0, 2.0])]);
        assert!(text.ends_with("| no tool | 2.0 | 1.0 | 3.0 |\n"), "{text}");
    }
}
