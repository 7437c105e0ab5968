//! Waits for locks on files and for terminals.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};

use profiler_tests::workload::check;

use crate::Wait;

pub const WAITS: &[Wait] = &[("file_lock", flock), ("file_lock.fcntl", record_lock), ("tty", terminal)];

/// One file in memory, opened twice: locks belong to an opening.
fn two_openings() -> (File, File) {
    // SAFETY: the name ends with a zero byte; the descriptor is new and nobody else's.
    let first = unsafe { File::from_raw_fd(check(libc::memfd_create(c"locked".as_ptr(), 0))) };
    let path = format!("/proc/self/fd/{}", first.as_raw_fd());
    let second = OpenOptions::new().read(true).write(true).open(path).expect("our own file");
    (first, second)
}

fn flock() {
    let (first, second) = two_openings();
    first.lock().expect("nobody else has the file");
    drop(second.lock());
}

fn record_lock() {
    let (first, second) = two_openings();
    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the lock's description is only read.
    unsafe {
        check(libc::fcntl(first.as_raw_fd(), libc::F_OFD_SETLKW, &raw const whole_file));
        libc::fcntl(second.as_raw_fd(), libc::F_OFD_SETLKW, &raw const whole_file);
    }
}

/// Reads from a terminal at which nobody types.
fn terminal() {
    let (mut keyboard, mut screen, mut byte) = (0, 0, 0u8);
    // SAFETY: `openpty` writes two descriptors and is given no name, settings or size to read; the buffer has the one
    // byte that is asked for.
    unsafe {
        let none = std::ptr::null_mut();
        check(libc::openpty(&raw mut keyboard, &raw mut screen, none, std::ptr::null(), std::ptr::null()));
        libc::read(screen, (&raw mut byte).cast(), 1);
    }
}
