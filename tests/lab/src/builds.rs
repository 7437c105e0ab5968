//! An earlier build of `profiler` and this one, in turn: what they cost a switch storm, and what they use themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::running::Running;

use super::own::{Use, hundred_threads};
use super::rounds::{Series, in_turn, table};
use super::storm::{round_trip, storm_recorder};
use super::{Bench, profiler};

/// Tables of both, and of what this build costs as a part of what the earlier one costs.
pub fn builds(bench: &Bench) -> Result<String> {
    let before = bench.before.as_ref().context("no build to compare with\n  try: --before PROGRAM")?;
    Ok(format!("{}\n{}\n{}", storm(bench, before)?, own(bench, before)?, captures(bench, before)?))
}

/// Captures of ten seconds of this machine, which does nothing else.
fn captures(bench: &Bench, before: &Path) -> Result<String> {
    let kib = |program: &Path| {
        let capture = bench.path("builds.prof");
        let recording = profiler(program, &["record", "-q", "-a", "-d", "10", "-o", &capture]);
        let finished = Running::start(recording)?.finish(Duration::from_secs(60))?;
        ensure!(finished.status.success(), "the recording failed: {finished:?}");
        Ok(std::fs::metadata(&capture)?.len() as f64 / 1024.0)
    };
    let all = in_turn(
        bench.rounds.min(3),
        vec![
            ("the build before", Box::new(|| kib(before))),
            ("this build", Box::new(|| kib(&bench.profiler))),
        ],
    )?;
    Ok(table("a capture of ten seconds of an idle machine, KiB", 0, &all))
}

fn storm(bench: &Bench, before: &Path) -> Result<String> {
    let with =
        |program: PathBuf| move || round_trip(bench, |storm| Some(storm_recorder(bench, &program, storm)));
    let all = in_turn(
        bench.rounds,
        vec![
            ("no tool", Box::new(|| round_trip(bench, |_| None))),
            ("the build before", Box::new(with(before.to_owned()))),
            ("this build", Box::new(with(bench.profiler.clone()))),
        ],
    )?;
    let gain =
        |build: usize| all[build].values.iter().zip(&all[0].values).map(|(with, without)| with - without);
    let ratio = Series::new(
        "what this build adds / what the one before adds",
        gain(2).zip(gain(1)).map(|(a, b)| a / b),
    );
    Ok(format!(
        "{}\n{}",
        table("one round trip of a switch storm, nanoseconds", 0, &all),
        table("ratio, round by round", 3, &[ratio])
    ))
}

fn own(bench: &Bench, before: &Path) -> Result<String> {
    let (mut old, mut new) = (vec![], vec![]);
    for _ in 0..bench.rounds {
        old.push(hundred_threads(bench, |arguments| profiler(before, arguments))?);
        new.push(hundred_threads(bench, |arguments| bench.profiler(arguments))?);
    }
    let pair = |value: fn(&Use) -> f64| {
        [
            Series::new("the build before", old.iter().map(value)),
            Series::new("this build", new.iter().map(value)),
        ]
    };
    Ok(format!(
        "{}\n{}\n{}",
        table(
            "the process of a recording of 100 threads, % of one CPU by its clock",
            2,
            &pair(|one| one.cpu)
        ),
        table("its kernel programs, % of one CPU by its report", 2, &pair(|one| one.cpu_programs)),
        table("its resident memory and kernel maps, MiB", 1, &pair(|one| one.memory))
    ))
}
