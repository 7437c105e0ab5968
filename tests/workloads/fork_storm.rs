//! `fork_storm [CHILDREN_A_SECOND] [SECONDS]`: a process whose children end as soon as they run.
//!
//! It keeps to the rate by the clock: what it is late it makes up for. At the end it tells how many there were.

use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{check, number, ready};

fn main() {
    let rate = number(1, 1000.0);
    let length = Duration::from_secs_f64(number(2, 120.0));
    // SAFETY: no handler is set: the kernel is to forget children that have ended, so that nobody waits for them.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    ready();
    let (started, mut children) = (Instant::now(), 0);
    while started.elapsed() < length {
        let due = Duration::from_secs_f64(f64::from(children) / rate);
        thread::sleep(due.saturating_sub(started.elapsed()));
        fork_one();
        children += 1;
    }
    println!("{{\"children\": {children}}}");
}

fn fork_one() {
    // SAFETY: the process has one thread; the child does nothing but end, without running destructors.
    unsafe {
        if check(libc::fork()) == 0 {
            libc::_exit(0);
        }
    }
}
