//! `futex_pingpong [TURN_MS]`: threads `ping` and `pong` take turns; each uses the CPU for its turn while the other waits
//! in a futex without a timeout and without the mark of a mutex.
//!
//! So each is half of the time in `futex_wait`.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use profiler_tests::workload::{number, ready, spin_for, thread_named};

const WAIT: libc::c_int = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
const WAKE: libc::c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// The word says whose turn it is: 0 or 1.
type Turn = Arc<AtomicU32>;

fn main() {
    let length = Duration::from_secs_f64(number(1, 10.0) / 1e3);
    let turn = Turn::default();
    let players = [("ping", 0), ("pong", 1)].map(|(name, me)| {
        let turn = Turn::clone(&turn);
        thread_named(name, move || play(&turn, me, length))
    });
    ready();
    for player in players {
        player.join().expect("a player does not panic");
    }
}

fn play(turn: &AtomicU32, me: u32, length: Duration) {
    loop {
        while turn.load(Ordering::Acquire) != me {
            wait_while(turn, 1 - me);
        }
        spin_for(length);
        turn.store(1 - me, Ordering::Release);
        wake_one(turn);
    }
}

/// Waits until woken, unless the word has changed already.
fn wait_while(word: &AtomicU32, value: u32) {
    let no_timeout = ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call, which reads it; a null timeout means none.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), WAIT, value, no_timeout) };
}

fn wake_one(word: &AtomicU32) {
    // SAFETY: the word is only an address to this call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), WAKE, 1) };
}
