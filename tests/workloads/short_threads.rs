//! `short_threads [SECONDS] [LIFE_MS]`: one thread after the other that uses the CPU for a few milliseconds and ends.
//!
//! At the end it tells the CPU time that the kernel has charged the process, and how many threads there were.

use std::time::{Duration, Instant};

use profiler_tests::workload::{number, ready, spin_for, thread_named, usage};

fn main() {
    let length = Duration::from_secs_f64(number(1, 2.0));
    let life = Duration::from_secs_f64(number(2, 3.0) / 1e3);
    ready();
    let (started, mut threads) = (Instant::now(), 0);
    while started.elapsed() < length {
        thread_named("short", move || spin_for(life)).join().expect("a short thread does not panic");
        threads += 1;
    }
    println!("{{\"threads\": {threads}, \"cpu_seconds\": {}}}", usage().cpu_seconds);
}
