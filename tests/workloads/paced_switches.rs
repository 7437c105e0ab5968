//! `paced_switches [SWITCHES_A_SECOND] [CPU]`: two threads on one CPU that hand a byte to and fro through pipes, so often a second.
//!
//! They work in batches, one every 10 ms, so that the waits between batches add next to nothing. What is late is not made up for.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{number, pin_to_cpu, ready, thread_named};

const BATCH: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let a_second = number(1, 10_000.0);
    pin_to_cpu(number(2, 0.0) as usize);
    let (there_out, mut there_in) = io::pipe()?;
    let (mut back_out, back_in) = io::pipe()?;
    thread_named("echo", move || echo(there_out, back_in).expect("both pipes stay open"));
    // A round trip is two switches.
    let trips = (a_second * BATCH.as_secs_f64() / 2.0).max(1.0) as u64;
    let mut byte = [0];
    ready();
    loop {
        let due = Instant::now() + BATCH;
        for _ in 0..trips {
            there_in.write_all(&byte)?;
            back_out.read_exact(&mut byte)?;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn echo(mut from: PipeReader, mut to: PipeWriter) -> io::Result<()> {
    let mut byte = [0];
    loop {
        from.read_exact(&mut byte)?;
        to.write_all(&byte)?;
    }
}
