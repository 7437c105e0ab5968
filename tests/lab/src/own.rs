//! What the profiler itself uses: CPU time, memory, time to start, time from the end of a recording to its report.
//!
//! CPU time and memory are read from the kernel beside the profiler, to check what its own report says of them.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::harness::attached_programs;
use profiler_tests::report::Report;
use profiler_tests::running::{Running, wait_until};
use profiler_tests::servers::{Postgres, process_and_children};

use super::Bench;
use super::rounds::{Series, in_turn, table};
use super::usage::most_resident_bytes;

/// Time over which CPU time is measured.
const WINDOW: Duration = Duration::from_secs(8);
const TO_ATTACH: Duration = Duration::from_secs(10);
const TO_REPORT: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;

/// One recording of a process with 100 threads.
pub struct Use {
    /// Percent of one CPU, by the process's CPU clock.
    pub cpu: f64,
    /// The same by the profiler's own report.
    cpu_reported: f64,
    /// Percent of one CPU in the kernel programs, by the report.
    pub cpu_programs: f64,
    /// Most resident memory by `/proc/PID/status`, and the maps.
    pub memory: f64,
    attached_after: f64,
}

/// Tables of the profiler's own use.
pub fn own(bench: &Bench) -> Result<String> {
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        rounds.push(hundred_threads(bench, |arguments| bench.profiler(arguments))?);
    }
    let of = |name, value: fn(&Use) -> f64| Series::new(name, rounds.iter().map(value));
    let cpu = [
        of("the profiler's process, by its CPU clock", |one| one.cpu),
        of("the profiler's process, by its report", |one| one.cpu_reported),
        of("its kernel programs, by its report", |one| one.cpu_programs),
    ];
    let memory = [of("resident memory and kernel maps", |one| one.memory)];
    let start = [of("start to attached programs", |one| one.attached_after)];
    let report =
        Series::new("end of the recording to the end of the program, postgres", report_times(bench)?);
    Ok(format!(
        "A process of 100 threads, 20 of which work for 1 ms in every 100 ms; 99 Hz.\n\n{}\n{}\n{}\n{}\n\
         Goals: 1 % of one CPU, 64 MiB, 200 ms, 1000 ms.\n",
        table("CPU time, % of one CPU", 2, &cpu),
        table("memory, MiB", 1, &memory),
        table("time, milliseconds", 0, &[&start[..], &[report]].concat()),
        table("the end of a window, milliseconds of CPU time", 2, &windows(bench)?)
    ))
}

/// One recording by the program that `profiler` starts with these arguments.
pub fn hundred_threads(bench: &Bench, profiler: impl Fn(&[&str]) -> Command) -> Result<Use> {
    let workload = bench.workload("many_threads", &["100", "20"])?;
    let report = bench.path("self.json");
    let started = Instant::now();
    let recording =
        Running::start(profiler(&["record", "-q", "-p", &workload.pid().to_string(), "-o", &report]))?;
    wait_until("attached", TO_ATTACH, || !attached_programs(recording.pid()).is_empty())?;
    let attached_after = started.elapsed().as_secs_f64() * 1e3;
    // What follows the attaching belongs to the start.
    thread::sleep(Duration::from_secs(1));
    let (before, from) = (cpu_seconds(recording.pid())?, Instant::now());
    thread::sleep(WINDOW);
    let cpu = (cpu_seconds(recording.pid())? - before) / from.elapsed().as_secs_f64();
    let resident = most_resident_bytes(recording.pid())?;
    stop(recording)?;
    let report = Report::read(report.as_ref());
    Ok(Use {
        cpu: cpu * 100.0,
        cpu_reported: report.number("/cost/cpu_ratio") * 100.0,
        cpu_programs: report.number("/cost/programs_cpu_ratio") * 100.0,
        memory: (resident + report.number("/cost/kernel_bytes")) / MIB,
        attached_after,
    })
}

/// Milliseconds from the end of a recording of postgres to the end of the program, a value a round.
fn report_times(bench: &Bench) -> Result<Vec<f64>> {
    let postgres = Postgres::start(bench.path("postgres").into());
    let load = postgres.load("600");
    thread::sleep(Duration::from_secs(1));
    let pids: Vec<_> = process_and_children(postgres.pid()).iter().map(u32::to_string).collect();
    let mut times = Vec::new();
    for round in 0..bench.rounds {
        let report = bench.path(&format!("postgres-{round}.json"));
        let recording =
            Running::start(bench.profiler(&["record", "-q", "-p", &pids.join(","), "-o", &report]))?;
        wait_until("attached", TO_ATTACH, || !attached_programs(recording.pid()).is_empty())?;
        thread::sleep(Duration::from_secs(5));
        times.push(stop(recording)?.as_secs_f64() * 1e3);
    }
    drop(load);
    postgres.stop();
    Ok(times)
}

/// What it takes to end a window, beside as many threads as are recorded; a value a round.
fn windows(bench: &Bench) -> Result<Vec<Series>> {
    let ended = |arguments: &[&str]| {
        let finished = Running::start(bench.profiler(arguments))?.finish(TO_REPORT)?;
        let (_, said) = finished.stderr.split_once(" windows in ").context("no word of windows")?;
        let (ms, _) = said.split_once(" ms").context("no time of a window")?;
        Ok::<f64, anyhow::Error>(ms.parse()?)
    };
    let report = bench.path("windows.json");
    let all = ["record", "-q", "-v", "-a", "-d", "6", "-o", &report];
    let of_threads = |threads: &str, working: &str| {
        let workload = bench.workload("many_threads", &[threads, working])?;
        let pid = workload.pid().to_string();
        ended(&["record", "-q", "-v", "-p", &pid, "-d", "6", "-o", &report])
    };
    in_turn(
        bench.rounds,
        vec![
            ("an idle machine, all of it", Box::new(|| ended(&all))),
            ("1,000 threads, 20 of which work", Box::new(|| of_threads("1000", "20"))),
            ("10,000 threads, 20 of which work", Box::new(|| of_threads("10000", "20"))),
        ],
    )
}

/// Ends a recording as Ctrl-C does, and returns how long it took to end.
fn stop(recording: Running) -> Result<Duration> {
    recording.signal(libc::SIGINT);
    let asked = Instant::now();
    let finished = recording.finish(TO_REPORT)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    Ok(asked.elapsed())
}

/// CPU time of a process so far, in seconds, by its clock: `/proc/PID/stat` counts in ticks of 10 ms, an eighth of a percent
/// of the window.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: `clock` is a place for a number.
    let has_clock = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) } == 0;
    ensure!(has_clock, "process {pid} has no clock");
    // SAFETY: `time` is a place for a time.
    let is_read = unsafe { libc::clock_gettime(clock, &raw mut time) } == 0;
    ensure!(is_read, "the clock of process {pid} cannot be read");
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}
