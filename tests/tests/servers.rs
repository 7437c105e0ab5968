//! Real servers under load: the books close, waits have reasons, and the times are those of the kernel's own trace.
//! Each server is a private instance in a directory of its own, ended with the test.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use profiler_tests::harness::Live;
use profiler_tests::report::{Report, Thread, check_closed, check_near};
use profiler_tests::running::Running;
use profiler_tests::servers::{Postgres, SET_UP, command, nginx, process_and_children, program, redis};
use profiler_tests::trace::{self, Times};

/// Length of each recording; the load lasts longer at both ends.
const SECONDS: &str = "3";
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
    let (server, port) = redis(live.scratch.path());
    let load = ["-p", &port, "-t", "set,get", "-n", "1000000", "-l", "-q"];
    let load =
        Running::start(command(&program("redis-benchmark", "redis-tools"), &load)).expect("the load starts");
    let report = record_under_load(&live, server.pid());
    drop(load);
    assert!(report.thread(server.pid()).busy_share() > 0.2, "redis works: {:#}", report.0["threads"]);
}

#[test]
fn nginx_under_wrk() {
    let Some(live) = Live::start() else { return };
    let (server, port) = nginx(live.scratch.path(), 2);
    let load = ["-t", "1", "-c", "16", "-d", LOAD_SECONDS, &format!("http://127.0.0.1:{port}/index.html")];
    let load = Running::start(command(&program("wrk", "wrk"), &load)).expect("wrk starts");
    let report = record_under_load(&live, server.pid());
    drop(load);
    assert!(
        report.threads().any(|thread| thread.busy_share() > 0.2),
        "a worker works: {:#}",
        report.0["threads"]
    );
    server.signal(libc::SIGTERM);
    server.finish(SET_UP).expect("nginx ends");
}

/// Records a server and all of its processes, and compares the ledger with the kernel's own trace of the same time.
///
/// The trace and not `schedstat`, which a server's many wake-ups make wrong: when a wake-up will preempt, the kernel dates
/// the switch to the wake-up, and counts the time between the two, a microsecond or more, as run time (the profiler's
/// `cross_check` has the source). Under redis that is 2 to 8 % of its run time.
#[track_caller]
fn record_under_load(live: &Live, server: u32) -> Report {
    thread::sleep(Duration::from_secs(1));
    let pids = process_and_children(server);
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (report, traced) = trace::record(live, &pids, &["-p", &list, "-d", SECONDS]);
    check_closed(&report);
    let mut ledger: Vec<_> = report.threads().map(|thread| (thread.tid(), times(thread))).collect();
    let [ledger_tids, traced_tids]: [BTreeSet<_>; 2] =
        [ledger.iter().map(|(tid, _)| *tid).collect(), traced.times.keys().copied().collect()];
    assert_eq!(ledger_tids, traced_tids, "the threads of {list}");
    let intervals = report.count("on_cpu");
    let all = sum(ledger.iter().map(|(_, times)| *times));
    ledger.sort_by_key(|(_, times)| times.on_cpu_ns);
    let (busiest, of_ledger) = *ledger.last().expect("a server has threads");
    println!("the trace has {:.1} % of the switches", 100.0 * traced.seen);
    if traced.seen >= WHOLE_TRACE {
        check_times("all threads", all, sum(traced.times.values().copied()), intervals);
        check_times("the busiest thread", of_ledger, traced.times[&busiest], intervals);
    } else {
        println!("NOT COMPARED WITH THE TRACE: it has {:.1} % of the switches", 100.0 * traced.seen);
        check_run_time(&report);
    }
    assert!(of_ledger.on_cpu_ns > 100_000_000, "the server is under load: {:#}", report.0["ledger"]);
    let complete = report.number("/quality/stacks_complete_ratio");
    println!("stacks complete: {complete:.4}, names: {:.4}", report.number("/quality/frames_named_ratio"));
    report
}

/// A trace with fewer of the switches than this is no truth: whole waits and runs are missing from it unseen.
const WHOLE_TRACE: f64 = 0.99;

/// Time on a CPU beside `schedstat`, which has up to 8 % too much under redis (above) and is up to a tick old for each CPU.
#[track_caller]
fn check_run_time(report: &Report) {
    let [ledger, kernel] = ["on_cpu_seconds", "schedstat_run_seconds"]
        .map(|key| report.number(&format!("/ledger/cross_check/{key}")));
    check_near("on a CPU, by schedstat", ledger, kernel, 0.08 * kernel + 0.02);
}

/// What the ledger says of a thread, as the trace would.
fn times(thread: Thread) -> Times {
    let ns = |seconds: f64| (seconds * 1e9) as u64;
    Times {
        on_cpu_ns: ns(thread.seconds("on_cpu")),
        run_queue_ns: ns(thread.run_queue_seconds()),
        blocked_ns: ns(thread.blocked_seconds()),
        unknown_ns: 0,
    }
}

fn sum(all: impl Iterator<Item = Times>) -> Times {
    all.fold(Times::default(), |sum, times| Times {
        on_cpu_ns: sum.on_cpu_ns + times.on_cpu_ns,
        run_queue_ns: sum.run_queue_ns + times.run_queue_ns,
        blocked_ns: sum.blocked_ns + times.blocked_ns,
        unknown_ns: sum.unknown_ns + times.unknown_ns,
    })
}

/// What the trace knows, and at most what it does not know on top; each within 1 %, and 10 ms for the ledger's accounts,
/// which are opened and read one after another at the recording's edges, and 1 µs for each interval: at each of its two
/// ends the trace and the ledger read the clock one after the other, with the work of the first in between. Under redis a
/// wait lasts 4 µs, so there that is no small part of it.
#[track_caller]
fn check_times(whose: &str, ledger: Times, traced: Times, intervals: f64) {
    let check = |what: &str, ledger: u64, traced_ns: u64| {
        let [ledger, least, unknown] = [ledger, traced_ns, traced.unknown_ns].map(|ns| ns as f64 / 1e9);
        println!("{whose}, {what}: {ledger:.4} s, traced {least:.4} s, unknown {unknown:.4} s");
        let expected = ledger.clamp(least, least + unknown);
        check_near(&format!("{whose}, {what}"), ledger, expected, 0.01 * expected + 0.01 + 1e-6 * intervals);
    };
    check("on a CPU", ledger.on_cpu_ns, traced.on_cpu_ns);
    check("ready for a CPU", ledger.run_queue_ns, traced.run_queue_ns);
    check("blocked", ledger.blocked_ns, traced.blocked_ns);
}
