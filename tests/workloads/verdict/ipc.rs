//! What waits for others on this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;

use profiler_tests::workload::{die_eventually, spin_for, thread_named};

use super::{Threads, ready_as};

/// How long the server takes for an answer.
const ANSWER: Duration = Duration::from_millis(10);

/// Two threads that wait for each other's byte on a Unix socket.
pub fn unix_pingpong() -> Threads {
    let (left, right) = UnixStream::pair().expect("a pair of sockets");
    let end = |name: &str, mut stream: UnixStream, first: bool| {
        thread_named(name, move || {
            let mut byte = [7];
            if first {
                stream.write_all(&byte).expect("the other end is there");
            }
            loop {
                stream.read_exact(&mut byte).expect("the other end is there");
                spin_for(Duration::from_micros(20));
                stream.write_all(&byte).expect("the other end is there");
            }
        })
    };
    vec![end("ping", left, true), end("pong", right, false)]
}

/// A client that asks a server, another process, which takes its time. The client is the one to record.
pub fn downstream() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("a bound socket has an address");
    // SAFETY: no other thread runs yet; the child makes no use of locks that one could hold.
    let child = unsafe { libc::fork() };
    if child == 0 {
        die_eventually();
        let (mut stream, _) = listener.accept().expect("the client comes");
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            sleep(ANSWER);
            if stream.write_all(&byte).is_err() {
                break;
            }
        }
        std::process::exit(0);
    }
    drop(listener);
    let mut stream = TcpStream::connect(address).expect("the server listens");
    ready_as(std::process::id());
    let mut byte = [7];
    loop {
        stream.write_all(&byte).expect("the server is there");
        stream.read_exact(&mut byte).expect("the server is there");
        spin_for(Duration::from_micros(200));
    }
}
