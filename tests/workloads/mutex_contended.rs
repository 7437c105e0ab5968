//! `mutex_contended [SECONDS]`: a thread `holder` that holds a mutex for 30 ms in every 40 ms, and a thread `waiter` that
//! wants it all the time.
//!
//! At the end it prints how long `waiter` was blocked for the mutex: what it took to get it by its own clock, less the time that
//! the kernel counts as on a CPU or ready for one.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{Busy, number, ready, thread_named};

fn main() {
    let end = Instant::now() + Duration::from_secs_f64(number(1, 120.0));
    let mutex = Arc::new(Mutex::new(Duration::ZERO));
    let [to_hold, to_want] = [(); 2].map(|()| Arc::clone(&mutex));
    let threads = [
        thread_named("holder", move || hold(&to_hold, end)),
        thread_named("waiter", move || want(&to_want, end)),
    ];
    ready();
    for thread in threads {
        thread.join().expect("neither thread panics");
    }
    let waited = *mutex.lock().expect("nobody panicked with the mutex held");
    println!("{{\"wait_seconds\": {}}}", waited.as_secs_f64());
}

fn hold(mutex: &Mutex<Duration>, end: Instant) {
    while Instant::now() < end {
        let guard = mutex.lock().expect("nobody panicked with the mutex held");
        thread::sleep(Duration::from_millis(30));
        drop(guard);
        thread::sleep(Duration::from_millis(10));
    }
}

/// The mutex guards the sum of the waits for it.
fn want(mutex: &Mutex<Duration>, end: Instant) {
    let busy = Busy::of_this_thread();
    while Instant::now() < end {
        let (before, started) = (busy.time(), Instant::now());
        let mut sum = mutex.lock().expect("nobody panicked with the mutex held");
        *sum += started.elapsed().saturating_sub(busy.time().saturating_sub(before));
        drop(sum);
        thread::sleep(Duration::from_millis(1));
    }
}
