//! How things went: one line for each part of the recording, and when the verdict changed.

use super::{COLUMNS, Page, left, right};
use crate::analyze::{Course, Moment, Report, Stretch};

/// Columns of the bar of the part with the most working time.
const BAR: usize = 60;
/// What the parts of a bar are drawn with, in the order of [`Moment::parts`].
const INK: [(char, &str); 6] = [
    ('█', "on the CPU"),
    ('▒', "waiting for a CPU"),
    ('D', "disk"),
    ('L', "lock"),
    ('N', "network"),
    ('o', "other"),
];

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let Course { moments, stretches, .. } = &report.course;
    // A bar's length is the mean number of threads at work.
    let threads = |moment: &Moment| moment.working_ns() as f64 / moment.elapsed_ns().max(1) as f64;
    let most = moments.iter().map(threads).fold(0.0, f64::max);
    if moments.len() < 2 {
        return;
    }
    page.heading("Over time: threads at work");
    let legend: Vec<_> = INK.iter().map(|(ink, what)| format!("{ink} {what}")).collect();
    page.line(&format!("  {}", legend.join("   ")));
    for moment in moments {
        let (from, to) = (at(moment.from_ns), at(moment.to_ns));
        let line = format!(
            "  {} – {} {}  {}",
            right(&from, 9),
            left(&to, 9),
            right(&format!("{:.1}", threads(moment)), 8),
            bar(moment, threads(moment) / most.max(f64::MIN_POSITIVE), BAR - page.missing()),
        );
        page.line(&line);
    }
    if let Some(sentence) = changes(stretches) {
        page.note(&sentence);
    }
}

/// A moment of the recording: `20.0 s`.
fn at(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}

/// A bar of `share` of the full length, in which each part has its share.
fn bar(moment: &Moment, share: f64, full: usize) -> String {
    let columns = share.clamp(0.0, 1.0) * full as f64;
    let working_ns = moment.working_ns().max(1) as f64;
    let (mut drawn, mut so_far, mut text) = (0_usize, 0_u64, String::new());
    for (ns, (ink, _)) in moment.parts().into_iter().zip(INK) {
        so_far = so_far.saturating_add(ns);
        // By running sums, so that the parts fill the bar without a gap.
        let end = (columns * so_far as f64 / working_ns).round() as usize;
        text.extend(std::iter::repeat_n(ink, end.saturating_sub(drawn)));
        drawn = drawn.max(end);
    }
    text
}

/// Stretches that are named; a verdict that changes all the time has no more to say by its later changes.
const STRETCHES: usize = 6;

/// `From 20 s to 40 s: FSYNC_BOUND; before and after: IDLE.`
fn changes(stretches: &[Stretch]) -> Option<String> {
    match stretches {
        [] | [_] => None,
        [before, during, after] if before.id == after.id => Some(format!(
            "From {} to {}: {}; before and after: {}.",
            at(during.from_ns),
            at(during.to_ns),
            during.id,
            before.id
        )),
        _ => {
            let shown = stretches.iter().take(STRETCHES);
            let told: Vec<_> = shown
                .map(|stretch| {
                    format!("from {} to {}: {}", at(stretch.from_ns), at(stretch.to_ns), stretch.id)
                })
                .collect();
            let more = match stretches.len().saturating_sub(STRETCHES) {
                0 => String::new(),
                more => format!("; and {more} more changes"),
            };
            Some(format!("The verdict changes: {}{more}.", told.join("; ")))
        }
    }
}

const _: () = assert!(BAR + 2 + 9 + 3 + 9 + 1 + 8 + 2 <= COLUMNS, "a line fits on the page");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::{Confidence, VerdictId};

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_bar_has_its_parts_in_proportion() {
        let moment = Moment { to_ns: 10 * S, on_cpu_ns: 3 * S, disk_ns: S, ..Moment::default() };
        assert_eq!(bar(&moment, 8.0 / 60.0, 60), "██████DD");
        assert_eq!(bar(&Moment::default(), 0.0, 60), "");
    }

    #[test]
    fn a_verdict_that_was_another_one_for_a_while_is_one_sentence() {
        use VerdictId::{FsyncBound, Idle};
        let stretch =
            |from, to, id| Stretch { from_ns: from * S, to_ns: to * S, id, confidence: Confidence::High };
        let three = [stretch(0, 20, Idle), stretch(20, 40, FsyncBound), stretch(40, 60, Idle)];
        assert_eq!(
            changes(&three).as_deref(),
            Some("From 20.0 s to 40.0 s: FSYNC_BOUND; before and after: IDLE.")
        );
        assert_eq!(
            changes(&three[..2]).as_deref(),
            Some("The verdict changes: from 0.0 s to 20.0 s: IDLE; from 20.0 s to 40.0 s: FSYNC_BOUND.")
        );
        assert_eq!(changes(&[]), None);
    }
}
