//! The answer, before all numbers.

use super::Page;
use crate::analyze::{Report, Verdict};
use crate::report::{escape::visible, words};

/// Sentences of each kind.
const SENTENCES: usize = 4;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let verdict = &report.verdict;
    page.heading(&format!("Verdict: {} ({} confidence)", verdict.id, verdict.confidence.name()));
    page.note(&sentence(verdict));
    let lists =
        [("for", &verdict.evidence), ("against", &verdict.counter_evidence), ("next", &verdict.next_steps)];
    for (label, sentences) in lists {
        for (index, sentence) in sentences.iter().take(SENTENCES).enumerate() {
            let label = if index == 0 { label } else { "" };
            page.labelled(label, &visible(&words::sentence(sentence), 400));
        }
    }
    if let Some(gain) = verdict.max_gain.filter(|gain| *gain >= 1.05) {
        page.labelled("gain", &format!("up to {} as fast if this cost disappeared", times(gain)));
    }
}

/// The answer in one line, for where the report is not read.
pub fn verdict_line(verdict: &Verdict) -> String {
    format!("{} ({} confidence): {}", verdict.id, verdict.confidence.name(), sentence(verdict))
}

fn sentence(verdict: &Verdict) -> String {
    let text = visible(&words::sentence(&verdict.sentence), 400);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => text,
    }
}

/// `1.4 times`, `12 times`
fn times(gain: f64) -> String {
    if gain < 9.95 { format!("{gain:.1} times") } else { format!("{gain:.0} times") }
}
