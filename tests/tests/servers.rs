//! Real servers under load, from Debian's packages: the books close, waits have reasons, and the time on a CPU is what
//! the kernel has charged. Each server is a private instance in a directory of its own, ended with the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use profiler_tests::counters::Watch;
use profiler_tests::harness::Live;
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::running::{Running, run, wait_until};

/// Length of each recording; the load lasts longer at both ends.
const SECONDS: &str = "4";
const LOAD_SECONDS: &str = "30";
/// Time to start a server or to fill a database.
const SET_UP: Duration = Duration::from_secs(60);

#[test]
fn postgres_under_pgbench() {
    let Some(live) = Live::start() else { return };
    let data = live.path("data");
    fs::create_dir(&data).expect("a directory");
    let owner = run(command("chown", &["postgres", text(&data)]), SET_UP).expect("chown ends");
    assert!(
        owner.status.success(),
        "no user `postgres`: `cargo xtask setup --tests` installs the package `postgresql`"
    );
    succeed(as_postgres("initdb", &["-D", text(&data), "-A", "trust", "--no-sync"]));
    // Sockets in the data directory only: no port is used.
    let server = as_postgres("postgres", &["-D", text(&data), "-k", text(&data), "-c", "listen_addresses="]);
    let server = Running::start(server).expect("postgres starts");
    let connect = ["-h", text(&data), "-U", "postgres"];
    let answers =
        || run(as_postgres("pg_isready", &connect), SET_UP).is_ok_and(|ready| ready.status.success());
    wait_until("postgres answers", SET_UP, answers).expect("postgres answers");
    succeed(as_postgres("pgbench", &[&connect[..], &["-i", "-q", "-s", "5", "postgres"]].concat()));

    let load = [&connect[..], &["-c", "4", "-T", LOAD_SECONDS, "postgres"]].concat();
    let load = Running::start(as_postgres("pgbench", &load)).expect("pgbench starts");
    // The program that was started is `setpriv`, which has become the server.
    let report = record_under_load(&live, server.pid());
    drop(load);
    let backends = report.threads().filter(|thread| thread.seconds("unix_socket") > 0.0).count();
    assert!(backends >= 4, "one process for each client waits for its requests: {backends}");
    server.signal(libc::SIGINT);
    server.finish(SET_UP).expect("postgres ends");
}

#[test]
fn redis_under_redis_benchmark() {
    let Some(live) = Live::start() else { return };
    let port = free_port();
    let directory = live.scratch.path();
    let options = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        text(directory),
    ];
    let server =
        Running::start(command(&program("redis-server", "redis-server"), &options)).expect("redis starts");
    wait_for_port(&port);
    let load = ["-p", &port, "-t", "set,get", "-n", "1000000", "-l", "-q"];
    let load =
        Running::start(command(&program("redis-benchmark", "redis-tools"), &load)).expect("the load starts");
    let report = record_under_load(&live, server.pid());
    drop(load);
    assert!(report.thread(server.pid()).share("on_cpu") > 0.2, "redis works: {:#}", report.0["threads"]);
}

#[test]
fn nginx_under_wrk() {
    let Some(live) = Live::start() else { return };
    let port = free_port();
    let directory = live.scratch.path();
    fs::write(directory.join("index.html"), "<p>one page</p>\n").expect("a page");
    fs::write(directory.join("nginx.conf"), nginx_configuration(&port, directory)).expect("a configuration");
    let options = ["-p", text(directory), "-c", "nginx.conf", "-e", "error.log"];
    let server = Running::start(command(&program("nginx", "nginx"), &options)).expect("nginx starts");
    wait_for_port(&port);
    let load = ["-t", "1", "-c", "16", "-d", LOAD_SECONDS, &format!("http://127.0.0.1:{port}/index.html")];
    let load = Running::start(command(&program("wrk", "wrk"), &load)).expect("wrk starts");
    let report = record_under_load(&live, server.pid());
    drop(load);
    assert!(
        report.threads().any(|thread| thread.share("on_cpu") > 0.2),
        "a worker works: {:#}",
        report.0["threads"]
    );
    server.signal(libc::SIGTERM);
    server.finish(SET_UP).expect("nginx ends");
}

fn nginx_configuration(port: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off; worker_processes 2; pid {directory}/nginx.pid; user root;
         events {{ worker_connections 256; }}
         http {{
             access_log off;
             client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
             fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
             server {{ listen 127.0.0.1:{port}; root {directory}; }}
         }}"
    )
}

/// Records a server and all of its processes, and checks the account against the kernel's. Time on a CPU: within 2 %
/// and the length of one reading of the counters (20 ms) at each edge. The run queue's part has the same bounds.
#[track_caller]
fn record_under_load(live: &Live, server: u32) -> Report {
    thread::sleep(Duration::from_secs(1));
    let pids = process_and_children(server);
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let watch = Watch::start(pids);
    let report = live.record(&["-p", &list, "-d", SECONDS]);
    let kernel = watch.stop().sum_between(report.interval_unix_ns());
    check_closed(&report);
    let edges = 0.02 * 2.0;
    let on_cpu = report.seconds("on_cpu");
    check_near("on a CPU", on_cpu, kernel.run_seconds, 0.02 * kernel.run_seconds + edges);
    let run_queue = report.seconds("runq_wake") + report.seconds("runq_preempt");
    check_near(
        "ready for a CPU",
        run_queue,
        kernel.run_queue_seconds,
        0.02 * kernel.run_queue_seconds + edges,
    );
    assert!(on_cpu > 0.1, "the server is under load: {:#}", report.0["ledger"]);
    let complete = report.number("/quality/stacks_complete_ratio");
    println!("stacks complete: {complete:.4}, names: {:.4}", report.number("/quality/frames_named_ratio"));
    report
}

/// A process and the processes that it has started.
fn process_and_children(parent: u32) -> Vec<u32> {
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
fn program(name: &str, package: &str) -> String {
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

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[track_caller]
fn succeed(command: Command) {
    let finished = run(command, SET_UP).expect("the command ends");
    assert!(finished.status.success(), "{finished:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A port that was free a moment ago.
#[track_caller]
fn free_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of the loopback interface");
    listener.local_addr().expect("a bound socket has an address").port().to_string()
}

#[track_caller]
fn wait_for_port(port: &str) {
    let answers = || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
    wait_until("the server answers", SET_UP, answers).expect("the server answers");
}
