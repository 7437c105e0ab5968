//! `spin [THREADS] [SECONDS] [CPU]`: threads `spin-0`, `spin-1`, … that never give up the CPU by themselves.
//!
//! With more threads than CPUs, or with all on one CPU, the rest of their time is waiting for a CPU. At the end it tells
//! the CPU time that the kernel has charged it.

use std::time::{Duration, Instant};

use profiler_tests::workload::{number, pin_to_cpu, ready, spin_until, thread_named, usage};

fn main() {
    let threads = number(1, 1.0) as usize;
    let end = Instant::now() + Duration::from_secs_f64(number(2, 120.0));
    let cpu = number(3, -1.0);
    if cpu >= 0.0 {
        pin_to_cpu(cpu as usize);
    }
    let others: Vec<_> =
        (0..threads).map(|index| thread_named(&format!("spin-{index}"), move || spin_until(end))).collect();
    ready();
    for other in others {
        other.join().expect("a spinning thread does not panic");
    }
    println!("{{\"cpu_seconds\": {}}}", usage().cpu_seconds);
}
