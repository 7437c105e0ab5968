//! `many_stacks [PATHS] [THREADS]`: threads that never wait, each time at the end of another path of calls.
//!
//! All paths are 16 calls deep, whatever their number; at each step one of two functions is called, as a bit of the path's number
//! says.

use std::hint::black_box;

use profiler_tests::workload::{Scatter, number, ready, thread_named};

const DEPTH: u32 = 16;
/// Some microseconds at the end of a path, so that the way there hardly counts.
const STEPS: u64 = 20_000;

fn main() {
    let paths = number(1, 100.0) as u64;
    assert!((1..=1 << DEPTH).contains(&paths), "{paths} paths: there are 1 to {}", 1 << DEPTH);
    let threads = number(2, 2.0) as usize;
    let all: Vec<_> = (0..threads).map(|_| thread_named("paths", move || walk(paths))).collect();
    ready();
    for thread in all {
        thread.join().expect("it never ends");
    }
}

fn walk(paths: u64) {
    let mut numbers = Scatter::new();
    loop {
        turn(numbers.below(paths), DEPTH);
    }
}

fn turn(path: u64, left: u32) -> u64 {
    match (left, path & 1) {
        (0, _) => spin(),
        (_, 0) => zero(path >> 1, left - 1),
        _ => one(path >> 1, left - 1),
    }
}

// What is done after the call keeps each function's frame on the stack, and the two functions from being merged.

#[inline(never)]
fn zero(path: u64, left: u32) -> u64 {
    black_box(turn(path, left)) + 1
}

#[inline(never)]
fn one(path: u64, left: u32) -> u64 {
    black_box(turn(path, left)) + 2
}

#[inline(never)]
fn spin() -> u64 {
    (0..STEPS).fold(0, |sum, step| black_box(sum + step))
}
