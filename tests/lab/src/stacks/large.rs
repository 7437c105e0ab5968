//! A program with half a gigabyte of debug information: what it takes to record it and to name its functions.
//!
//! In: the workload `big_program`, which makes such a program and prints its path. Out: a table.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use profiler_tests::harness::attached_programs;
use profiler_tests::running::{Running, run, wait_until};

use crate::Bench;
use crate::rounds::{Series, table};
use crate::usage::most_resident_bytes;

/// To compile and link the program.
const TO_MAKE: Duration = Duration::from_secs(600);
const TO_END: Duration = Duration::from_secs(120);
const MIB: f64 = 1024.0 * 1024.0;

/// Makes the program, records it a few times, and tells memory and time.
pub fn large(bench: &Bench) -> Result<String> {
    let maker = bench.directory.join("big_program");
    if !maker.exists() {
        return Ok(
            "**Not measured**: the workload `big_program`, which makes the program, is not there.\n".into()
        );
    }
    let mut make = Command::new(maker);
    make.arg(bench.path(""));
    let made = run(make, TO_MAKE)?;
    ensure!(made.status.success(), "`big_program` failed: {}", made.stderr);
    let program = Path::new(made.stdout.trim());
    let size = fs::metadata(program).with_context(|| format!("no program {}", program.display()))?.len();
    let (mut seconds, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let (one_seconds, one_memory) = recorded(bench, program)?;
        seconds.push(one_seconds);
        memory.push(one_memory);
    }
    let seconds = Series::new("from the end of the recording to the end of the program, s", seconds);
    let memory = Series::new("most resident memory of the profiler, MiB", memory);
    Ok(format!(
        "{}\nGoals: 3 s, 300 MiB.\n",
        table(&format!("a program of {:.0} MB", size as f64 / 1e6), 2, &[seconds, memory])
    ))
}

/// Seconds after the recording, and MiB.
fn recorded(bench: &Bench, program: &Path) -> Result<(f64, f64)> {
    let mut big = Command::new(program);
    big.arg("60");
    let big = Running::start(big)?;
    let (pid, report) = (big.pid().to_string(), bench.path("large.json"));
    let profiler = Running::start(bench.profiler(&["record", "-q", "-p", &pid, "-o", &report]))?;
    wait_until("attached", TO_END, || !attached_programs(profiler.pid()).is_empty())?;
    thread::sleep(Duration::from_secs(5));
    profiler.signal(libc::SIGINT);
    let asked = Instant::now();
    let mut most = 0.0;
    // Its memory is largest at the end, and can be asked for until it is gone.
    while let Ok(bytes) = most_resident_bytes(profiler.pid()) {
        most = bytes;
        ensure!(asked.elapsed() < TO_END, "the profiler does not end");
        thread::sleep(Duration::from_millis(5));
    }
    let seconds = asked.elapsed().as_secs_f64();
    let finished = profiler.finish(TO_END)?;
    ensure!(finished.status.success(), "profiler failed: {finished:?}");
    Ok((seconds, most / MIB))
}
