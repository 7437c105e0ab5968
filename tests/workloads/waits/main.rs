//! `waits`: one thread for each way to wait for ever, named after the ledger's state that it must show.
//!
//! A name is the state's name, and after a dot a variant of the way into it: `timer.timerfd`, `poll.select`. Each thread
//! makes one system call that does not return before the test is over, so its wait begins before any recording and
//! outlasts it: the state's time equals the elapsed time. The main thread (`waits`) is not part of the truth.

mod files;
mod ipc;
mod net;
mod sync;
mod time;

use std::thread;
use std::time::Duration;

use profiler_tests::workload::{ready, thread_named};

/// A thread's name and what it does; it must not return.
type Wait = (&'static str, fn());

fn main() {
    let all = [files::WAITS, ipc::WAITS, net::WAITS, sync::WAITS, time::WAITS];
    for (name, wait) in all.into_iter().flatten() {
        thread_named(name, move || {
            wait();
            panic!("`{name}` stopped waiting: {}", std::io::Error::last_os_error());
        });
    }
    // No thread can tell that it is about to block; half a second is ages for a handful of system calls.
    thread::sleep(Duration::from_millis(500));
    ready();
    wait_for_ever();
}

/// For threads that only keep something alive.
fn wait_for_ever() {
    loop {
        thread::park();
    }
}
