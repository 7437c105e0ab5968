//! What only needs CPUs.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use profiler_tests::workload::{pin_thread, spin_for, thread_named};

use super::Threads;

pub fn spinners(number: usize) -> Threads {
    (0..number).map(|index| thread_named(&format!("spin-{index}"), forever)).collect()
}

fn forever() {
    loop {
        spin_for(Duration::from_secs(1));
    }
}

pub fn spin_on_cpu_0() -> Threads {
    vec![thread_named("pinned", || {
        pin_thread(0, 0);
        forever();
    })]
}

/// So many milliseconds of work, and then of sleep.
pub fn duty_cycle(work_ms: u64, sleep_ms: u64) -> Threads {
    vec![thread_named("duty", move || {
        loop {
            spin_for(Duration::from_millis(work_ms));
            sleep(Duration::from_millis(sleep_ms));
        }
    })]
}

/// Two threads that take turns in a section, and spin until it is theirs.
pub fn spin_lock() -> Threads {
    let lock = Arc::new(AtomicBool::new(false));
    (0..2)
        .map(|index| {
            let lock = Arc::clone(&lock);
            thread_named(&format!("spinner-{index}"), move || {
                loop {
                    take_spin_lock(&lock);
                    spin_for(Duration::from_micros(200));
                    lock.store(false, Ordering::Release);
                }
            })
        })
        .collect()
}

#[inline(never)]
fn take_spin_lock(lock: &AtomicBool) {
    while lock.swap(true, Ordering::Acquire) {
        spin_loop();
    }
}
