//! `verdicts`: cases of known truth, each run for real, and what the verdict says of them.
//!
//! In: [`CASES`]. Out: a table for docs/verdicts.md, with how many were right, and how many were wrong with high confidence. A case
//! whose program is not installed is told as left out.

mod cases;
mod places;
mod scenes;

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::running::run;
use serde_json::Value;

use super::{Bench, Section};
use cases::{CASES, Case};

pub use scenes::disk;

/// Length of each recording.
const SECONDS: &str = "4";
const TO_END: Duration = Duration::from_secs(60);

/// What came of a case.
struct Answer {
    id: String,
    confidence: String,
}

/// Runs each case.
pub fn verdicts(bench: &Bench) -> Vec<Section> {
    let chosen =
        CASES.iter().filter(|case| bench.only.as_ref().is_none_or(|only| case.name.contains(only.as_str())));
    let mut rows = String::new();
    let (mut right, mut wrong_and_sure, mut all, mut left_out) = (0, 0, 0, 0);
    for case in chosen {
        eprintln!("xtask: {}", case.name);
        let (answer, mark) = match answer(bench, case) {
            Ok(answer) => {
                all += 1;
                let is_right = case.right.contains(&answer.id.as_str());
                right += usize::from(is_right);
                let is_worst = !is_right && answer.confidence == "high";
                wrong_and_sure += usize::from(is_worst);
                let mark = if is_right {
                    "right"
                } else if is_worst {
                    "**wrong**"
                } else {
                    "wrong, low confidence"
                };
                eprintln!("xtask:     {} ({}): {mark}", answer.id, answer.confidence);
                (format!("{} ({})", answer.id, answer.confidence), mark)
            }
            Err(error) => {
                left_out += 1;
                let words = format!("{error:#}").replace(['|', '\n'], " ");
                eprintln!("xtask:     not run: {words}");
                (words, "not run")
            }
        };
        let _ = writeln!(rows, "| {} | {} | {answer} | {mark} |", case.name, case.right.join(" or "));
    }
    let head = format!(
        "{right} of {all} right ({:.0} %), {wrong_and_sure} wrong with high confidence, {left_out} not run. Each case is recorded for \
         {SECONDS} s; only the answers in the second column count as right.\n\n\
         | case | right | answer | |\n|---|---|---|---|\n",
        100.0 * right as f64 / f64::from(all.max(1))
    );
    vec![("verdicts", head + &rows)]
}

fn answer(bench: &Bench, case: &Case) -> Result<Answer> {
    let scene = (case.start)(bench)?;
    std::thread::sleep(Duration::from_millis(case.settle_ms));
    let json = bench.path("verdict.json");
    let pids: Vec<String> = scene.pids.iter().map(u32::to_string).collect();
    let mut arguments = vec!["record", "-q", "-d", SECONDS, "-o", &json];
    let list = pids.join(",");
    arguments.extend(["-p", &list]);
    if case.children {
        arguments.push("--children");
    }
    let finished = run(bench.profiler(&arguments), TO_END)?;
    // 4: nothing was sampled, as of threads that only wait.
    ensure!(
        matches!(finished.status.code(), Some(0 | 4)),
        "the recording failed: {}",
        finished.stderr.trim()
    );
    let report: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{:#}\n{:#}", report["verdict"], report["ledger"]["states"]);
    }
    let text =
        |key: &str| report["verdict"][key].as_str().map(str::to_owned).context("the report has a verdict");
    Ok(Answer { id: text("id")?, confidence: text("confidence")? })
}
