//! The tables of workloads under tools.

use std::fmt::Write;

use super::outputs::Measured;
use super::tools::{NO_TOOL, Tool};
use super::{Row, UnderTool};
use crate::interval::bounds;
use crate::rounds::Series;

const RATE: fn(&Measured) -> Option<f64> = |run| Some(run.rate);
const P99: fn(&Measured) -> Option<f64> = |run| run.p99_ms;
/// What stands where there is no number.
const NOTHING: &str = "–";

/// All workloads and tools: the medians of the throughput ratios.
pub fn summary(rows: &[Row], tools: &[Tool], rounds: u16) -> String {
    let confidence = bounds(rounds.into()).confidence * 100.0;
    let mut text = format!(
        "Rounds: {rounds}; confidence of the intervals below: {confidence:.2} %.\n\n\
         | throughput, ratio to no tool |{}\n|---|{}\n",
        rows.iter().fold(String::new(), |line, row| line + " " + row.workload.name + " |"),
        "---|".repeat(rows.len())
    );
    for (place, tool) in tools.iter().enumerate().filter(|(_, tool)| tool.name != NO_TOOL) {
        let cells = rows.iter().map(|row| match &row.measured {
            Ok(all) => median(&all[place].ratios(&all[0], RATE)),
            Err(_) => NOTHING.to_owned(),
        });
        let _ = writeln!(text, "| {} | {} |", tool.name, cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Each workload by itself.
pub fn workloads(rows: &[Row]) -> String {
    rows.iter().map(workload).collect::<Vec<_>>().join("\n")
}

fn workload(row: &Row) -> String {
    let all = match &row.measured {
        Ok(all) => all,
        Err(reason) => return format!("**{}: not measured**: {reason}.\n", row.workload.name),
    };
    let has_p99 = !all[0].series(P99).values.is_empty();
    let mut text = format!("| {} | {} | ratio |", row.workload.name, row.workload.unit);
    text += if has_p99 { " p99, ms | ratio |\n|---|---|---|---|---|\n" } else { "\n|---|---|---|\n" };
    for under in all {
        let mut numbers = pair(under, &all[0], RATE);
        if has_p99 {
            numbers.extend(pair(under, &all[0], P99));
        }
        let _ = writeln!(text, "| {} | {} |", under.tool.name, numbers.join(" | "));
    }
    for under in all {
        for reason in &under.failures {
            let reason = reason.replace('\n', " ");
            let _ = writeln!(text, "\nNot measured: {} ({reason})", under.tool.name);
        }
    }
    text
}

/// What a tool takes from a workload, as a part of what another one takes, in the same round: medians and spread.
pub fn loss_of(rows: &[Row], ours: &'static str, theirs: &str) -> String {
    let mut text = format!(
        "\n| loss with {ours} | median | with {theirs} | median | difference, in points of the throughput |\n\
         |---|---|---|---|---|\n"
    );
    for row in rows {
        let Ok(all) = &row.measured else { continue };
        let find = |name: &str| all.iter().find(|under| under.tool.name == name);
        let (Some(our), Some(their)) = (find(ours), find(theirs)) else { continue };
        let loss = |under: &UnderTool| {
            let ratios = under.ratios(&all[0], RATE);
            Series::new(under.tool.name, ratios.values.iter().map(|ratio| 1.0 - ratio))
        };
        let (our, their) = (loss(our), loss(their));
        if our.values.is_empty() || our.values.len() != their.values.len() {
            continue;
        }
        let differences =
            Series::new(ours, our.values.iter().zip(&their.values).map(|(our, their)| our - their));
        let name = row.workload.name;
        let cells = [median(&our), median(&their), with_spread(&differences)];
        let _ = writeln!(text, "| {name} | {} | {name} | {} | {} |", cells[0], cells[1], cells[2]);
    }
    text
}

/// The absolute median and the ratio.
fn pair(under: &UnderTool, no_tool: &UnderTool, number: fn(&Measured) -> Option<f64>) -> Vec<String> {
    let absolute = under.series(number);
    let absolute =
        if absolute.values.is_empty() { NOTHING.to_owned() } else { three_digits(absolute.median()) };
    if under.tool.name == NO_TOOL {
        return vec![absolute, "1".to_owned()];
    }
    vec![absolute, with_spread(&under.ratios(no_tool, number))]
}

fn median(series: &Series) -> String {
    if series.values.is_empty() { NOTHING.to_owned() } else { format!("{:.3}", series.median()) }
}

/// The median with its spread and, where that is another, its confidence interval.
fn with_spread(series: &Series) -> String {
    if series.values.is_empty() {
        return NOTHING.to_owned();
    }
    let (spread, interval) = (series.spread(), series.interval());
    let range = |(low, high): (f64, f64)| format!("{low:.3}–{high:.3}");
    let narrower = if spread == interval { String::new() } else { format!("; {}", range(interval)) };
    format!("{:.3} ({}{narrower})", series.median(), range(spread))
}

/// A number with three digits that say something, or with all before the point.
fn three_digits(value: f64) -> String {
    let exponent = value.abs().log10().floor() as i32;
    format!("{value:.*}", 2i32.saturating_sub(exponent).clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, expected) in [
            (183_664.2, "183664"),
            (33.149, "33.1"),
            (0.090_21, "0.0902"),
            (1.854, "1.85"),
            (0.0, "0.000000"),
        ] {
            assert_eq!(three_digits(value), expected);
        }
    }

    #[test]
    fn five_rounds_have_their_spread_as_interval() {
        let series = Series::new("x", [0.9, 1.0, 0.95, 0.8, 1.1]);
        assert_eq!(with_spread(&series), "0.950 (0.800–1.100)");
    }

    #[test]
    fn more_rounds_have_both() {
        let series = Series::new("x", [0.9, 1.0, 0.95, 0.8, 1.1, 1.2, 1.3, 1.4, 1.5]);
        assert_eq!(with_spread(&series), "1.100 (0.800–1.500; 0.900–1.400)");
    }

    #[test]
    fn a_tool_that_never_ran_has_no_number() {
        assert_eq!(with_spread(&Series::new("x", [])), "–");
    }
}
