//! The report for a terminal: 80 to 100 columns, to be understood in ten seconds.
//!
//! The order is that of an operator's questions: who, what is wrong, where did the time go, which thread, which code, how sure, at
//! what cost. Each doubt stands with the numbers that it affects.

mod course;
mod data;
mod disk_interval;
mod disks;
mod head;
mod ledger;
mod locks;
mod request_rows;
mod stacks;
mod threads;
mod verdict;
mod wait_times;

pub use disk_interval::DiskPage;

pub use verdict::verdict_line;

use std::io;

use super::numbers::Scale;
use super::{Render, escape};
use crate::analyze::Report;

/// Width of the longest line, and on a narrow terminal.
const COLUMNS: usize = 100;
const LEAST_COLUMNS: usize = 80;
/// Columns of a label before sentences.
const LABEL: usize = 7;

/// How a report may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Bold headings and red warnings: only for a terminal.
    pub colour: bool,
    /// Width of the terminal. Of more than 100 columns the rest stays free, and fewer than 80 count as 80.
    pub columns: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, columns: COLUMNS }
    }
}

/// Writes the report as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    pub style: Style,
}

impl Render for Text {
    fn render(&self, report: &Report<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let scale = Scale::for_total(report.ledger.account.elapsed_ns);
        let mut page = Page::new(self.style, scale);
        head::write(report, &mut page);
        verdict::write(report, &mut page);
        if !report.threads.is_empty() {
            course::write(report, &mut page);
            ledger::write(report, &mut page);
            wait_times::write(report, &mut page);
            threads::write(report, &mut page);
            stacks::write(report, &mut page);
            locks::write(report, &mut page);
            disks::write(report, &mut page);
        }
        data::write(report, &mut page);
        out.write_all(page.text.as_bytes())
    }
}

/// The text so far.
struct Page {
    style: Style,
    /// Of every column of times, so that they can be compared at a glance.
    scale: Scale,
    text: String,
}

impl Page {
    fn new(style: Style, scale: Scale) -> Self {
        let columns = style.columns.clamp(LEAST_COLUMNS, COLUMNS);
        Self { style: Style { columns, ..style }, scale, text: String::new() }
    }

    fn columns(&self) -> usize {
        self.style.columns
    }

    /// Columns that are missing to the full width: what is nice to have gives way.
    fn missing(&self) -> usize {
        COLUMNS - self.columns()
    }

    /// One line, cut to the width of the page. Names in it are already made visible.
    fn line(&mut self, line: &str) {
        self.text.push_str(&fitted(line, self.columns()));
        self.text.push('\n');
    }

    /// A time in a column.
    fn time(&self, ns: u64) -> String {
        self.scale.show(ns)
    }

    /// Starts a section.
    fn heading(&mut self, heading: &str) {
        self.text.push('\n');
        if escape::columns(heading) <= self.columns() {
            return self.coloured("1", heading);
        }
        // The headings of tables are narrower than any page.
        for line in wrapped(heading, self.columns()) {
            self.coloured("1", &line);
        }
    }

    /// Something that the reader must not miss, wrapped.
    fn warning(&mut self, warning: &str) {
        for line in wrapped(warning, self.columns()) {
            self.coloured("1;31", &line);
        }
    }

    /// A sentence below the numbers that it is about, wrapped.
    fn note(&mut self, note: &str) {
        for line in wrapped(note, self.columns() - 2) {
            self.line(&format!("  {line}"));
        }
    }

    /// A sentence behind a label that stands once, wrapped.
    fn labelled(&mut self, label: &str, sentence: &str) {
        for (index, line) in wrapped(sentence, self.columns() - LABEL - 3).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.line(&format!("  {} {line}", left(label, LABEL)));
        }
    }

    /// A row of numbers and a sentence behind them, which continues below itself where the page is too narrow.
    fn row_with(&mut self, numbers: &str, sentence: &str) {
        let columns = self.columns().saturating_sub(escape::columns(numbers));
        for (index, line) in wrapped(sentence, columns).iter().enumerate() {
            let start = if index == 0 { numbers.to_owned() } else { " ".repeat(escape::columns(numbers)) };
            self.line(&(start + line));
        }
    }

    fn coloured(&mut self, code: &str, line: &str) {
        if self.style.colour {
            let line = format!("\x1b[{code}m{}\x1b[0m\n", fitted(line, self.columns()));
            self.text.push_str(&line);
        } else {
            self.line(line);
        }
    }
}

/// `line` without spaces at its end, cut where it is wider than the page: numbers in a capture may have any length.
fn fitted(line: &str, columns: usize) -> String {
    let line = line.trim_end();
    if escape::columns(line) <= columns {
        return line.to_owned();
    }
    escape::take_columns(line, columns - 1) + "…"
}

/// `text` in lines of at most `columns`, all but the first indented by two; a longer word is cut.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for phrase in phrases(text) {
        let phrase = escape::visible(&phrase, columns - 2);
        let space = usize::from(!line.trim().is_empty());
        if space == 1 && escape::columns(&line) + 1 + escape::columns(&phrase) > columns {
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
        } else if space == 1 {
            line.push(' ');
        }
        line.push_str(&phrase);
    }
    lines.push(line);
    lines
}

/// The parts of `text` between which a line may end: its words, but a number stays with its unit or what it counts.
fn phrases(text: &str) -> Vec<String> {
    let mut phrases: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match phrases.last_mut() {
            Some(last) if word == "×" || last.ends_with(|c: char| c.is_ascii_digit() || c == '×') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => phrases.push(word.to_owned()),
        }
    }
    phrases
}

/// `text` filled up with spaces on the right to `columns`.
fn left(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(escape::columns(text))))
}

/// `text` filled up with spaces on the left to `columns`.
fn right(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(escape::columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_wrapped_and_indented() {
        assert_eq!(wrapped("aaa bbb ccc ddd", 7), ["aaa bbb", "  ccc", "  ddd"]);
        assert_eq!(wrapped("aaa 1 204 %", 9), ["aaa", "  1 204 %"]);
        assert_eq!(wrapped("abcdefghijkl", 8), ["ab…jkl".to_owned()]);
    }
}
