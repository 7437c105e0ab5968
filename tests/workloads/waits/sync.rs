//! Waits in futexes: locks, conditions, and threads that park.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

use crate::time::FOR_EVER;
use crate::{Wait, wait_for_ever};

pub const WAITS: &[Wait] = &[
    ("futex_wait", thread::park),
    ("futex_wait.cond", condition),
    ("futex_wait.join", join),
    ("futex_timed", || thread::park_timeout(FOR_EVER)),
    ("futex_lock", std_mutex),
    ("futex_lock.pth", pthread_mutex),
    ("futex_lock.pi", priority_inheriting_lock),
];

fn condition() {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    let guard = mutex.lock().expect("nobody panicked with the mutex held");
    drop(condition.wait(guard));
}

fn join() {
    drop(thread::spawn(wait_for_ever).join());
}

fn std_mutex() {
    static MUTEX: Mutex<()> = Mutex::new(());
    std::mem::forget(MUTEX.lock());
    drop(MUTEX.lock());
}

/// A default mutex that its own holder locks once more: in glibc that is a wait for ever.
fn pthread_mutex() {
    let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
    // SAFETY: the mutex is initialised, does not move, and lives as long as the thread waits for it.
    unsafe {
        libc::pthread_mutex_lock(mutex.get());
        libc::pthread_mutex_lock(mutex.get());
    }
}

const FUTEX_LOCK_PI_PRIVATE: libc::c_int = libc::FUTEX_LOCK_PI | libc::FUTEX_PRIVATE_FLAG;

/// A lock whose word says that the main thread holds it.
fn priority_inheriting_lock() {
    let word = AtomicU32::new(0);
    word.store(std::process::id(), Ordering::Release);
    let no_timeout = ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the wait; a null timeout means none.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), FUTEX_LOCK_PI_PRIVATE, 0, no_timeout) };
}
