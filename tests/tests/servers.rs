//! Real servers under load: the books close, waits have reasons, and the time on a CPU is what the kernel has charged.
//! Each server is a private instance in a directory of its own, ended with the test.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use profiler_tests::counters::Watch;
use profiler_tests::harness::Live;
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::running::Running;
use profiler_tests::servers::{
    Postgres, SET_UP, command, free_port, process_and_children, program, text, wait_for_port,
};

/// Length of each recording; the load lasts longer at both ends.
const SECONDS: &str = "4";
const LOAD_SECONDS: &str = "30";

#[test]
fn postgres_under_pgbench() {
    let Some(live) = Live::start() else { return };
    let server = Postgres::start(live.path("data"));
    let load = server.load(LOAD_SECONDS);
    let report = record_under_load(&live, server.pid());
    drop(load);
    // A backend waits for its client's next request in epoll_wait, for its commit in fdatasync.
    let backends = report
        .threads()
        .filter(|thread| thread.seconds("poll") > 0.0 && thread.seconds("fsync") > 0.0)
        .count();
    assert!(backends >= 4, "one process for each client waits for its requests: {backends}");
    server.stop();
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
