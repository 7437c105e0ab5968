//! Private instances of real servers, from Debian's packages, for the tests and the benchmarks.
//!
//! In: a directory of the caller. Out: a running server, and a load for it. What is not installed is a failure that names
//! the package: a test of real servers that skips them would prove nothing.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::running::{Running, run, wait_until};

/// Time to start a server, to fill a database, or to end.
pub const SET_UP: Duration = Duration::from_secs(60);

/// A database server with pgbench's tables. Its sockets are in its directory: it uses no port.
#[derive(Debug)]
pub struct Postgres {
    server: Running,
    data: PathBuf,
}

impl Postgres {
    /// Makes a database in `data`, which must not exist, and starts its server.
    #[track_caller]
    pub fn start(data: PathBuf) -> Self {
        fs::create_dir(&data).expect("a directory");
        let owner = run(command("chown", &["postgres", text(&data)]), SET_UP).expect("chown ends");
        assert!(
            owner.status.success(),
            "no user `postgres`: `cargo xtask setup --tests` installs `postgresql`"
        );
        succeed(as_postgres("initdb", &["-D", text(&data), "-A", "trust", "--no-sync"]));
        let options = ["-D", text(&data), "-k", text(&data), "-c", "listen_addresses="];
        let server = Running::start(as_postgres("postgres", &options)).expect("postgres starts");
        let postgres = Self { server, data };
        let answers =
            || run(postgres.client("pg_isready", &[]), SET_UP).is_ok_and(|ready| ready.status.success());
        wait_until("postgres answers", SET_UP, answers).expect("postgres answers");
        succeed(postgres.client("pgbench", &["-i", "-q", "-s", "5", "postgres"]));
        postgres
    }

    /// Four clients of pgbench, until dropped or for `seconds`.
    #[track_caller]
    pub fn load(&self, seconds: &str) -> Running {
        let pgbench = self.client("pgbench", &["-c", "4", "-T", seconds, "postgres"]);
        Running::start(pgbench).expect("pgbench starts")
    }

    /// The first process of the server.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Ends the server and waits for its end.
    #[track_caller]
    pub fn stop(self) {
        self.server.signal(libc::SIGINT);
        self.server.finish(SET_UP).expect("postgres ends");
    }

    fn client(&self, name: &str, arguments: &[&str]) -> Command {
        as_postgres(name, &[&["-h", text(&self.data), "-U", "postgres"], arguments].concat())
    }
}

/// A redis that keeps nothing on the disk, and its port.
#[track_caller]
pub fn redis(directory: &Path) -> (Running, String) {
    let port = free_port();
    let keeps_nothing = ["--save", "", "--appendonly", "no"];
    let place = ["--port", &port, "--bind", "127.0.0.1", "--dir", text(directory)];
    let redis = command(&program("redis-server", "redis-server"), &[&place[..], &keeps_nothing].concat());
    let server = Running::start(redis).expect("redis starts");
    wait_for_port(&port);
    (server, port)
}

/// An nginx of so many workers that serves the one page `index.html` of a directory, and its port.
#[track_caller]
pub fn nginx(directory: &Path, workers: u32) -> (Running, String) {
    let (port, folder) = (free_port(), text(directory));
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places = places.map(|name| format!("{name}_temp_path {folder}/{name};")).join(" ");
    let configuration = format!(
        "daemon off; worker_processes {workers}; pid {folder}/nginx.pid; user root;
         events {{ worker_connections 256; }}
         http {{ access_log off; {places} server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"
    );
    fs::create_dir_all(directory).expect("a directory");
    fs::write(directory.join("index.html"), "<p>one page</p>\n").expect("a page");
    fs::write(directory.join("nginx.conf"), configuration).expect("a configuration");
    let options = ["-p", folder, "-c", "nginx.conf", "-e", "error.log"];
    let server = Running::start(command(&program("nginx", "nginx-light"), &options)).expect("nginx starts");
    wait_for_port(&port);
    (server, port)
}

/// A process and the processes that it has started.
pub fn process_and_children(parent: u32) -> Vec<u32> {
    let tasks = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(tasks).expect("the kernel lists children");
    let children = children.split_whitespace().map(|pid| pid.parse().expect("a number"));
    std::iter::once(parent).chain(children).collect()
}

/// A command of postgres, as the user that it insists on. `setpriv` becomes the command: it leaves no process between.
#[track_caller]
fn as_postgres(name: &str, arguments: &[&str]) -> Command {
    let program = program(name, "postgresql");
    let options = ["--reuid=postgres", "--regid=postgres", "--init-groups", &program];
    let mut command = command("setpriv", &[&options, arguments].concat());
    command.current_dir("/");
    command
}

/// Full path of a server's program: in the search path, or where Debian puts postgres's.
#[track_caller]
pub fn program(name: &str, package: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_postgres = versions.map(|version| version.path().join("bin"));
    let places = path.split(':').map(PathBuf::from).chain([PathBuf::from("/usr/sbin")]).chain(of_postgres);
    let found = places.map(|place| place.join(name)).find(|path| path.is_file());
    let found = found.unwrap_or_else(|| {
        panic!("no `{name}`: `cargo xtask setup --tests` installs the package `{package}`")
    });
    text(&found).to_owned()
}

/// A command with its arguments.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[track_caller]
fn succeed(command: Command) {
    let finished = run(command, SET_UP).expect("the command ends");
    assert!(finished.status.success(), "{finished:?}");
}

/// A path of our own, which is plain text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A port that was free a moment ago.
#[track_caller]
pub fn free_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of the loopback interface");
    listener.local_addr().expect("a bound socket has an address").port().to_string()
}

/// Waits until a server accepts connections.
#[track_caller]
pub fn wait_for_port(port: &str) {
    let answers = || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
    wait_until("the server answers", SET_UP, answers).expect("the server answers");
}
