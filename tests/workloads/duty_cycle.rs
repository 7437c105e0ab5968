//! `duty_cycle [PERIOD_MS] [SLEEP_MS]`: a main thread that in each period first sleeps and then uses the CPU for the
//! rest, and a thread `sleeper` that sleeps for longer than any test runs.
//!
//! A sleep that ends late shortens the CPU part of its period, not the period.

use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{number, ready, spin_until, start_sleeper};

fn main() {
    let period = Duration::from_secs_f64(number(1, 200.0) / 1e3);
    let sleep = Duration::from_secs_f64(number(2, 100.0) / 1e3);
    start_sleeper("sleeper");
    ready();
    let mut end = Instant::now();
    loop {
        end += period;
        thread::sleep(sleep);
        spin_until(end);
    }
}
