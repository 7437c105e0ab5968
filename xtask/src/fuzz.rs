//! `cargo xtask fuzz`: libFuzzer over the targets in `fuzz/src/bin`, on a stable compiler.
//!
//! Only coverage counters are asked for, which stable has, and no address sanitizer, which it has not: what is fuzzed
//! is safe Rust, whose failures are panics, overflows and endless loops. A target that is a new file needs no entry
//! here. Inputs of known shape go to `fuzz/seeds/TARGET/` and are committed; what the fuzzer finds stays in
//! `fuzz/corpus/TARGET/`, and an input that crashed in `fuzz/artifacts/TARGET/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{self, answer, cargo, metadata, repository, target_directory};

/// What makes a build tell libFuzzer where it went.
const COVERAGE: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// One input takes microseconds: one that takes this long is an endless loop, even on a busy machine.
const INPUT_SECONDS: &str = "-timeout=5";
/// Some 40 MB are the fuzzer's own.
const MEMORY: &str = "-rss_limit_mb=256";

#[derive(clap::Args)]
pub struct Args {
    /// Which targets, by the name of their file; all without it
    targets: Vec<String>,
    /// How long all of them together may run
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

impl Args {
    /// Every target, together for this long.
    pub fn all(seconds: u32) -> Self {
        Self { targets: Vec::new(), seconds }
    }

    /// What reads captures, the files that users hand on. Its build takes a tenth of that of all.
    pub fn library(seconds: u32) -> Self {
        Self { targets: vec!["capture".to_owned()], seconds }
    }
}

/// Builds the targets and runs each for an equal share of the time. Fails when one of them found something.
pub fn fuzz(args: &Args) -> Result<()> {
    let manifest = repository().join("fuzz/Cargo.toml");
    let targets = targets(&manifest, &args.targets)?;
    let built = build(&manifest, &targets)?;
    let share = (args.seconds / u32::try_from(targets.len())?).max(1);
    let failed: Vec<_> = targets
        .iter()
        .filter(|target| !survives(target, &built.join(target.as_str()), share))
        .cloned()
        .collect();
    if !failed.is_empty() {
        bail!(
            "the fuzzer broke {}\n  try: give the input in fuzz/artifacts to the program above; `cargo xtask fuzz {0}` searches again",
            failed.join(" ")
        );
    }
    Ok(())
}

/// All targets, or those asked for.
fn targets(manifest: &Path, asked: &[String]) -> Result<Vec<String>> {
    let metadata = metadata(manifest)?;
    let found = metadata["packages"][0]["targets"].as_array().context("`cargo metadata` names no targets")?;
    let all: Vec<_> = found.iter().filter_map(|target| Some(target["name"].as_str()?.to_owned())).collect();
    if let Some(unknown) = asked.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target `{unknown}`\n  try: {}", all.join(", "));
    }
    if all.is_empty() {
        bail!("fuzz/src/bin has no targets");
    }
    Ok(if asked.is_empty() { all } else { asked.to_vec() })
}

/// Builds the targets, and says where they are. Build scripts are for the host, so they get no counters: that is
/// what naming the host's own triple brings about.
fn build(manifest: &Path, targets: &[String]) -> Result<PathBuf> {
    let rustc = answer(Command::new("rustc").arg("-vV")).context("rustc does not tell its version")?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let mut build = cargo(["build", "--release", "--target", host, "--manifest-path"]);
    build.arg(manifest).args(targets.iter().map(|target| format!("--bin={target}")));
    if targets != ["capture"] {
        build.arg("--features=recorder");
    }
    command::run(build.env("RUSTFLAGS", COVERAGE))?;
    Ok(target_directory(manifest)?.join(host).join("release"))
}

fn survives(target: &str, program: &Path, seconds: u32) -> bool {
    let outcome = run(target, program, seconds);
    match &outcome {
        Ok(executed) => eprintln!("xtask: {target} survived {executed} inputs"),
        Err(error) => eprintln!("xtask: {target}: {error:#}"),
    }
    outcome.is_ok()
}

/// Runs one target and tells how many inputs it got. What libFuzzer says is shown only if it found something.
fn run(target: &str, program: &Path, seconds: u32) -> Result<String> {
    let (artifacts, inputs) = folders(target)?;
    let mut fuzzer = Command::new(program);
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.args([INPUT_SECONDS, MEMORY, "-verbosity=0", "-print_final_stats=1"]);
    fuzzer.args(inputs).current_dir(repository());
    eprintln!("$ {}", command::shown(&fuzzer));
    let output = fuzzer.output().context("the fuzzer does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("it found something ({})\n{said}", output.status);
    }
    let executed = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    Ok(executed.context("the fuzzer does not tell how many inputs it ran")?.to_owned())
}

/// Where crashing inputs go, and where inputs are; new ones go to the first.
fn folders(target: &str) -> Result<(PathBuf, Vec<PathBuf>)> {
    let [corpus, artifacts, seeds] =
        ["corpus", "artifacts", "seeds"].map(|kind| Path::new("fuzz").join(kind).join(target));
    for folder in [&corpus, &artifacts] {
        let folder = repository().join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let has_seeds = repository().join(&seeds).is_dir();
    Ok((artifacts, if has_seeds { vec![corpus, seeds] } else { vec![corpus] }))
}
