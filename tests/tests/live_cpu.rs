//! Time on a CPU and time ready for one, against what the kernel itself has charged.

use profiler_tests::counters::{Watch, stolen_seconds, stolen_since};
use profiler_tests::harness::Live;
use profiler_tests::report::{Report, check_closed, check_near};
use serde_json::Value;

/// Threads that share one CPU are on it or wait for it all the time. The kernel's `schedstat` over the same interval
/// says how much of each: ±1 %, and what the counters are uncertain of at the edges.
#[test]
fn more_threads_than_cpus_wait_for_a_cpu_as_the_kernel_says() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("spin", &["3", "60", "1"]);
    let watch = Watch::start(vec![workload.pid()]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "4"]);
    let kernel = watch.stop().between(report.interval_unix_ns());
    check_closed(&report);
    for name in ["spin-0", "spin-1", "spin-2"] {
        let thread = report.thread_named(name);
        let counted = kernel[&thread.tid()];
        let tolerance = 0.01 * report.elapsed() + counted.tolerance();
        counted.check_on_cpu(thread.seconds("on_cpu"), tolerance);
        check_near("ready for a CPU", thread.run_queue_seconds(), counted.run_queue_seconds, tolerance);
        check_near("busy", thread.busy_share(), 1.0, 0.01);
        assert!(thread.seconds("runq_preempt") > thread.seconds("runq_wake"), "these threads never sleep");
    }
    // Its own look at the same counters has two readings. It cannot see a wait that goes on at one of them, which the kernel counts
    // when it ends; with few neighbours such a wait is short.
    let unfinished: f64 = kernel.values().map(|counted| counted.uncertain_seconds).sum();
    let disagreements = report.0["ledger"]["cross_check"]["disagreements"].as_array().expect("a list");
    let may_differ = unfinished > 0.01 * report.number("/ledger/thread_seconds");
    assert!(disagreements.is_empty() || may_differ, "{unfinished} s unfinished: {disagreements:#?}");
}

/// Threads that are born and end within the recording count with all of their time: the kernel charges the process for
/// all of its threads (`getrusage`, told by the workload at its end). ±2 %, and more by what a hypervisor took meanwhile.
#[test]
fn short_threads_count_whole() {
    let Some(live) = Live::start() else { return };
    let stolen_before = stolen_seconds();
    let truth = live.record_command("short_threads", &["2", "3"]);
    let report = live.report();
    check_closed(&report);
    check_charged(&report, &truth, stolen_since(stolen_before));
    let born =
        report.threads().filter(|thread| thread.0["born_inside"] == true && thread.comm() == "short").count();
    check_near("short threads", born as f64, truth["threads"].as_f64().expect("a truth"), 0.0);
}

/// A command is recorded from its first instruction to its last: what the kernel has charged it by its end is what the
/// ledger has, ±2 %, and more by what a hypervisor took meanwhile.
#[test]
fn command_is_recorded_from_its_first_instruction() {
    let Some(live) = Live::start() else { return };
    let stolen_before = stolen_seconds();
    let truth = live.record_command("spin", &["2", "2"]);
    let report = live.report();
    check_closed(&report);
    check_charged(&report, &truth, stolen_since(stolen_before));
}

/// The ledger has what the kernel has charged, and at most what was stolen on top.
#[track_caller]
fn check_charged(report: &Report, truth: &Value, stolen: f64) {
    let (found, charged) = (report.seconds("on_cpu"), truth["cpu_seconds"].as_f64().expect("a truth"));
    let most = 1.02 * charged + stolen;
    let mut threads: Vec<_> =
        report.threads().map(|thread| (thread.seconds("on_cpu"), thread.comm().to_owned())).collect();
    threads.sort_by(|one, other| other.0.total_cmp(&one.0));
    threads.truncate(5);
    assert!(
        (0.98 * charged..=most).contains(&found),
        "{found} s on a CPU, {charged} s charged, {stolen} s stolen; most of it: {threads:?}"
    );
}

/// The functions of `deep_stack` are known: 20 times `descend`, then the bottom. Stacks on the CPU end in the spinning
/// function, stacks off the CPU in the kernel's sleep.
#[test]
fn stacks_show_the_functions_that_run_and_wait() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["20"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
    check_closed(&report);
    let descent = ["descend"; 20];
    let running = [&descent[..], &["bottom_spin", "spin_until"]].concat();
    let sleeping = [&descent[..], &["bottom_sleep", "sleep", "nanosleep"]].concat();
    assert!(
        report.has_stack("on_cpu", &running),
        "no stack of the spinning thread: {:#}",
        report.0["stacks"]
    );
    assert!(
        report.has_stack("off_cpu", &sleeping),
        "no stack of the sleeping thread: {:#}",
        report.0["stacks"]
    );
}
