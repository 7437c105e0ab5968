//! The tables of what works where: on the terminal, and in docs/kernels.md.

use std::fmt::Write as _;

use super::guest::End;
use super::probes::{PROBES, Seen, Verdict};
use super::programs::{NotRun, Test};
use super::results::Outcome;
use super::{Row, State};

/// A text of Markdown with the reasons under its tables.
pub fn document(rows: &[Row], not_run: &[NotRun]) -> String {
    let mut notes = Notes::default();
    let mut text = probes(rows, &mut notes);
    text += "\nMedian time of a read from disks of known delay, in milliseconds (50 reads of 4 KiB, past the page cache):\n\n";
    text += &disks(rows, &mut notes);
    text += "\nLive tests:\n\n";
    text += &tests(rows, &mut notes);
    text += "\n";
    for (number, note) in notes.0.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", number + 1);
    }
    if !not_run.is_empty() {
        text += "\nNot run on any kernel, because the guests lack something:\n\n";
    }
    for NotRun { test: Test { program, name }, why } in not_run {
        let _ = writeln!(text, "- `{program}::{name}`: {why}");
    }
    text
}

/// Sentences that stand under the tables once, however often they are referred to.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// `WORD (N)`.
    fn cell(&mut self, word: &str, note: &str) -> String {
        let note = note.split_whitespace().collect::<Vec<_>>().join(" ");
        let number = self.0.iter().position(|known| *known == note).unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        });
        format!("{word} ({})", number + 1)
    }
}

fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn head(name: &str, rows: &[Row]) -> String {
    line(name, rows.iter().map(|row| row.series.clone())) + &"|---".repeat(rows.len() + 1) + "|\n"
}

fn probes(rows: &[Row], notes: &mut Notes) -> String {
    let mut text = head("Linux", rows);
    text += &line(
        "Debian's kernel",
        rows.iter().map(|row| match &row.state {
            State::Booted(boot) => boot.results.kernel.clone().unwrap_or_else(|| "did not boot".into()),
            State::Skipped(why) => notes.cell("SKIPPED", why),
        }),
    );
    for probe in PROBES {
        text += &line(
            probe.name,
            rows.iter().map(|row| {
                let State::Booted(boot) = &row.state else { return "–".into() };
                match Seen::new(&boot.results).map(|seen| probe.verdict(&seen)) {
                    Ok(Verdict::Works) => "works".into(),
                    Ok(Verdict::Fallback(how)) => notes.cell("fallback", &how),
                    Ok(Verdict::Off(why)) => notes.cell("off", &why),
                    Ok(Verdict::Broken(why)) | Err(why) => notes.cell("BROKEN", &why),
                }
            }),
        );
    }
    text
}

fn disks(rows: &[Row], notes: &mut Notes) -> String {
    let booted = |row: &Row| {
        if let State::Booted(boot) = &row.state { Some(boot.results.disks.clone()) } else { None }
    };
    let names: Vec<_> =
        rows.iter().filter_map(booted).flatten().map(|disk| (disk.name, disk.set_ms)).collect();
    let mut names: Vec<_> = names.into_iter().fold(Vec::new(), |mut seen, name| {
        if !seen.contains(&name) {
            seen.push(name);
        }
        seen
    });
    let mut text = head("disk, set to", rows);
    for (name, set_ms) in names.drain(..) {
        text += &line(
            &format!("{name}, {set_ms} ms"),
            rows.iter().map(|row| {
                let disk = booted(row).and_then(|disks| disks.into_iter().find(|disk| disk.name == name));
                match disk.map(|disk| disk.read_ms) {
                    None => "–".into(),
                    Some(Ok((_, median))) => format!("{median:.1}"),
                    Some(Err(why)) => notes.cell("off", &why),
                }
            }),
        );
    }
    text
}

fn tests(rows: &[Row], notes: &mut Notes) -> String {
    let mut text = head("tests", rows);
    let count = |row: &Row, wanted: fn(&Outcome) -> bool| {
        let State::Booted(boot) = &row.state else { return "–".to_owned() };
        boot.results.tests.iter().filter(|tested| wanted(&tested.outcome)).count().to_string()
    };
    text += &line("passed", rows.iter().map(|row| count(row, |outcome| *outcome == Outcome::Passed)));
    text += &line(
        "of these, at the second try",
        rows.iter().map(|row| {
            let names: Vec<_> = second_tries(row).map(|(test, _)| format!("`{}`", test.name)).collect();
            match names.len() {
                0 => count(row, |_| false),
                number => {
                    notes.cell(&number.to_string(), &format!("at the second try: {}", names.join(", ")))
                }
            }
        }),
    );
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed | Outcome::Unfinished);
    text += &line("failed", rows.iter().map(|row| count(row, failed)));
    text += &line(
        "not run on this kernel",
        rows.iter().map(|row| {
            let number = count(row, |outcome| matches!(outcome, Outcome::NotRun(_)));
            match not_run(row) {
                None => number,
                Some(why) => notes.cell(&number, &why),
            }
        }),
    );
    text
}

/// Tests that failed at first and then passed, with what they printed at first.
fn second_tries(row: &Row) -> impl Iterator<Item = (&Test, &String)> {
    let tests = match &row.state {
        State::Booted(boot) => boot.results.tests.as_slice(),
        State::Skipped(_) => &[],
    };
    let passed = tests.iter().filter(|tested| tested.outcome == Outcome::Passed);
    passed.filter_map(|tested| Some((&tested.test, tested.first_try.as_ref()?)))
}

/// What those printed.
pub fn first_tries(rows: &[Row]) -> Vec<String> {
    let of = |row: &Row| {
        let told = |(Test { program, name }, output): (&Test, &String)| {
            format!("Linux {}: {program}::{name}\n{output}", row.series)
        };
        second_tries(row).map(told).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of).collect()
}

/// Which tests a kernel cannot pass, and why.
fn not_run(row: &Row) -> Option<String> {
    let State::Booted(boot) = &row.state else { return None };
    let of = |tested: &super::results::Tested| match &tested.outcome {
        Outcome::NotRun(why) => Some(format!("`{}`: {why}", tested.test.name)),
        _ => None,
    };
    let all: Vec<_> = boot.results.tests.iter().filter_map(of).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What a person looks for first, a line each: failures with what the tests printed.
pub fn failures(rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        let State::Booted(boot) = &row.state else { continue };
        let mut tell = |what: String| found.push(format!("Linux {}: {what}", row.series));
        match &boot.end {
            End::Done => {}
            End::Broken(why) => tell(why.clone()),
            End::TimedOut => tell("the guest was not done within its time".into()),
        }
        boot.results.notes.iter().for_each(|note| tell(note.clone()));
        match Seen::new(&boot.results) {
            Err(why) => tell(why),
            Ok(seen) => {
                for probe in PROBES {
                    if let Verdict::Broken(why) = probe.verdict(&seen) {
                        tell(format!("{}: {why}", probe.name));
                    }
                }
            }
        }
        for tested in &boot.results.tests {
            let Test { program, name } = &tested.test;
            match tested.outcome {
                Outcome::Failed => tell(format!("{program}::{name} failed\n{}", tested.output)),
                Outcome::Unfinished => tell(format!("{program}::{name} did not end\n{}", tested.output)),
                _ => {}
            }
        }
    }
    found
}
