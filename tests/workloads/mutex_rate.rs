//! `mutex_rate [THREADS] [SECONDS]`: threads that take turns at one mutex of the C library, which each holds for about a
//! microsecond and leaves for another.
//!
//! At the end it tells how many turns there were a second.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{number, ready};

/// Steps of work inside the mutex and outside, some nanoseconds each.
const STEPS: u32 = 400;

struct Counter {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    turns: UnsafeCell<u64>,
}

// SAFETY: the number is used with the mutex held only, and the mutex is for all threads.
unsafe impl Sync for Counter {}

fn main() {
    let (threads, seconds) = (number(1, 4.0) as usize, number(2, 2.0));
    let counter = Arc::new(Counter {
        mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
        turns: UnsafeCell::new(0),
    });
    ready();
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || take_turns(&counter, end))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    // SAFETY: all threads have ended.
    let turns = unsafe { *counter.turns.get() };
    println!("{{\"rate\": {}}}", turns as f64 / started.elapsed().as_secs_f64());
}

fn take_turns(counter: &Counter, end: Instant) {
    while Instant::now() < end {
        for _ in 0..64 {
            // SAFETY: a mutex that lives as long as the threads; the number is used under it.
            unsafe {
                libc::pthread_mutex_lock(counter.mutex.get());
                work();
                *counter.turns.get() += 1;
                libc::pthread_mutex_unlock(counter.mutex.get());
            }
            work();
        }
    }
}

fn work() {
    for step in 0..STEPS {
        black_box(step);
    }
}
