//! `changing_descriptor [PIPE_MS] [SOCKET_MS] [SECONDS]`: thread `reader` waits on one descriptor number that is a pipe and a unix
//! socket by turns. No other wait comes between two, so at each the last reading of what the descriptor is was made
//! a moment before, when it was the other thing.
//!
//! At the end it prints how long it was blocked in each: by its own clock, less the time that the kernel counts as on a CPU or
//! ready for one.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use profiler_tests::workload::{Busy, check, number, ready, thread_named};

/// The number that changes its meaning.
const CHANGING: RawFd = 100;

fn main() {
    let times = [number(1, 5.0), number(2, 15.0)].map(|ms| Duration::from_secs_f64(ms / 1e3));
    let (ask, asked) = channel();
    let (pipe_reader, pipe_writer) = std::io::pipe().expect("a pipe");
    let (near, far) = UnixStream::pair().expect("a pair of sockets");
    let end = Instant::now() + Duration::from_secs_f64(number(3, 120.0));
    let reader = thread_named("reader", move || read_by_turns(&pipe_reader, &near, times, &ask, end));
    thread_named("writer", move || answer(&asked, pipe_writer, far));
    ready();
    reader.join().expect("the reader does not panic");
}

fn read_by_turns(
    pipe: &PipeReader,
    socket: &UnixStream,
    times: [Duration; 2],
    ask: &Sender<(usize, Duration)>,
    end: Instant,
) {
    let (busy, mut blocked) = (Busy::of_this_thread(), [Duration::ZERO; 2]);
    let sources = [pipe.as_raw_fd(), socket.as_raw_fd()];
    for turn in (0..).take_while(|_| Instant::now() < end) {
        let which = turn % 2;
        // SAFETY: both are open; the number belongs to nobody else.
        check(unsafe { libc::dup2(sources[which], CHANGING) });
        ask.send((which, times[which])).expect("the writer is there");
        // SAFETY: `dup2` has just made it, and the file closes it.
        let mut source = File::from(unsafe { OwnedFd::from_raw_fd(CHANGING) });
        let (before, started) = (busy.time(), Instant::now());
        source.read_exact(&mut [0]).expect("a byte");
        blocked[which] += started.elapsed().saturating_sub(busy.time().saturating_sub(before));
    }
    let [pipe, socket] = blocked.map(|time| time.as_secs_f64());
    println!("{{\"pipe_seconds\": {pipe}, \"socket_seconds\": {socket}}}");
}

fn answer(asked: &Receiver<(usize, Duration)>, mut pipe: PipeWriter, mut socket: UnixStream) {
    for (which, time) in asked {
        thread::sleep(time);
        let byte = [0];
        let written = if which == 0 { pipe.write_all(&byte) } else { socket.write_all(&byte) };
        written.expect("the reader is there");
    }
}
