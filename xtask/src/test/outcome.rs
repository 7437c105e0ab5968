//! What became of each step, and the summary.

use std::fmt;
use std::time::Duration;

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

    /// Both, as one step.
    pub fn and(self, other: Self) -> Self {
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

/// The steps so far.
#[derive(Default)]
pub struct Summary {
    rows: Vec<(&'static str, Outcome, Duration)>,
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
}

impl TestCount {
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
        let Self { passed, mut failed } = *self;
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
31 passed, 1 failed";
        assert_eq!(summary.to_string(), expected);
        assert!(summary.is_failure());
    }
}
