//! `pipe_pingpong [CPU] [SECONDS] [WARM_UP_SECONDS]`: two processes on one CPU that send one byte to and fro through two pipes; nothing
//! but switches of tasks.
//!
//! At the end it tells how many round trips it made after the warm-up, and the time of one by its own clock.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process;
use std::time::{Duration, Instant};

use profiler_tests::workload::{check, die_eventually, number, pin_to_cpu, ready_with};

/// Round trips between two looks at the clock.
const BATCH: u64 = 256;

fn main() -> io::Result<()> {
    pin_to_cpu(number(1, 1.0) as usize);
    let length = Duration::from_secs_f64(number(2, 120.0));
    let warm_up = Duration::from_secs_f64(number(3, 0.0));
    let (there_out, mut there_in) = io::pipe()?;
    let (mut back_out, back_in) = io::pipe()?;
    // SAFETY: the process has one thread, so its child may go on as if nothing had happened.
    let child = check(unsafe { libc::fork() });
    if child == 0 {
        drop((there_in, back_out));
        die_eventually();
        return echo(there_out, back_in);
    }
    drop((there_out, back_in));
    ready_with(&[process::id(), child as u32]);
    play(&mut there_in, &mut back_out, warm_up)?;
    let (round_trips, seconds) = play(&mut there_in, &mut back_out, length)?;
    println!(
        "{{\"round_trips\": {round_trips}, \"ns_per_round_trip\": {}}}",
        seconds * 1e9 / round_trips as f64
    );
    Ok(())
}

/// Sends each byte back until the other end is closed.
fn echo(mut from: PipeReader, mut to: PipeWriter) -> io::Result<()> {
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        to.write_all(&byte)?;
    }
    Ok(())
}

fn play(to: &mut PipeWriter, from: &mut PipeReader, length: Duration) -> io::Result<(u64, f64)> {
    let started = Instant::now();
    let mut round_trips = 0;
    let mut byte = [0];
    while started.elapsed() < length {
        for _ in 0..BATCH {
            to.write_all(&byte)?;
            from.read_exact(&mut byte)?;
        }
        round_trips += BATCH;
    }
    Ok((round_trips, started.elapsed().as_secs_f64()))
}
