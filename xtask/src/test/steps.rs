//! The steps of `cargo xtask test`, in the order in which a failure is cheap to find.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::outcome::{Durations, Outcome, TestCount};
use crate::command::{self, Privilege, cargo, repository, root_prefix, target_directory};
use crate::{fuzz, vm};

/// What a step does; those that run tests one at a time tell how long each took.
type Run = Box<dyn Fn(&mut Durations) -> Result<Outcome>>;

pub struct Step {
    pub name: &'static str,
    pub what: &'static str,
    pub run: Run,
    /// Whether it runs beside the steps after it, in what they leave of the CPUs.
    pub is_beside: bool,
}

impl Step {
    fn beside_the_others(self) -> Self {
        Self { is_beside: true, ..self }
    }
}

pub fn step(
    name: &'static str,
    what: &'static str,
    run: impl Fn(&mut Durations) -> Result<Outcome> + 'static,
) -> Step {
    Step { name, what, run: Box::new(run), is_beside: false }
}

/// The crate whose test programs are the live tests.
const LIVE: &str = "profiler-tests";

/// Those of every change.
pub fn steps() -> Vec<Step> {
    vec![
        step("fmt", "the code is formatted", |_| fmt()),
        step("clippy", "no lint complains", |_| clippy()),
        step("doc", "the documentation builds without a warning", |_| doc()),
        step("deny", "licences and sources of the dependencies are allowed", |_| deny()),
        step("build", "the programs and their tests", |_| build()),
        // A guest's clock counts its instructions, so it may be slow; and live tests bear neighbours.
        step("vm", "a few live tests on the oldest and the newest kernel, in QEMU", |_| vm::step())
            .beside_the_others(),
        step("unit", "unit and property tests", |_| unit()),
        step("live", "live tests: real recordings, as root", |durations| live_tests(&[], durations)),
        step("fuzz", "the fuzzer finds nothing in what reads captures in a minute", |_| fuzz_for_a_minute()),
    ]
}

/// Runs all of them even if one fails; together they are one check.
fn all(commands: impl IntoIterator<Item = Command>) -> Result<Outcome> {
    let mut failed = 0;
    for mut command in commands {
        if let Err(error) = command::run(&mut command) {
            eprintln!("xtask: {error:#}");
            failed += 1;
        }
    }
    ensure!(failed == 0, "{failed} of the step's commands failed");
    Ok(Outcome::PASSED)
}

fn fmt() -> Result<Outcome> {
    let fuzz = ["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"];
    all([cargo(["fmt", "--all", "--check"]), cargo(fuzz)])
}

/// The kernel crate's program compiles only for the BPF target, whose compiler brings no clippy; its library, which
/// holds the logic, is linted for the host.
fn clippy() -> Result<Outcome> {
    let mut host = workspace("clippy");
    host.args(["--all-targets", "--", "-D", "warnings"]);
    let kernel = ["clippy", "--package", "profiler-ebpf", "--lib", "--", "-D", "warnings"];
    // In the same target directory, so that the dependencies are checked once.
    let folder = target_directory(&repository().join("Cargo.toml"))?;
    // Without those that fuzz the recorder: they would compile its dependencies once more.
    let mut fuzz = cargo(["clippy", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    fuzz.arg(folder).args(["--", "-D", "warnings"]);
    all([host, cargo(kernel), fuzz])
}

/// What the fuzzers of every change leave out.
pub fn all_fuzzers() -> Result<Outcome> {
    all([cargo(["clippy", "--all-features", "--manifest-path", "fuzz/Cargo.toml", "--", "-D", "warnings"])])
}

fn doc() -> Result<Outcome> {
    let mut doc = workspace("doc");
    doc.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
    all([doc])
}

/// Not the advisories: their database is downloaded, and a change must not fail for what was published today.
fn deny() -> Result<Outcome> {
    let check = |manifest| {
        let mut deny = cargo(["deny", "--manifest-path", manifest, "check", "--hide-inclusion-graph"]);
        deny.args(["licenses", "bans", "sources"]);
        deny
    };
    all(["Cargo.toml", "fuzz/Cargo.toml"].map(check))
}

/// A command of cargo's for the workspace's packages that are for the host.
///
/// Always all of them: which features a dependency is built with depends on which packages are named, and one that is built with two
/// sets of features is built twice. (The first version of these steps named others in each, and built most of them three times.)
fn workspace(command: &str) -> Command {
    cargo([command, "--workspace", "--exclude", "profiler-ebpf"])
}

/// All tests but those of the documentation, with the programs that they run.
pub fn build_tests() -> Command {
    let mut build = workspace("test");
    build.args(["--no-run", "--lib", "--bins", "--tests"]);
    build
}

/// Options that name the test programs of some packages.
fn test_programs(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let metadata = command::metadata(&repository().join("Cargo.toml"))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]).into_iter();
    let wanted = packages.filter(|package| package["name"].as_str().is_some_and(&is_wanted));
    let targets = wanted.flat_map(|package| list(&package["targets"]));
    let tests = targets.filter(|target| list(&target["kind"]).iter().any(|kind| kind == "test"));
    Ok(tests.filter_map(|test| Some(format!("--test={}", test["name"].as_str()?))).collect())
}

fn build() -> Result<Outcome> {
    all([build_tests()])
}

/// The kernel crate's pure parts too, on the host; its program is none there. The live tests have a step of their own.
fn unit() -> Result<Outcome> {
    let mut tests = workspace("test");
    tests.args(["--no-fail-fast", "--lib", "--bins"]).args(test_programs(|package| package != LIVE)?);
    let mut kernel = cargo(["test", "--package", "profiler-ebpf", "--lib"]);
    // The examples that the library's modules open with.
    let mut examples = workspace("test");
    examples.arg("--doc");
    let host = count_tests(&mut tests, None)?.and(&count_tests(&mut kernel, None)?);
    Ok(host.and(&count_tests(&mut examples, None)?))
}

fn fuzz_for_a_minute() -> Result<Outcome> {
    fuzz::fuzz(&fuzz::Args::library(60)).map(|()| Outcome::PASSED)
}

/// The tests that record need root. A machine that claims to run all tests (`CI=true`) must give it to them. `options` are those of
/// the test programs.
pub fn live_tests(options: &[&str], durations: &mut Durations) -> Result<Outcome> {
    let must_run = env::var("CI").is_ok_and(|value| value == "true");
    if command::privilege() == Privilege::None && !must_run {
        return Ok(Outcome::Skipped("recording needs root, and sudo is missing or wants a password".into()));
    }
    let prefix = root_prefix("to record in the live tests")?;
    command::run(&mut build_tests())?;
    let profiler = target_directory(&repository().join("Cargo.toml"))?.join("debug/profiler");
    // One at a time: they measure time, and would measure each other.
    let mut tests = workspace("test");
    tests.arg("--no-fail-fast").args(test_programs(|package| package == LIVE)?);
    if !prefix.is_empty() {
        // Built by the user, run by root, so that the target directory stays the user's.
        tests.args(["--config", &format!("target.'cfg(all())'.runner={}", serde_json::to_string(&prefix)?)]);
    }
    tests.args(["--", "--test-threads=1"]).args(options).env("PROFILER", profiler);
    count_tests(&mut tests, Some(durations))
}

/// Runs `cargo test`, passes its output on, and counts the tests in it; and takes their times, if they run one at a time.
fn count_tests(command: &mut Command, mut durations: Option<&mut Durations>) -> Result<Outcome> {
    eprintln!("$ {}", command::shown(command));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo's output is not connected")?;
    let mut count = TestCount::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what the tests print")?;
        println!("{line}");
        count.see(&line);
        if let Some(durations) = &mut durations {
            count.time(&line, Instant::now(), durations);
        }
    }
    Ok(count.outcome(child.wait().context("cannot wait for cargo")?.success()))
}
