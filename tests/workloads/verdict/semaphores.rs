//! Semaphores of the C library, as locks and as counts of work: what waits looks the same.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use profiler_tests::workload::{Scatter, check, spin_for, thread_named};

use super::Threads;

struct Semaphore(UnsafeCell<libc::sem_t>);

// SAFETY: it is used only by the library's calls, which any thread may make.
unsafe impl Sync for Semaphore {}
// SAFETY: as above; it does not move once it is used.
unsafe impl Send for Semaphore {}

impl Semaphore {
    fn new(value: u32) -> Arc<Self> {
        // SAFETY: any bytes will do until the call below fills them, in the place where it stays.
        let semaphore = Arc::new(Self(UnsafeCell::new(unsafe { MaybeUninit::zeroed().assume_init() })));
        // SAFETY: a place for a semaphore.
        check(unsafe { libc::sem_init(semaphore.0.get(), 0, value) });
        semaphore
    }

    fn wait(&self) {
        // SAFETY: an initialised semaphore.
        check(unsafe { libc::sem_wait(self.0.get()) });
    }

    fn post(&self) {
        // SAFETY: an initialised semaphore.
        check(unsafe { libc::sem_post(self.0.get()) });
    }
}

/// One at a time computes.
pub fn as_lock(threads: usize) -> Threads {
    let semaphore = Semaphore::new(1);
    (0..threads)
        .map(|index| {
            let semaphore = Arc::clone(&semaphore);
            thread_named(&format!("locker-{index}"), move || {
                loop {
                    semaphore.wait();
                    spin_for(Duration::from_micros(500));
                    semaphore.post();
                }
            })
        })
        .collect()
}

/// Fifty times a second there is something to do for one of the threads, which gives half of it on to another.
pub fn as_queue(threads: usize) -> Threads {
    let semaphore = Semaphore::new(0);
    let worker = |index| {
        let semaphore = Arc::clone(&semaphore);
        thread_named(&format!("worker-{index}"), move || {
            let mut coin = Scatter::new();
            loop {
                semaphore.wait();
                spin_for(Duration::from_micros(300));
                if coin.below(2) == 0 {
                    semaphore.post();
                }
            }
        })
    };
    let mut all: Threads = (0..threads).map(worker).collect();
    all.push(thread_named("producer", move || {
        loop {
            sleep(Duration::from_millis(20));
            semaphore.post();
        }
    }));
    all
}
