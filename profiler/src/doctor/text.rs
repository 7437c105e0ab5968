//! The findings as text: one line a check, and below it what fixes it.

use std::io;

use super::{Diagnosis, Finding, Kind, Need, Outcome};
use profiler_report::report::{visible, wrapped};

/// Of a kernel's refusal no more is shown.
const MOST_COLUMNS: usize = 400;
/// Where sentences begin.
const INDENT: usize = 42;
/// How wide they are: the whole has 120 columns.
const COLUMNS: usize = 120 - INDENT;

/// Writes all of them.
///
/// # Errors
/// Those of the writer.
pub fn render(diagnosis: &Diagnosis, out: &mut dyn io::Write) -> io::Result<()> {
    writeln!(out, "{}", summary(diagnosis))?;
    for (kind, title) in [(Kind::Requirement, "Requirements"), (Kind::Probe, "Probes")] {
        writeln!(out, "\n{title}")?;
        for finding in diagnosis.findings.iter().filter(|finding| finding.kind == kind) {
            line(finding, out)?;
        }
    }
    Ok(())
}

fn summary(diagnosis: &Diagnosis) -> String {
    let outcome = diagnosis.outcome();
    let count = |name: &str| {
        let used = diagnosis.findings.iter().filter(|finding| finding.need != Need::Unused);
        used.filter(|finding| finding.verdict.name() == name).count()
    };
    let counts = format!("{} degraded, {} impossible", count("degraded"), count("impossible"));
    match outcome {
        Outcome::Works => "works: nothing is missing".to_owned(),
        Outcome::Degraded => format!("degraded: recordings work with losses ({counts})"),
        Outcome::CannotRun => format!("cannot run: nothing can be recorded ({counts})"),
    }
}

fn line(finding: &Finding, out: &mut dyn io::Write) -> io::Result<()> {
    let unused = if finding.need == Need::Unused { " (not used by recordings)" } else { "" };
    let sentence = visible(&finding.sentence(), MOST_COLUMNS) + unused;
    let lines = wrapped(&sentence, COLUMNS).join(&format!("\n{:INDENT$}", ""));
    writeln!(out, "  {:<10}  {:<27} {lines}", finding.verdict.name(), finding.name)?;
    for mend in finding.verdict.mend() {
        writeln!(out, "              fix: {}", visible(mend, MOST_COLUMNS))?;
    }
    Ok(())
}

/// One finding for a recording that is about to begin.
pub fn warning(finding: &Finding) -> String {
    let (verdict, sentence) = (finding.verdict.name(), visible(&finding.sentence(), MOST_COLUMNS));
    let head = format!("profiler: {} is {verdict}: {sentence}", finding.name);
    let mend = finding.verdict.mend().iter().map(|mend| format!("\n  try: {}", visible(mend, MOST_COLUMNS)));
    head + &mend.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(findings: Vec<Finding>, expected: &str) {
        let mut out = vec![];
        render(&Diagnosis { findings }, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_check_is_a_line_and_what_mends_it_is_below() {
        check(
            vec![
                Finding::required("kernel", "Linux 6.1"),
                Finding::optional("kptr_restrict", "2")
                    .degraded("names", &["sudo sysctl kernel.kptr_restrict=1"]),
                Finding::unused("block events", "").probe().impossible("this kernel has none", &[]),
            ],
            "\
degraded: recordings work with losses (1 degraded, 0 impossible)

Requirements
  works       kernel                      Linux 6.1
  degraded    kptr_restrict               2; lost: names
              fix: sudo sysctl kernel.kptr_restrict=1

Probes
  impossible  block events                this kernel has none (not used by recordings)
",
        );
    }

    #[test]
    fn what_the_system_tells_is_escaped() {
        let mut out = vec![];
        let findings = vec![Finding::required("kernel", "\x1b[2Jx\ny").impossible("a\u{202e}", &["b\r"])];
        render(&Diagnosis { findings }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.is_ascii() && !text.contains(['\x1b', '\r']), "{text:?}");
        assert!(text.contains("\\x1b[2Jx\\ny; a\\u{202e}"), "{text}");
    }

    #[test]
    fn a_recording_is_told_what_to_try() {
        let finding = Finding::optional("kptr_restrict", "2").degraded("names", &["sudo sysctl k=1"]);
        let expected = "profiler: kptr_restrict is degraded: 2; lost: names\n  try: sudo sysctl k=1";
        assert_eq!(warning(&finding), expected);
    }
}
