//! Waits for other threads and processes of this machine, and for any of several descriptors.

use std::ffi::CString;
use std::io::{Read, Write};
use std::ptr;

use profiler_tests::workload::check;

use crate::Wait;

pub const WAITS: &[Wait] = &[
    ("pipe", read_pipe),
    ("pipe.write", write_pipe),
    ("eventfd", eventfd),
    ("sysv_ipc.posix", message_queue),
    ("notify", inotify),
    ("poll", poll),
    ("poll.select", select),
    ("poll.epoll", epoll),
    ("aio", asynchronous_io),
    ("io_uring", io_uring),
];

fn read_pipe() {
    let (mut from, _to) = std::io::pipe().expect("a pipe");
    drop(from.read(&mut [0]));
}

fn write_pipe() {
    let (_from, mut to) = std::io::pipe().expect("a pipe");
    while to.write_all(&[0; 4096]).is_ok() {}
}

fn eventfd() {
    let mut count = 0u64;
    // SAFETY: the kernel writes eight bytes to `count`.
    unsafe {
        let descriptor = check(libc::eventfd(0, 0));
        libc::read(descriptor, (&raw mut count).cast(), size_of::<u64>());
    }
}

/// A queue whose name is gone as soon as it is open, so that it ends with the process.
fn message_queue() {
    let name = CString::new(format!("/profiler-tests-{}", std::process::id())).expect("no zero byte");
    let mut message = [0u8; 8192];
    // SAFETY: the name ends with a zero byte; the buffer has the size that is given. Mode and attributes are what
    // `O_CREAT` asks for.
    unsafe {
        let flags = libc::O_CREAT | libc::O_RDWR;
        let queue = check(libc::mq_open(name.as_ptr(), flags, 0o600, ptr::null_mut::<libc::mq_attr>()));
        check(libc::mq_unlink(name.as_ptr()));
        libc::mq_receive(queue, message.as_mut_ptr().cast(), message.len(), ptr::null_mut());
    }
}

fn inotify() {
    let mut event = [0u8; 512];
    // SAFETY: the buffer has the size that is given.
    unsafe {
        let descriptor = check(libc::inotify_init1(0));
        libc::read(descriptor, event.as_mut_ptr().cast(), event.len());
    }
}

fn poll() {
    // SAFETY: no descriptors, so nothing is read.
    unsafe { libc::poll(ptr::null_mut(), 0, -1) };
}

fn select() {
    // SAFETY: no descriptors and no timeout, so nothing is read.
    unsafe { libc::select(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) };
}

fn epoll() {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: there is room for the one event that is asked for.
    unsafe {
        let set = check(libc::epoll_create1(0));
        libc::epoll_wait(set, &raw mut event, 1, -1);
    }
}

fn asynchronous_io() {
    let mut context = 0u64;
    let mut events = [0u8; 32]; // one `struct io_event`
    let no_timeout = ptr::null::<libc::timespec>();
    // SAFETY: the context is a number that the kernel writes; there is room for the one event that is asked for.
    unsafe {
        check(libc::syscall(libc::SYS_io_setup, 1, &raw mut context));
        libc::syscall(libc::SYS_io_getevents, context, 1, 1, events.as_mut_ptr(), no_timeout);
    }
}

/// Waits for a completion in a ring to which nothing was submitted.
fn io_uring() {
    const GET_EVENTS: u32 = 1; // IORING_ENTER_GETEVENTS
    let mut parameters = [0u8; 120]; // struct io_uring_params, all features off
    // SAFETY: the kernel reads and writes the parameters within their size; no signal mask is given.
    unsafe {
        let ring = check(libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()));
        libc::syscall(libc::SYS_io_uring_enter, ring, 0, 1, GET_EVENTS, ptr::null::<libc::sigset_t>(), 0);
    }
}
