//! Waits on sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use profiler_tests::workload::check;

use crate::Wait;

pub const WAITS: &[Wait] = &[
    ("accept", accept),
    ("accept.unix", accept_unix),
    ("net_recv", receive),
    ("net_recv.udp", receive_udp),
    ("net_send", send),
    ("net_connect", connect),
    ("unix_socket", receive_unix),
    ("unix_socket.wr", send_unix),
    ("other_socket", receive_netlink),
];

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn listener() -> TcpListener {
    TcpListener::bind(ANY_PORT).expect("a port of the loopback interface")
}

/// Two ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = listener();
    let address = listener.local_addr().expect("a bound socket has an address");
    let client = TcpStream::connect(address).expect("the listener is there");
    (client, listener.accept().expect("the client has connected").0)
}

fn accept() {
    drop(listener().accept());
}

fn accept_unix() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    // A name in no directory, which ends with the process.
    let name = format!("profiler-tests-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).expect("a short name");
    drop(UnixListener::bind_addr(&address).expect("nobody else has this name").accept());
}

fn receive() {
    let (mut client, _server) = connection();
    drop(client.read(&mut [0]));
}

fn receive_udp() {
    drop(UdpSocket::bind(ANY_PORT).expect("a port of the loopback interface").recv(&mut [0]));
}

/// Nobody reads, so the buffers fill up.
fn send() {
    let (mut client, _server) = connection();
    while client.write_all(&[0; 4096]).is_ok() {}
}

/// The listener's queue is full, so the kernel does not answer the last one.
fn connect() {
    let listener = listener();
    // SAFETY: the call changes the length of the queue of a socket that listens already.
    check(unsafe { libc::listen(listener.as_raw_fd(), 0) });
    let address = listener.local_addr().expect("a bound socket has an address");
    let _first = TcpStream::connect(address).expect("the queue has room for one");
    thread::sleep(Duration::from_millis(50));
    drop(TcpStream::connect(address));
}

fn receive_unix() {
    let (mut here, _there) = UnixStream::pair().expect("a pair of sockets");
    drop(here.read(&mut [0]));
}

fn send_unix() {
    let (mut here, _there) = UnixStream::pair().expect("a pair of sockets");
    while here.write_all(&[0; 4096]).is_ok() {}
}

fn receive_netlink() {
    let mut byte = 0u8;
    // SAFETY: the buffer has the one byte that is asked for.
    unsafe {
        let socket = check(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE));
        libc::recv(socket, (&raw mut byte).cast(), 1, 0);
    }
}
