//! An hour's recording of a server, whose memory must stay flat.
//!
//! In: a private postgres under load, and the profiler beside it, looked at from outside: its resident memory in `/proc`, and the
//! memory of its maps as the kernel accounts it. Out: a table in docs/faults.md, and a failure if either has grown.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use profiler_tests::document::write_section;
use profiler_tests::harness::{attached_programs, with_budget};
use profiler_tests::report::Report;
use profiler_tests::running::{Running, wait_until};
use profiler_tests::servers::Postgres;
use tempfile::TempDir;

use crate::command::{self, Privilege, cargo, repository, target_directory};
use crate::test::Outcome;

const DOCUMENT: &str = "docs/faults.md";
/// How often the memory is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// In the first minutes new stacks, files and rows come; later few do. Of a short run, half of it.
const SETTLING: Duration = Duration::from_secs(300);
/// What the line through the later samples may rise by, over all of them. Every table has a bound, but a new stack now and then
/// takes some hundred bytes: some ten thousand of them are in this.
const MOST_GROWTH_MIB: f64 = 4.0;
/// The maps are allocated at the start.
const MOST_KERNEL_GROWTH_MIB: f64 = 0.1;
const TO_ATTACH: Duration = Duration::from_secs(20);
/// From the recording's end to that of the program: names, at the lowest priority.
const TO_END: Duration = Duration::from_secs(120);
const MIB: f64 = 1024.0 * 1024.0;

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    seconds: f64,
    resident_mib: f64,
    kernel_mib: f64,
}

/// Records, looks, judges.
pub fn hour(minutes: u16) -> Result<Outcome> {
    if command::privilege() != Privilege::Root {
        bail!("recording loads kernel programs\n  try: run this command as root");
    }
    command::run(&mut cargo(["build", "--release", "--package", "profiler"]))?;
    let length = Duration::from_secs(60 * u64::from(minutes));
    let scratch = TempDir::with_prefix("profiler-nightly-")?;
    let json = scratch.path().join("out.json");
    let postgres = Postgres::start(scratch.path().join("postgres"));
    let load = postgres.load(&(length + Duration::from_secs(60)).as_secs().to_string());
    let samples = record(postgres.pid(), length, &json.to_string_lossy())?;
    drop(load);
    postgres.stop();
    let later = later(&samples, length);
    let section = section(&samples, later, &Report::read(&json));
    println!("{section}");
    if length >= Duration::from_secs(3600) {
        write_section(&repository().join(DOCUMENT), "nightly", &section)?;
    }
    let has_grown = growth(later, |sample| sample.resident_mib) > MOST_GROWTH_MIB
        || growth(later, |sample| sample.kernel_mib) > MOST_KERNEL_GROWTH_MIB;
    Ok(if has_grown { Outcome::FAILED } else { Outcome::PASSED })
}

/// Records a server with all that it forks, and takes samples until just before the recording's end: what comes after it is over soon.
fn record(server: u32, length: Duration, json: &str) -> Result<Vec<Sample>> {
    let profiler = target_directory(&repository().join("Cargo.toml"))?.join("release/profiler");
    let (pid, seconds) = (server.to_string(), length.as_secs().to_string());
    let mut command = Command::new(profiler);
    command.args(with_budget(&["record", "-q", "-p", &pid, "--children", "-d", &seconds, "-o", json]));
    let recording = Running::start(command)?;
    wait_until("attached", TO_ATTACH, || !attached_programs(recording.pid()).is_empty())?;
    let started = Instant::now();
    let mut samples = Vec::new();
    while started.elapsed() + PERIOD < length {
        thread::sleep(PERIOD);
        samples.push(look(recording.pid(), started.elapsed())?);
    }
    let finished = recording.finish(TO_END)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    Ok(samples)
}

/// Its memory now: `VmRSS` of its `status`, and `memlock` of each of its maps.
fn look(pid: u32, since: Duration) -> Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the profiler has ended early")?;
    let resident: f64 = field(&status, "VmRSS:").context("no `VmRSS` in `status`")?;
    let mut kernel = 0.0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if text.contains("map_id:") {
            kernel += field(&text, "memlock:").unwrap_or(0.0);
        }
    }
    Ok(Sample { seconds: since.as_secs_f64(), resident_mib: resident / 1024.0, kernel_mib: kernel / MIB })
}

/// The number behind a key.
fn field(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The samples that are judged.
fn later(samples: &[Sample], length: Duration) -> &[Sample] {
    let from = SETTLING.min(length / 2).as_secs_f64();
    &samples[samples.partition_point(|sample| sample.seconds < from)..]
}

/// By how much the line of the least squares rises from the first sample to the last.
fn growth(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len() as f64;
    let (middle, level) = (mean(&|sample| sample.seconds), mean(&value));
    let sum = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>();
    let squares = sum(&|sample| (sample.seconds - middle).powi(2));
    let products = sum(&|sample| (sample.seconds - middle) * (value(sample) - level));
    if squares == 0.0 { 0.0 } else { products / squares * (last.seconds - first.seconds) }
}

fn section(samples: &[Sample], later: &[Sample], report: &Report) -> String {
    let minutes = report.elapsed() / 60.0;
    let text =
        |pointer: &str| report.0.pointer(pointer).and_then(|text| text.as_str()).unwrap_or("?").to_owned();
    let mut table = format!(
        "{minutes:.0} minutes of postgres under pgbench with four clients, on Linux {}. {} samples of the memory, {} of them judged.\n\n\
         | MiB | first | after warm-up | last | peak | growth after warm-up | limit |\n\
         |---|---|---|---|---|---|---|\n",
        text("/kernel_release"),
        samples.len(),
        later.len(),
    );
    let mut row = |name: &str, allowed: f64, value: fn(&Sample) -> f64| {
        let at = |sample: Option<&Sample>| sample.map_or(0.0, value);
        let most = samples.iter().map(value).fold(0.0, f64::max);
        let [first, begin, last] = [samples.first(), later.first(), samples.last()].map(at);
        let growth = growth(later, value);
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {name} | {first:.2} | {begin:.2} | {last:.2} | {most:.2} | {growth:+.2} | {allowed} |"
        );
    };
    row("resident", MOST_GROWTH_MIB, |sample| sample.resident_mib);
    row("maps in the kernel", MOST_KERNEL_GROWTH_MIB, |sample| sample.kernel_mib);
    let numbers =
        ["/ledger/thread_seconds", "/ledger/residual_ratio", "/quality/lost_ratio", "/cost/machine_ratio"];
    let [thread_seconds, residual, lost, cost] = numbers.map(|pointer| report.number(pointer));
    let _ = writeln!(
        table,
        "\n{thread_seconds:.0} s of thread time, residual {:.4} %; at most {:.4} % of any kind of event lost; recording cost \
         {:.2} % of the machine.",
        residual * 100.0,
        lost * 100.0,
        cost * 100.0,
    );
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: &[f64]) -> Vec<Sample> {
        let sample = |(index, &resident_mib): (usize, &f64)| Sample {
            seconds: index as f64 * 10.0,
            resident_mib,
            kernel_mib: 8.0,
        };
        resident.iter().enumerate().map(sample).collect()
    }

    #[track_caller]
    fn check_growth(resident: &[f64], expected: f64) {
        let found = growth(&samples(resident), |sample| sample.resident_mib);
        assert!((found - expected).abs() < 1e-9, "{found}");
    }

    #[test]
    fn what_goes_up_and_down_has_not_grown() {
        check_growth(&[30.0, 31.0, 30.0, 31.0, 30.0], 0.0);
    }

    #[test]
    fn what_rises_steadily_has_grown_by_all_of_it() {
        check_growth(&[30.0, 31.0, 32.0, 33.0], 3.0);
    }

    #[test]
    fn nothing_has_not_grown() {
        check_growth(&[], 0.0);
        check_growth(&[30.0], 0.0);
    }

    #[test]
    fn what_comes_while_it_settles_is_not_judged() {
        let all = samples(&[0.0; 60]);
        assert_eq!(later(&all, Duration::from_secs(600)).len(), 30);
        assert_eq!(later(&all, Duration::from_secs(400)).len(), 40);
    }

    #[test]
    fn the_number_behind_a_key_may_have_a_unit() {
        assert_eq!(field("Name:\tprofiler\nVmRSS:\t   30720 kB\n", "VmRSS:"), Some(30720.0));
        assert_eq!(field("map_id:\t7\nmemlock:\t4096\n", "memlock:"), Some(4096.0));
    }
}
