//! The workloads that are one command each: what to run, and how to read what it prints.

use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Result, ensure};
use profiler_tests::running::run;
use profiler_tests::servers::{command, text};

use super::held::Held;
use super::outputs::{self, Measured, rate};
use super::workloads::{Load, Ready};
use crate::Bench;
use profiler_tests::command::repository;

/// To lay out fio's file.
const TO_PREPARE: Duration = Duration::from_secs(60);

/// A command, started again for each run.
pub struct OneCommand {
    words: Vec<String>,
    read: fn(&str) -> Result<Measured>,
}

impl Load for OneCommand {
    fn ready(&mut self) -> Result<Ready<'_>> {
        let held = Held::start(&self.words)?;
        Ok(Ready { pids: vec![held.pid()], go: Box::new(move || (self.read)(&held.output()?)) })
    }
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().copied().map(str::to_owned).collect()
}

/// Two processes on one CPU that pass a byte to and fro. Where the scheduler may choose, they run on one CPU or on two, for a whole
/// run, and on two each wake-up may have to rouse an idle CPU: that was five times slower here, with and without tools.
pub fn pipe() -> OneCommand {
    let trips = PIPE_TRIPS.to_string();
    let read = |text: &str| Ok(rate(f64::from(PIPE_TRIPS) / outputs::perf_bench_seconds(text)?));
    OneCommand { words: words(&["taskset", "-c", "0", "perf", "bench", "sched", "pipe", "-l", &trips]), read }
}

const PIPE_TRIPS: u32 = 200_000;

/// 400 processes, 20 senders and 20 receivers in each of ten groups, which are born with it and send over sockets.
pub fn messaging() -> OneCommand {
    let read = |text: &str| Ok(rate(1.0 / outputs::perf_bench_seconds(text)?));
    OneCommand { words: words(&["perf", "bench", "sched", "messaging", "-g", "10", "-l", "250"]), read }
}

/// The workload `compute` on each CPU: there is none left over on which a tool could work unnoticed.
pub fn compute(bench: &Bench) -> Result<OneCommand> {
    let program = bench.directory.join("compute");
    let cpus = available_parallelism()?.to_string();
    let script = r#"for cpu in $(seq "$1"); do "$2" 2000 & done; wait"#;
    Ok(OneCommand {
        words: words(&["sh", "-c", script, "sh", &cpus, text(&program)]),
        read: outputs::compute,
    })
}

/// Reads of 4 KiB past the page cache, two at a time.
pub fn fio(bench: &Bench) -> Result<OneCommand> {
    let file = format!("--filename={}", bench.path("overhead-fio"));
    let job = ["fio", "--name=reads", &file, "--size=256m", "--rw=randread", "--bs=4k", "--direct=1"];
    let how = ["--ioengine=psync", "--numjobs=2", "--group_reporting", "--output-format=json"];
    let lay_out = [&job[1..], &how, &["--create_only=1"]].concat();
    let laid_out = run(command(job[0], &lay_out), TO_PREPARE)?;
    ensure!(laid_out.status.success(), "fio cannot make its file: {laid_out:?}");
    let reads = [&job[..], &how, &["--time_based", "--runtime=2"]].concat();
    Ok(OneCommand { words: words(&reads), read: outputs::fio })
}

/// Reads of 4 KiB past the page cache as fast as they go: sixteen are under way.
pub fn fio_deep(bench: &Bench) -> Result<OneCommand> {
    let mut command = fio(bench)?;
    let how = ["--ioengine=libaio", "--iodepth=16", "--numjobs=1"];
    command.words.extend(words(&how));
    Ok(command)
}

/// Calls of `futex` that find nothing to wait for, by two threads.
pub fn futex_hash() -> OneCommand {
    OneCommand {
        words: words(&["perf", "bench", "futex", "hash", "-t", "2", "-r", "2"]),
        read: outputs::perf_bench_average,
    }
}

/// Four threads at one mutex.
pub fn mutex(bench: &Bench) -> OneCommand {
    let program = bench.directory.join("mutex_rate");
    OneCommand { words: words(&[text(&program), "4", "2"]), read: outputs::own_rate }
}

/// A program of the tests, compiled six times, a process for each CPU.
pub fn compile(bench: &Bench) -> OneCommand {
    let source = repository().join("tests/workloads/stacks/objects.cpp");
    let object = bench.path("overhead-object");
    let script = r#"date +%s%N; seq 6 | xargs -P "$(nproc)" -I @ g++ -O2 -c "$1" -o "$2-@.o" && date +%s%N"#;
    let read = |text: &str| Ok(rate(1.0 / outputs::seconds_between(text)?));
    OneCommand { words: words(&["sh", "-c", script, "sh", text(&source), &object]), read }
}
