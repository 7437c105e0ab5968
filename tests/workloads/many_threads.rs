//! `many_threads [THREADS] [WORKING]`: idle threads `idle`, of which the first `WORKING` ones (`working`) use the CPU for
//! 1 ms in every 100 ms.

use std::thread;
use std::time::Duration;

use profiler_tests::workload::{number, ready, spin_for};

/// Enough for a thread that does nothing.
const STACK_BYTES: usize = 64 * 1024;

fn main() {
    let threads = number(1, 100.0) as usize;
    let working = number(2, 0.0) as usize;
    for index in 0..threads {
        let (name, body): (_, fn()) = if index < working { ("working", work) } else { ("idle", idle) };
        let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
        builder.spawn(body).expect("thread is created");
    }
    ready();
    idle();
}

fn idle() {
    loop {
        thread::park();
    }
}

fn work() {
    loop {
        spin_for(Duration::from_millis(1));
        thread::sleep(Duration::from_millis(99));
    }
}
