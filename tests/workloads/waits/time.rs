//! Waits for time, for signals, and for children.

use std::mem::MaybeUninit;
use std::time::Duration;
use std::{mem, ptr, thread};

use profiler_tests::workload::check;

use crate::Wait;

pub const WAITS: &[Wait] = &[
    ("timer", || thread::sleep(FOR_EVER)),
    ("timer.raw", raw_nanosleep),
    ("timer.timerfd", timerfd),
    ("signal_wait", sigsuspend),
    ("signal_wait.tim", sigtimedwait),
    ("signal_wait.fd", signalfd),
    ("child_wait", wait_for_child),
    ("child_wait.vf", wait_in_vfork),
];

/// Longer than any test.
pub const FOR_EVER: Duration = Duration::from_secs(1000);

static TIMESPEC: libc::timespec = libc::timespec { tv_sec: 1000, tv_nsec: 0 };

/// `thread::sleep` is `clock_nanosleep`; this is the older call.
fn raw_nanosleep() {
    // SAFETY: the request is read, no remainder is asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const TIMESPEC, ptr::null_mut::<libc::timespec>()) };
}

fn timerfd() {
    let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let when = libc::itimerspec { it_interval: once, it_value: TIMESPEC };
    let mut expirations = 0u64;
    // SAFETY: the kernel reads `when` and writes eight bytes to `expirations`.
    unsafe {
        let timer = check(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0));
        check(libc::timerfd_settime(timer, 0, &raw const when, ptr::null_mut()));
        libc::read(timer, (&raw mut expirations).cast(), size_of::<u64>());
    }
}

fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the whole set.
    unsafe {
        check(libc::sigfillset(set.as_mut_ptr()));
        set.assume_init()
    }
}

/// A set with one signal that nobody sends.
fn one_signal() -> libc::sigset_t {
    // SAFETY: `sigemptyset` initialises the set (all zero is valid besides), `sigaddset` adds to it.
    unsafe {
        let mut set = mem::zeroed();
        check(libc::sigemptyset(&raw mut set));
        check(libc::sigaddset(&raw mut set, libc::SIGUSR1));
        check(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()));
        set
    }
}

fn sigsuspend() {
    let blocked = all_signals();
    // SAFETY: the set is only read.
    unsafe { libc::sigsuspend(&raw const blocked) };
}

fn sigtimedwait() {
    let set = one_signal();
    // SAFETY: set and time are only read; no details of the signal are asked for.
    unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const TIMESPEC) };
}

fn signalfd() {
    let set = one_signal();
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    // SAFETY: the set is read, and the buffer has the size that is given.
    unsafe {
        let descriptor = check(libc::signalfd(-1, &raw const set, 0));
        libc::read(descriptor, buffer.as_mut_ptr().cast(), buffer.len());
    }
}

fn wait_for_child() {
    // SAFETY: the child only makes system calls, which is what a child of a process with threads may do.
    unsafe {
        let child = check(libc::fork());
        if child == 0 {
            end_with_parent();
        }
        libc::waitpid(child, ptr::null_mut(), 0);
    }
}

/// The parent of a vfork waits until the child ends or executes another program. The child has a copy of the memory
/// here (no `CLONE_VM`), which changes nothing for the parent's wait and keeps the two apart.
fn wait_in_vfork() {
    let flags = libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: a child with its own copy of the memory, on the same stack address in that copy, as after a fork; it only
    // makes system calls.
    unsafe {
        if check(libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0)) == 0 {
            end_with_parent();
        }
    }
}

/// What a child does: nothing, until its parent ends or two minutes have passed.
///
/// # Safety
/// Only for a child of fork: it never returns.
unsafe fn end_with_parent() -> ! {
    // SAFETY: these calls touch no memory of ours.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::alarm(120);
        loop {
            libc::pause();
        }
    }
}
