//! `cargo xtask bench growth`: how the profiler's cost and memory grow with what it records.
//!
//! In: the release builds, the quantities of [`quantities`]. Out: tables of docs/overhead.md, and the plot that it embeds.

mod quantities;
mod recorded;
mod plot;

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};

use self::quantities::{QUANTITIES, Quantity};
use self::recorded::{COLUMNS, Cost};
use super::overhead::UnderPgbench;
use super::rounds::Series;
use super::{Bench, Section};
use profiler_tests::command::repository;

const PLOT: &str = "docs/overhead-growth.svg";

/// What was measured at one amount of a quantity.
pub struct Point {
    /// How much there was, by count where the workload does not fix it.
    amount: Series,
    /// In the order of [`COLUMNS`].
    costs: Vec<Series>,
}

/// A quantity with its points.
pub struct Curve {
    quantity: &'static Quantity,
    points: Vec<Point>,
}

/// The tables; the plot goes beside the document.
pub fn growth(bench: &Bench) -> Result<Vec<Section>> {
    let postgres = UnderPgbench::start(bench, "growth-postgres");
    let mut curves: Vec<_> = QUANTITIES.iter().map(Curve::new).collect();
    for round in 1..=bench.rounds {
        for curve in &mut curves {
            curve.measure(bench, &postgres, round)?;
        }
    }
    if bench.for_documents {
        fs::write(repository().join(PLOT), plot::plot(&curves)?)
            .with_context(|| format!("cannot write {PLOT}"))?;
    }
    let tables = curves.iter().map(table).collect::<Vec<_>>().join("\n");
    let heading = format!(
        "Rounds: {}; median (smallest–largest). CPU time in % of one CPU, memory in MiB.",
        bench.rounds
    );
    Ok(vec![("growth", format!("{heading}\n\n{tables}"))])
}

impl Curve {
    fn new(quantity: &'static Quantity) -> Self {
        let none = |name| Series { name, values: Vec::new() };
        let point = |_| Point {
            amount: none(quantity.name),
            costs: COLUMNS.iter().map(|(name, _)| none(name)).collect(),
        };
        Self { quantity, points: quantity.amounts.iter().map(point).collect() }
    }

    fn measure(&mut self, bench: &Bench, postgres: &UnderPgbench, round: u16) -> Result<()> {
        let Quantity { name, amounts, record } = self.quantity;
        for (amount, point) in amounts.iter().zip(&mut self.points) {
            let (found, cost) = record(bench, postgres, *amount)
                .with_context(|| format!("{amount} {name}, round {round}"))?;
            eprintln!("round {round} of {}, {amount} {name}: {cost:?}", bench.rounds);
            point.push(found, &cost);
        }
        Ok(())
    }

    /// The smallest and the largest amount.
    fn extent(&self) -> (f64, f64) {
        Series::new(self.quantity.name, self.points.iter().map(|point| point.amount.median())).spread()
    }
}

impl Point {
    fn push(&mut self, amount: f64, cost: &Cost) {
        self.amount.values.push(amount);
        for (series, (_, value)) in self.costs.iter_mut().zip(COLUMNS) {
            series.values.push(value(cost));
        }
    }
}

fn table(curve: &Curve) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut text = format!(
        "| {} | {} |\n|---{}|\n",
        curve.quantity.name,
        names.join(" | "),
        "|---".repeat(COLUMNS.len())
    );
    for point in &curve.points {
        let cells: Vec<_> = point.costs.iter().map(cell).collect();
        let _ = writeln!(text, "| {:.0} | {} |", point.amount.median(), cells.join(" | "));
    }
    text
}

fn cell(series: &Series) -> String {
    let (smallest, largest) = series.spread();
    format!("{:.2} ({smallest:.2}–{largest:.2})", series.median())
}
