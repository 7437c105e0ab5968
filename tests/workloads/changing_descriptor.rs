//! `changing_descriptor [PIPE_MS] [SOCKET_MS]`: thread `reader` waits on one descriptor number that is a pipe and a unix
//! socket by turns. Nothing else comes between two waits, so at each the last reading of what the descriptor is was made
//! a moment before, when it was the other thing.
//!
//! So `pipe` and `unix_socket` stand in the proportion of the two times.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use profiler_tests::workload::{check, number, ready, thread_named};

/// The number that changes its meaning.
const CHANGING: RawFd = 100;

fn main() {
    let times = [number(1, 5.0), number(2, 15.0)].map(|ms| Duration::from_secs_f64(ms / 1e3));
    let (ask, asked) = channel();
    let (pipe_reader, pipe_writer) = std::io::pipe().expect("a pipe");
    let (near, far) = UnixStream::pair().expect("a pair of sockets");
    let reader = thread_named("reader", move || read_by_turns(&pipe_reader, &near, times, &ask));
    thread_named("writer", move || answer(&asked, pipe_writer, far));
    ready();
    reader.join().expect("the reader does not panic");
}

fn read_by_turns(
    pipe: &PipeReader,
    socket: &UnixStream,
    times: [Duration; 2],
    ask: &Sender<(usize, Duration)>,
) {
    let sources = [pipe.as_raw_fd(), socket.as_raw_fd()];
    for turn in 0.. {
        let which = turn % 2;
        // SAFETY: both are open; the number belongs to nobody else.
        check(unsafe { libc::dup2(sources[which], CHANGING) });
        ask.send((which, times[which])).expect("the writer is there");
        // SAFETY: `dup2` has just made it, and the file closes it.
        let mut source = File::from(unsafe { OwnedFd::from_raw_fd(CHANGING) });
        source.read_exact(&mut [0]).expect("a byte");
    }
}

fn answer(asked: &Receiver<(usize, Duration)>, mut pipe: PipeWriter, mut socket: UnixStream) {
    for (which, time) in asked {
        thread::sleep(time);
        let byte = [0];
        let written = if which == 0 { pipe.write_all(&byte) } else { socket.write_all(&byte) };
        written.expect("the reader is there");
    }
}
