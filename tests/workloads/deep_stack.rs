//! `deep_stack [DEPTH]`: a thread `deep-spin` that uses the CPU and a thread `deep-sleep` that sleeps, each at the bottom
//! of a recursion of known depth with functions of known names.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{number, ready, spin_until, thread_named};

fn main() {
    let depth = number(1, 20.0) as u32;
    let threads = [
        thread_named("deep-spin", move || descend(depth, bottom_spin)),
        thread_named("deep-sleep", move || descend(depth, bottom_sleep)),
    ];
    ready();
    for thread in threads {
        thread.join().expect("neither thread panics");
    }
}

#[inline(never)]
fn descend(depth: u32, bottom: fn()) {
    if depth == 0 {
        bottom();
    } else {
        descend(depth - 1, bottom);
    }
    // Work after the call keeps the compiler from turning the recursion into a loop.
    black_box(depth);
}

#[inline(never)]
fn bottom_spin() {
    spin_until(Instant::now() + Duration::from_secs(1000));
    black_box(());
}

#[inline(never)]
fn bottom_sleep() {
    thread::sleep(Duration::from_secs(1000));
    black_box(());
}
