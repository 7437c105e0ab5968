//! `compute [MILLION_STEPS]`: a fixed amount of work for the CPU, without a system call.
//!
//! At the end it tells how long that took by its own clock.

use std::hint::black_box;
use std::time::Instant;

use profiler_tests::workload::{Scatter, number, ready};

fn main() {
    let steps = (number(1, 1000.0) * 1e6) as u64;
    let mut numbers = Scatter::new();
    ready();
    let started = Instant::now();
    for _ in 0..steps {
        black_box(numbers.below(1000));
    }
    println!("{{\"seconds\": {}}}", started.elapsed().as_secs_f64());
}
