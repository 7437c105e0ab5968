//! What waits for locks. Those of the C library have an owner's word, those of Rust's have none.

use std::cell::UnsafeCell;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, Barrier, Mutex, RwLock};
use std::thread::sleep;
use std::time::Duration;

use profiler_tests::workload::{check, pin_thread, spin_for, thread_named};

use super::Threads;

/// A mutex of the C library. Static, so that it has a name.
struct CMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is used only by the library's calls, which any thread may make.
unsafe impl Sync for CMutex {}

static HOT_LOCK: CMutex = CMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
static FIRST_LOCK: CMutex = CMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
static SECOND_LOCK: CMutex = CMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

impl CMutex {
    fn with(&self, body: impl FnOnce()) {
        // SAFETY: an initialised mutex that lives for ever; the thread that unlocks is the one that locked.
        unsafe {
            check(-libc::pthread_mutex_lock(self.0.get()));
            body();
            check(-libc::pthread_mutex_unlock(self.0.get()));
        }
    }
}

/// What a thread does while it holds the lock.
pub enum Held {
    Computing,
    Sleeping,
    Syncing(PathBuf),
}

pub fn mutex(threads: usize, held: &Held) -> Threads {
    let directory = if let Held::Syncing(directory) = held { Some(directory.clone()) } else { None };
    let sleeps = matches!(held, Held::Sleeping);
    (0..threads)
        .map(|index| {
            let mut file = directory.as_ref().map(|directory| {
                File::create(directory.join(format!("held-{index}"))).expect("the file is created")
            });
            thread_named(&format!("locker-{index}"), move || {
                loop {
                    HOT_LOCK.with(|| while_held(file.as_mut(), sleeps));
                    spin_for(Duration::from_micros(20));
                }
            })
        })
        .collect()
}

#[inline(never)]
fn while_held(file: Option<&mut File>, sleeps: bool) {
    if let Some(file) = file {
        file.rewind().and_then(|()| file.write_all(&[7; 4096])).expect("written");
        file.sync_data().expect("on the device");
    } else if sleeps {
        sleep(Duration::from_millis(5));
    } else {
        spin_for(Duration::from_micros(300));
    }
}

/// The holder is on a CPU that others want too; those who wait for the lock are not.
pub fn without_cpu() -> Threads {
    let holder = thread_named("holder", || {
        pin_thread(0, 0);
        loop {
            HOT_LOCK.with(|| spin_for(Duration::from_millis(20)));
            sleep(Duration::from_micros(500));
        }
    });
    let waiters = (0..3).map(|index| {
        thread_named(&format!("waiter-{index}"), || {
            pin_thread(0, 1);
            loop {
                HOT_LOCK.with(|| ());
                sleep(Duration::from_millis(1));
            }
        })
    });
    let mut threads: Threads = waiters.collect();
    threads.push(holder);
    threads
}

/// A mutex with priority inheritance, whose word is its owner.
pub fn inheriting(threads: usize) -> Threads {
    let lock = Arc::new(CMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
    // SAFETY: the attributes live as long as they are used, and nobody uses the mutex yet.
    unsafe {
        let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
        check(-libc::pthread_mutexattr_init(&raw mut attributes));
        check(-libc::pthread_mutexattr_setprotocol(&raw mut attributes, libc::PTHREAD_PRIO_INHERIT));
        check(-libc::pthread_mutex_init(lock.0.get(), &raw const attributes));
    }
    (0..threads)
        .map(|index| {
            let lock = Arc::clone(&lock);
            thread_named(&format!("inherit-{index}"), move || {
                loop {
                    lock.with(|| spin_for(Duration::from_micros(300)));
                    spin_for(Duration::from_micros(20));
                }
            })
        })
        .collect()
}

pub fn rust_mutex(threads: usize) -> Threads {
    let lock = Arc::new(Mutex::new(()));
    (0..threads)
        .map(|index| {
            let lock = Arc::clone(&lock);
            thread_named(&format!("rust-{index}"), move || {
                loop {
                    let guard = lock.lock().expect("nobody panics");
                    spin_for(Duration::from_micros(300));
                    drop(guard);
                    spin_for(Duration::from_micros(20));
                }
            })
        })
        .collect()
}

/// One of the C library, written by all.
pub fn read_write_lock(threads: usize) -> Threads {
    struct Lock(UnsafeCell<libc::pthread_rwlock_t>);
    // SAFETY: as for mutexes.
    unsafe impl Sync for Lock {}
    static LOCK: Lock = Lock(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER));
    (0..threads)
        .map(|index| {
            thread_named(&format!("writer-{index}"), || {
                loop {
                    // SAFETY: an initialised lock that lives for ever; the thread that unlocks is the one that locked.
                    unsafe {
                        check(-libc::pthread_rwlock_wrlock(LOCK.0.get()));
                        spin_for(Duration::from_micros(500));
                        check(-libc::pthread_rwlock_unlock(LOCK.0.get()));
                    }
                    sleep(Duration::from_micros(100));
                }
            })
        })
        .collect()
}

pub fn rust_read_write_lock(threads: usize) -> Threads {
    let lock = Arc::new(RwLock::new(()));
    (0..threads)
        .map(|index| {
            let lock = Arc::clone(&lock);
            thread_named(&format!("rust-rw-{index}"), move || {
                loop {
                    let guard = lock.write().expect("nobody panics");
                    spin_for(Duration::from_micros(500));
                    drop(guard);
                    sleep(Duration::from_micros(100));
                }
            })
        })
        .collect()
}

/// Threads that map, touch and unmap memory of one process at once.
pub fn address_space(threads: usize) -> Threads {
    const BYTES: usize = 4 << 20;
    (0..threads)
        .map(|index| {
            thread_named(&format!("mapper-{index}"), || {
                loop {
                    // SAFETY: a new mapping at a place of the kernel's choice, written inside its bounds, and unmapped.
                    unsafe {
                        let (rights, flags) =
                            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                        let map =
                            libc::mmap(ptr::null_mut(), BYTES, rights, flags | libc::MAP_POPULATE, -1, 0);
                        assert!(map != libc::MAP_FAILED, "mmap failed");
                        check(libc::munmap(map, BYTES));
                    }
                }
            })
        })
        .collect()
}

/// Two threads that take two locks in opposite order.
pub fn deadlock() -> Threads {
    let both = Arc::new(Barrier::new(2));
    let one = |name: &str, outer: &'static CMutex, inner: &'static CMutex| {
        let both = Arc::clone(&both);
        thread_named(name, move || {
            outer.with(|| {
                both.wait();
                inner.with(|| ());
            });
        })
    };
    let threads = vec![one("left", &FIRST_LOCK, &SECOND_LOCK), one("right", &SECOND_LOCK, &FIRST_LOCK)];
    sleep(Duration::from_millis(200));
    threads
}
