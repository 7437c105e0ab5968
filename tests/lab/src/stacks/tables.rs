//! The tables of docs/stacks.md about the programs. A number that misses its goal is bold.

use std::fmt::Write;

use super::compare::Comparison;
use super::{Judged, Row, Whole};
use profiler_tests::command::repository;

/// Share of the stacks that must reach a thread's entry.
const WHOLE: f64 = 0.995;
/// Share of the frames that must have a name.
const NAMED: f64 = 0.99;
/// Disagreements that are shown of a program.
const SHOWN: usize = 3;
/// Characters of a stack's line that are shown.
const WIDTH: usize = 160;

/// How many stacks reach a thread's entry.
pub fn whole(rows: &[Row]) -> String {
    let head = "| stacks that reach the entry, % | on-CPU | perf | off-CPU | perf | samples, ours | samples, perf |\n\
                |---|---|---|---|---|---|---|\n";
    let mut text = table(head, rows, 6, |judged| {
        let Judged { on_cpu, off_cpu, .. } = judged;
        let samples = |side: usize| {
            format!("{} + {}{}", on_cpu.samples[side], off_cpu.samples[side], lost(judged, side))
        };
        format!(
            "{} | {} | {} | {}",
            pair(on_cpu.share, WHOLE),
            pair(off_cpu.share, WHOLE),
            samples(0),
            samples(1)
        )
    });
    text.push_str("\nProfiler stacks that do not reach the entry, largest groups of each program:\n\n");
    for (name, judged) in measured(rows) {
        for (view, ends) in ["on-CPU", "off-CPU"].iter().zip(&judged.ends) {
            for (path, share) in ends.iter().filter(|(_, share)| *share >= 0.0005) {
                let _ = writeln!(text, "- {name}, {view}, {:.1} %: `{}`", share * 100.0, shortened(path));
            }
        }
    }
    text
}

fn lost(judged: &Judged, side: usize) -> String {
    let of = |whole: &Whole| whole.lost[side];
    match of(&judged.on_cpu) + of(&judged.off_cpu) {
        0 => String::new(),
        lost => format!(" ({lost} lost)"),
    }
}

/// Do the largest stacks, and the innermost functions, have the same shares?
pub fn shares(rows: &[Row]) -> String {
    let head = "| the 20 largest on each side, on-CPU | stacks compared | different | innermost functions compared | different |\n\
                |---|---|---|---|---|\n";
    let cells = |one: &Comparison| {
        let differ = one.differ.len();
        format!("{} | {}", one.compared, flagged(differ.to_string(), differ == 0))
    };
    let mut text = table(head, rows, 4, |judged| {
        format!("{} | {}", cells(&judged.whole_stacks), cells(&judged.innermost))
    });
    text.push_str("\nThe largest differences of each program, in % of its samples:\n\n");
    for (name, judged) in measured(rows) {
        let stacks = judged.whole_stacks.differ.iter().take(SHOWN);
        for one in stacks.chain(judged.innermost.differ.iter().take(SHOWN)) {
            let (ours, perf, allowed) = (one.ours * 100.0, one.theirs * 100.0, one.allowed * 100.0);
            let path = shortened(&one.path);
            let _ = writeln!(text, "- {name}: profiler {ours:.1}, perf {perf:.1} (± {allowed:.1}): `{path}`");
        }
    }
    text
}

/// How many user frames have a name.
pub fn names(rows: &[Row]) -> String {
    let head = "| user frames with a name, % | in files with symbols | perf | in all files | perf |\n|---|---|---|---|---|\n";
    table(head, rows, 4, |judged| {
        let [where_symbols, perf] = judged.names_where_symbols;
        let is_good = where_symbols.is_some_and(|share| share >= NAMED);
        // Of all files no share is promised: a stripped one has no names to find.
        let [all, perf_all] = judged.names.map(percent);
        format!("{} | {} | {all} | {perf_all}", flagged(percent(where_symbols), is_good), percent(perf))
    })
}

fn measured(rows: &[Row]) -> impl Iterator<Item = (&'static str, &Judged)> {
    rows.iter().filter_map(|row| Some((row.name, row.judged.as_ref().ok()?)))
}

fn table(head: &str, rows: &[Row], columns: usize, cells: impl Fn(&Judged) -> String) -> String {
    let mut text = head.to_owned();
    for Row { name, judged } in rows {
        let cells = match judged {
            Ok(judged) => cells(judged),
            Err(reason) => format!("**not measured**: {reason}{}", " |".repeat(columns - 1)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {cells} |");
    }
    text
}

/// Two cells: our share, and perf's. Ours is bold below the goal or below perf's.
fn pair([ours, perf]: [Option<f64>; 2], goal: f64) -> String {
    let is_good = ours.is_some_and(|ours| ours >= goal && perf.is_none_or(|perf| ours >= perf));
    format!("{} | {}", flagged(percent(ours), is_good), percent(perf))
}

fn percent(share: Option<f64>) -> String {
    // Cut, not rounded: 99.96 % is not all.
    share.map_or_else(|| "none".to_owned(), |share| format!("{:.1}", (share * 1000.0 + 1e-6).floor() / 10.0))
}

fn flagged(text: String, is_good: bool) -> String {
    if is_good { text } else { format!("**{text}**") }
}

/// The innermost part of a long stack, and its outermost function.
fn shortened(path: &str) -> String {
    // node's names have the script's whole path in them.
    let folder = format!("{}/", repository().display());
    let path = path.replace(&folder, "").replace(['`', '|', '\n'], "?");
    let characters = path.chars().count();
    if characters <= WIDTH {
        return path;
    }
    let entry = path.split(';').next().unwrap_or_default().chars().take(WIDTH / 4);
    let rest = path.chars().skip(characters - WIDTH);
    format!("{};…{}", entry.collect::<String>(), rest.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_below_the_goal_or_below_perf_is_bold() {
        assert_eq!(pair([Some(1.0), Some(0.999)], 0.995), "100.0 | 99.9");
        assert_eq!(pair([Some(0.994), Some(0.9)], 0.995), "**99.4** | 90.0");
        assert_eq!(pair([Some(0.996), Some(0.998)], 0.995), "**99.6** | 99.8");
        assert_eq!(pair([None, Some(1.0)], 0.995), "**none** | 100.0");
    }

    #[test]
    fn nearly_all_is_not_all() {
        assert_eq!(percent(Some(0.99999)), "99.9");
        assert_eq!(percent(Some(1.0)), "100.0");
    }

    #[test]
    fn what_is_missing_has_a_row_that_says_so() {
        let rows = [Row { name: "Go", judged: Err("`go` is missing".to_owned()) }];
        assert!(shares(&rows).contains("| Go | **not measured**: `go` is missing | | | |\n"));
    }

    #[test]
    fn long_stacks_keep_their_ends() {
        let path = format!("_start;main;{};leaf", "f;".repeat(200));
        let short = shortened(&path);
        assert!(short.starts_with("_start;…") && short.ends_with(";leaf"), "{short}");
    }
}
