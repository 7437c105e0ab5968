//! What became of each step, how long it took, which tests took longest, and the summary.

use std::fmt;
use std::time::{Duration, Instant};

/// Tests that the summary names.
const SLOWEST: usize = 10;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran: this many checks held, and this many did not.
    Ran { passed: u32, failed: u32 },
    /// The same, but a part of it could not run here, and why.
    Partly { passed: u32, failed: u32, skipped: String },
    /// It could not run on this machine, and why.
    Skipped(String),
}

impl Outcome {
    /// A step that is one check, which held.
    pub const PASSED: Self = Self::Ran { passed: 1, failed: 0 };
    /// A step that is one check, which did not hold.
    pub const FAILED: Self = Self::Ran { passed: 0, failed: 1 };

    /// What a summary says of its only step.
    pub fn of_summary(summary: &str, step: &str, succeeded: bool) -> Self {
        let mut count = TestCount::default();
        count.see(&format!(
            "test result: x. {}",
            summary.lines().last().unwrap_or_default().replace(", ", "; ")
        ));
        let row = summary
            .lines()
            .rev()
            .find(|line| line.split_whitespace().next() == Some(step))
            .unwrap_or_default();
        let skipped = row.split_once("SKIPPED: ").map(|(_, why)| why.to_owned());
        match (count.outcome(succeeded), skipped) {
            (Self::Ran { passed, failed }, Some(skipped)) => Self::Partly { passed, failed, skipped },
            (_, None) if succeeded && row.contains(" skipped ") => {
                Self::Skipped(row.split_once(" s: ").map_or(row, |(_, why)| why).to_owned())
            }
            (outcome, _) => outcome,
        }
    }

    /// Both, as one step.
    pub fn and(&self, other: &Self) -> Self {
        let ((passed, failed), (more_passed, more_failed)) = (self.count(), other.count());
        Self::Ran { passed: passed + more_passed, failed: failed + more_failed }
    }

    /// Checks that held, and those that did not.
    fn count(&self) -> (u32, u32) {
        match self {
            Self::Ran { passed, failed } | Self::Partly { passed, failed, .. } => (*passed, *failed),
            Self::Skipped(_) => (0, 0),
        }
    }
}

/// How long single tests took, of the steps that run one at a time.
#[derive(Default)]
pub struct Durations(Vec<(String, Duration)>);

impl Durations {
    /// The longest, at most so many as the summary names.
    fn slowest(&self) -> Vec<&(String, Duration)> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        all.truncate(SLOWEST);
        all
    }
}

/// The steps so far.
#[derive(Default)]
pub struct Summary {
    rows: Vec<(&'static str, Outcome, Duration)>,
    pub durations: Durations,
}

impl Summary {
    pub fn add(&mut self, step: &'static str, outcome: Outcome, took: Duration) {
        self.rows.push((step, outcome, took));
    }

    pub fn is_failure(&self) -> bool {
        self.count().1 > 0
    }

    /// Checks that held, and those that did not.
    fn count(&self) -> (u32, u32) {
        let counts = self.rows.iter().map(|(_, outcome, _)| outcome.count());
        counts.fold((0, 0), |sum, (passed, failed)| (sum.0 + passed, sum.1 + failed))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowest = self.durations.slowest();
        if !slowest.is_empty() {
            writeln!(f, "the slowest tests:")?;
        }
        for (test, took) in slowest {
            writeln!(f, "{:7.1} s  {test}", took.as_secs_f64())?;
        }
        for (step, outcome, took) in &self.rows {
            let seconds = took.as_secs_f64();
            match outcome {
                Outcome::Ran { failed: 0, .. } => writeln!(f, "{step:<8} ok      {seconds:7.1} s")?,
                Outcome::Ran { .. } => writeln!(f, "{step:<8} FAILED  {seconds:7.1} s")?,
                Outcome::Partly { failed, skipped, .. } => {
                    let word = if *failed == 0 { "ok" } else { "FAILED" };
                    writeln!(f, "{step:<8} {word:<7} {seconds:7.1} s, SKIPPED: {skipped}")?;
                }
                Outcome::Skipped(why) => writeln!(f, "{step:<8} skipped {seconds:7.1} s: {why}")?,
            }
        }
        let all: Duration = self.rows.iter().map(|(.., took)| *took).sum();
        writeln!(f, "{:<8}         {:7.1} s", "all", all.as_secs_f64())?;
        let (passed, failed) = self.count();
        write!(f, "{passed} passed, {failed} failed")
    }
}

/// Counts tests in the lines that `cargo test` prints, such as
/// `test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.52s`.
#[derive(Default)]
pub struct TestCount {
    passed: u32,
    failed: u32,
    /// When the last line about a test came.
    last: Option<Instant>,
}

impl TestCount {
    /// Where tests run one at a time, the time between the lines of two is that of the second. A line is
    /// `running 12 tests` or `test NAME ... ok`.
    pub fn time(&mut self, line: &str, now: Instant, durations: &mut Durations) {
        let name = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")).map(|(name, _)| name);
        if let (Some(name), Some(last)) = (name, self.last) {
            durations.0.push((name.to_owned(), now - last));
        }
        if name.is_some() || line.starts_with("running ") {
            self.last = Some(now);
        }
    }

    pub fn see(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// A run that failed without a failed test (it did not compile, or a test ended the process) is a failure too;
    /// and so is one that found no test.
    pub fn outcome(&self, succeeded: bool) -> Outcome {
        let Self { passed, mut failed, .. } = *self;
        if !succeeded || passed == 0 {
            failed = failed.max(1);
        }
        Outcome::Ran { passed, failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.5s";
    const BAD: &str =
        "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out; finished in 1s";

    #[track_caller]
    fn check(lines: &[&str], succeeded: bool, passed: u32, failed: u32) {
        let mut count = TestCount::default();
        for line in lines {
            count.see(line);
        }
        assert_eq!(count.outcome(succeeded), Outcome::Ran { passed, failed });
    }

    #[test]
    fn tests_of_several_programs_add_up() {
        check(&["running 12 tests", OK, "", BAD], false, 16, 2);
    }

    #[test]
    fn a_run_that_did_not_compile_failed() {
        check(&["error: could not compile"], false, 0, 1);
    }

    #[test]
    fn a_program_that_died_between_others_failed() {
        check(&[OK], false, 12, 1);
    }

    #[test]
    fn a_run_without_tests_failed() {
        check(&["running 0 tests"], true, 0, 1);
    }

    #[test]
    fn the_last_line_of_the_summary_is_the_count() {
        let mut summary = Summary::default();
        summary.add("fmt", Outcome::PASSED, Duration::from_millis(1250));
        summary.add("unit", Outcome::Ran { passed: 30, failed: 1 }, Duration::from_secs(2));
        summary.add("live", Outcome::Skipped("no root".into()), Duration::ZERO);
        let expected = "\
fmt      ok          1.2 s
unit     FAILED      2.0 s
live     skipped     0.0 s: no root
all                  3.2 s
31 passed, 1 failed";
        assert_eq!(summary.to_string(), expected);
        assert!(summary.is_failure());
    }

    #[test]
    fn a_test_takes_the_time_since_the_line_before_it() {
        let (mut count, mut durations, start) = (TestCount::default(), Durations::default(), Instant::now());
        for (second, line) in
            [(5, "running 2 tests"), (6, "test a ... ok"), (9, "test b ... FAILED"), (9, "")]
        {
            count.time(line, start + Duration::from_secs(second), &mut durations);
        }
        let expected = [("b".to_owned(), Duration::from_secs(3)), ("a".to_owned(), Duration::from_secs(1))];
        assert_eq!(durations.slowest(), expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_summary_names_the_slowest_tests() {
        let mut summary = Summary::default();
        summary.durations.0 = (0..20).map(|n| (format!("t{n}"), Duration::from_secs(n))).collect();
        let text = summary.to_string();
        assert!(text.starts_with("the slowest tests:\n   19.0 s  t19\n") && !text.contains("t9\n"), "{text}");
    }

    #[track_caller]
    fn check_of_summary(outcome: &Outcome, succeeded: bool) {
        let mut summary = Summary::default();
        summary.add("setup", Outcome::Ran { passed: 0, failed: 0 }, Duration::ZERO);
        summary.add("vm", outcome.clone(), Duration::from_secs(7));
        assert_eq!(Outcome::of_summary(&format!("$ something\n{summary}\n"), "vm", succeeded), *outcome);
    }

    #[test]
    fn what_a_summary_says_of_its_step_is_what_became_of_it() {
        check_of_summary(&Outcome::Ran { passed: 26, failed: 0 }, true);
        check_of_summary(&Outcome::Ran { passed: 25, failed: 1 }, false);
        check_of_summary(
            &Outcome::Partly { passed: 13, failed: 0, skipped: "Linux 7.3: no such package".into() },
            true,
        );
        check_of_summary(&Outcome::Skipped("there is no apt-get".into()), true);
        assert_eq!(Outcome::of_summary("error: killed", "vm", false), Outcome::FAILED);
    }
}
