//! What a guest tells: `@@WORD …` a line, and files between `@@begin NAME` and `@@end NAME`.
//!
//! In: the text of its second serial port. Out: plain values. Judges nothing; what is cut short is simply not there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::programs::Test;

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    pub test: Test,
    pub outcome: Outcome,
    pub seconds: u32,
    /// The end of what a failed test printed.
    pub output: String,
    /// The same of a first try that failed, if this is the second.
    pub first_try: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// It was killed by its time limit, or the guest ended in it.
    Unfinished,
    /// This kernel lacks what the test is about.
    NotRun(String),
}

/// A disk of known delay: what it is set to, and how long a read took.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    pub name: String,
    pub set_ms: f64,
    /// Least and median time of a read, or why there is none.
    pub read_ms: Result<(f64, f64), String>,
}

/// All that a guest has told.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub kernel: Option<String>,
    /// Helpers of the kernel programs that this kernel's types name.
    pub helpers: Vec<String>,
    /// What the kernel says of each link that the profiler held.
    pub links: Vec<String>,
    /// Kinds of targets that could be recorded.
    pub targets: Vec<String>,
    /// What went wrong beside the tests.
    pub notes: Vec<String>,
    pub disks: Vec<Disk>,
    pub tests: Vec<Tested>,
    pub is_done: bool,
    files: BTreeMap<String, String>,
}

impl Results {
    pub fn parse(text: &str) -> Self {
        let mut results = Self::default();
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
        while let Some(line) = lines.next() {
            let Some((word, rest)) =
                line.strip_prefix("@@").map(|line| line.split_once(' ').unwrap_or((line, "")))
            else {
                continue;
            };
            match word {
                "begin" => {
                    let end = format!("@@end {rest}");
                    let content: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
                    results.take_file(rest, content.join("\n").trim_end());
                }
                "kernel" => results.kernel = Some(rest.into()),
                "helper" => results.helpers.push(rest.into()),
                "link" => results.links.push(rest.into()),
                "target" => results.targets.extend(rest.strip_suffix(" 0").map(str::to_owned)),
                "note" => results.notes.push(rest.into()),
                "disk" => results.disks.extend(disk(rest)),
                "test" | "tested" | "unsupported" => results.take_test(word, rest),
                "done" => results.is_done = true,
                _ => {}
            }
        }
        results
    }

    /// A file that the guest has sent.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    fn take_file(&mut self, name: &str, content: &str) {
        match self.tests.last_mut() {
            Some(last) if name == "output" => last.output = content.into(),
            _ => {
                self.files.insert(name.into(), content.into());
            }
        }
    }

    /// `test PROGRAM TEST` before it runs, `tested PROGRAM TEST CODE SECONDS` after it, or `unsupported PROGRAM TEST WHY`.
    fn take_test(&mut self, word: &str, rest: &str) {
        let mut words = rest.splitn(3, ' ');
        let (Some(program), Some(name)) = (words.next(), words.next()) else { return };
        let test = Test { program: program.into(), name: name.into() };
        let rest = words.next().unwrap_or_default();
        let before = self.tests.pop_if(|last| last.test == test);
        // `test` behind a `test` that has its result is the second try.
        let first_try = before.and_then(|before| match before.first_try {
            None if word == "test" => Some(before.output),
            first_try => first_try,
        });
        let mut numbers = rest.split(' ').map(|number| number.parse::<u32>().ok());
        let (outcome, seconds) = match (word, numbers.next().flatten(), numbers.next().flatten()) {
            ("unsupported", ..) => (Outcome::NotRun(rest.into()), 0),
            ("tested", Some(0), seconds) => (Outcome::Passed, seconds.unwrap_or(0)),
            ("tested", Some(137 | 143), seconds) => (Outcome::Unfinished, seconds.unwrap_or(0)),
            ("tested", Some(_), seconds) => (Outcome::Failed, seconds.unwrap_or(0)),
            _ => (Outcome::Unfinished, 0),
        };
        self.tests.push(Tested { test, outcome, seconds, output: String::new(), first_try });
    }
}

/// `NAME MS read {"least_ms": …, "median_ms": …}`, or `NAME MS off WHY`.
fn disk(rest: &str) -> Option<Disk> {
    let mut words = rest.splitn(4, ' ');
    let (name, set_ms, how, what) =
        (words.next()?, words.next()?.parse().ok()?, words.next()?, words.next()?);
    let read_ms = match how {
        "read" => {
            let truth: Value = serde_json::from_str(what).ok()?;
            Ok((truth["least_ms"].as_f64()?, truth["median_ms"].as_f64()?))
        }
        _ => Err(what.to_owned()),
    };
    Some(Disk { name: name.into(), set_ms, read_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_guest_become_values() {
        let text = "noise\r\n@@kernel 6.1.0-56-cloud-amd64\r\n@@helper task_pt_regs\r\n\
            @@target all 0\r\n@@target cgroup 1\r\n@@note no disk\r\n\
            @@disk nvme 10 read {\"reads\": 50, \"least_ms\": 10.2, \"median_ms\": 10.9}\r\n\
            @@disk null_blk 10 off no such disk\r\n@@begin probe.json\r\n{\"a\":\r\n1}\r\n\r\n@@end probe.json\r\n@@done\r\n";
        let results = Results::parse(text);
        assert_eq!(results.file("probe.json"), Some("{\"a\":\n1}"));
        assert!(results.is_done);
        assert_eq!(results.kernel.as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(results.helpers, ["task_pt_regs"]);
        assert_eq!((results.targets, results.notes), (vec!["all".into()], vec!["no disk".into()]));
        assert_eq!(results.disks[0].read_ms, Ok((10.2, 10.9)));
        assert_eq!(results.disks[1].read_ms, Err("no such disk".into()));
    }

    #[track_caller]
    fn check_test(text: &str, outcome: Outcome, seconds: u32, output: &str) {
        let found = Results::parse(text).tests;
        let test = Test { program: "live_cpu".into(), name: "a".into() };
        assert_eq!(found, [Tested { test, outcome, seconds, output: output.into(), first_try: None }]);
    }

    #[test]
    fn a_test_that_passed() {
        check_test("@@test live_cpu a\n@@tested live_cpu a 0 7\n", Outcome::Passed, 7, "");
    }

    #[test]
    fn a_test_that_failed_has_its_output() {
        let text = "@@test live_cpu a\n@@tested live_cpu a 101 7\n@@begin output\nboom\n@@end output\n";
        check_test(text, Outcome::Failed, 7, "boom");
    }

    #[test]
    fn a_second_try_counts_and_the_first_is_told() {
        let failed = "@@test live_cpu a\n@@tested live_cpu a 101 7\n@@begin output\nboom\n@@end output\n";
        let text = format!("{failed}@@test live_cpu a\n@@tested live_cpu a 0 6\n");
        let found = Results::parse(&text).tests;
        let [tested] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((&tested.outcome, tested.seconds), (&Outcome::Passed, 6));
        assert_eq!(tested.first_try.as_deref(), Some("boom"));
        let twice = Results::parse(&failed.repeat(2)).tests;
        assert_eq!((twice.len(), &twice[0].outcome, &*twice[0].output), (1, &Outcome::Failed, "boom"));
    }

    #[test]
    fn a_test_that_was_killed_and_one_in_which_the_guest_ended_are_unfinished() {
        check_test("@@test live_cpu a\n@@tested live_cpu a 137 150\n", Outcome::Unfinished, 150, "");
        check_test("@@test live_cpu a\n", Outcome::Unfinished, 0, "");
    }

    #[test]
    fn a_test_that_the_kernel_cannot_pass_is_not_run() {
        check_test(
            "@@unsupported live_cpu a it has no stacks\n",
            Outcome::NotRun("it has no stacks".into()),
            0,
            "",
        );
    }
}
