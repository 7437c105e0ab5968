//! Locks, their holders, and the verdict, on workloads whose bottleneck is known. The whole scorecard is `cargo xtask bench verdicts`.

use profiler_tests::counters::{Counters, Watch};
use profiler_tests::harness::Live;
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::slow_disk::SlowDisk;
use serde_json::Value;

/// A report, and what the kernel has counted of the recorded threads meanwhile.
struct Recorded {
    report: Report,
    counted: Counters,
}

/// Records a case of the workload `verdict` for three seconds.
#[track_caller]
fn record(live: &Live, case: &str) -> Recorded {
    let disk = SlowDisk::new(env!("CARGO_TARGET_TMPDIR").as_ref()).expect("a disk of known delay");
    let workload = live.urgent_workload("verdict", &[case, &disk.place().to_string_lossy()]);
    let watch = Watch::start(vec![workload.pid()]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
    let counted = watch.stop().sum_between(report.interval_unix_ns());
    check_closed(&report);
    Recorded { report, counted }
}

/// The verdict is this one. Where others had the CPUs, so that the kernel counts more time ready for a CPU than on one, that is what
/// limits the threads, and this one comes after it.
#[track_caller]
fn check_verdict(Recorded { report, counted }: &Recorded, id: &str) {
    let verdict = &report.0["verdict"];
    let lacked_cpus = counted.run_queue_seconds > counted.run_seconds;
    let also = verdict["also"].as_array().map_or(&[][..], Vec::as_slice);
    // Of a lock it may be the holder who waits for a CPU: then the lock is in the same sentence.
    let of_holder =
        verdict["sentence"].as_str().is_some_and(|told| told.contains("whose holder waits for a CPU"));
    let comes_after = of_holder || also.iter().any(|one| one["id"] == id);
    // Threads that wait for a CPU have something to do, however little.
    let is_idle = id == "IDLE" && verdict["id"] == "NO_BOTTLENECK";
    let is_right_then = is_idle || (verdict["id"] == "CPU_SATURATED" && comes_after);
    assert!(
        verdict["id"] == id || (lacked_cpus && is_right_then),
        "not {id}: {counted:?}\n{verdict:#}\n{:#}",
        report.0["ledger"]["states"]
    );
}

/// The lock that was waited for the longest. The main thread's wait for the others is no lock's.
#[track_caller]
fn first_lock(report: &Report) -> &Value {
    let futexes = report.0["locks"]["futexes"].as_array().map_or(&[][..], Vec::as_slice);
    let lock = futexes.iter().find(|futex| futex["is_lock"] == true);
    lock.unwrap_or_else(|| panic!("no lock in {:#}", report.0["locks"]))
}

/// The share of the holder's time, while others waited, in states for which `wanted` holds.
fn meanwhile(lock: &Value, wanted: impl Fn(&str) -> bool) -> f64 {
    let states = lock["holder"]["meanwhile"].as_array().map_or(&[][..], Vec::as_slice);
    let wanted = states.iter().filter(|state| wanted(state["state"].as_str().unwrap_or_default()));
    wanted.map(|state| state["ratio"].as_f64().expect("a ratio")).sum()
}

/// Four threads want one mutex of the C library: it has a name, its word says who holds it, and the waits of the lock are the
/// ledger's, ±5 %: some waits are too short for a sample.
#[test]
fn a_hot_mutex_is_named_and_its_owner_observed() {
    let Some(live) = Live::start() else { return };
    let recorded = record(&live, "mutex_hot");
    let report = &recorded.report;
    if report.lacks_off_cpu_stacks() {
        return;
    }
    check_verdict(&recorded, "LOCK_USER");
    let lock = first_lock(report);
    assert_eq!(lock["kind"], "mutex", "{lock:#}");
    assert!(lock["lock"]["name"].as_str().is_some_and(|name| name.ends_with("HOT_LOCK")), "{lock:#}");
    assert_eq!(lock["holder"]["how"], "observed", "{lock:#}");
    assert_eq!(lock["waiters"].as_array().map(Vec::len), Some(4), "{lock:#}");
    let (seconds, ledger) = (lock["seconds"].as_f64().expect("seconds"), report.seconds("futex_lock"));
    check_near("waits for the lock", seconds, ledger, 0.05 * ledger);
}

/// The holder of the mutex writes and waits for the device all the time.
#[test]
fn a_mutex_held_across_fsync_is_told_with_what_its_holder_waits_for() {
    let Some(live) = Live::start() else { return };
    let recorded = record(&live, "mutex_across_fsync");
    let report = &recorded.report;
    if report.lacks_off_cpu_stacks() {
        return;
    }
    check_verdict(&recorded, "LOCK_HELD_ACROSS_IO");
    let in_fsync = meanwhile(first_lock(report), |state| state == "fsync");
    assert!(in_fsync > 0.5, "{in_fsync} in fsync: {:#}", first_lock(report));
}

/// A mutex of Rust has no owner's word.
#[test]
fn the_holder_of_a_lock_without_an_owner_is_inferred() {
    let Some(live) = Live::start() else { return };
    let recorded = record(&live, "rust_mutex_hot");
    let report = &recorded.report;
    check_verdict(&recorded, "LOCK_USER");
    let lock = first_lock(report);
    assert_eq!(lock["holder"]["how"], "inferred", "{lock:#}");
    let running =
        meanwhile(lock, |state| state == "on_cpu" || state.starts_with("runq") || state == "futex_lock");
    assert!(running > 0.9, "{running} on the CPU, ready or waiting for its own turn: {lock:#}");
}

/// Two threads hold one lock each and wait for the other's.
#[test]
fn a_deadlock_is_told_with_its_threads_and_locks() {
    let Some(live) = Live::start() else { return };
    let recorded = record(&live, "deadlock");
    let report = &recorded.report;
    if report.lacks_off_cpu_stacks() {
        return;
    }
    check_verdict(&recorded, "DEADLOCK");
    let steps = report.0["locks"]["deadlocks"][0]["steps"].as_array().expect("steps");
    let mut told: Vec<_> = steps
        .iter()
        .map(|step| {
            (step["thread"]["comm"].as_str().unwrap_or_default(), step["waits_for"]["name"].to_string())
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].0 == "left" && told[0].1.contains("SECOND_LOCK"), "{told:?}");
    assert!(told[1].0 == "right" && told[1].1.contains("FIRST_LOCK"), "{told:?}");
}

/// Threads that wait for work are no problem, whatever they wait with.
#[test]
fn idle_threads_are_idle() {
    let Some(live) = Live::start() else { return };
    for case in ["idle_condition_variable", "idle_pipe", "timers"] {
        check_verdict(&record(&live, case), "IDLE");
    }
}

/// The client waits for a server that takes 10 ms for each answer.
#[test]
fn waiting_for_a_server_names_it() {
    let Some(live) = Live::start() else { return };
    let recorded = record(&live, "downstream");
    let report = &recorded.report;
    check_verdict(&recorded, "DOWNSTREAM_WAIT");
    assert!(report.0["verdict"]["evidence"].to_string().contains("127.0.0.1:"), "{:#}", report.0["verdict"]);
}

/// Four threads map and unmap memory of one process: the kernel's own events tell of the lock of its address space.
#[test]
fn the_lock_of_the_address_space_is_named() {
    let Some(live) = Live::start() else { return };
    let recorded = record(&live, "address_space");
    let report = &recorded.report;
    if report.0["locks"]["kernel_followed"] == false {
        assert!(report.0["quality"]["skipped"].to_string().contains("kernel lock contention"));
        return;
    }
    check_verdict(&recorded, "LOCK_KERNEL");
    assert_eq!(
        report.0["locks"]["kernel"][0]["lock"]["name"], "mmap_lock",
        "{:#}",
        report.0["locks"]["kernel"]
    );
}

/// io_uring gives the process a worker that waits for the device in its place. Workers come without a fork that the kernel tells of; six
/// are born in three seconds, half of that is the least to be seen. What they wait for is at least half of what the ring's owner waits:
/// the rest is in their wake-ups and on the CPU.
#[test]
fn workers_of_a_ring_are_threads_of_the_process_and_their_waits_its_cause() {
    let Some(live) = Live::start() else { return };
    if !has_io_uring() {
        return;
    }
    let before = flushes();
    let recorded = record(&live, "ring_sync");
    let report = &recorded.report;
    // A device without a cache of its own gets no flush: there the worker waits for a write. It syncs some hundred times a second; a few
    // flushes are those of other disks.
    check_verdict(&recorded, if flushes() - before > 100 { "FSYNC_BOUND" } else { "DISK_WRITE_BOUND" });
    let workers: Vec<_> = report.threads().filter(|thread| thread.comm().starts_with("iou-wrk-")).collect();
    assert!(workers.len() >= 3, "{:#}", report.0["threads"]);
    let waited: f64 =
        workers.iter().map(|worker| worker.seconds("kernel_io") + worker.seconds("file_wait")).sum();
    assert!(waited > 0.5 * report.seconds("io_uring"), "{:#}", report.0["threads"]);
}

/// Flushes of all disks, as the kernel counts them (field 16, Documentation/admin-guide/iostats.rst).
fn flushes() -> u64 {
    let counts = std::fs::read_to_string("/proc/diskstats").expect("the kernel counts requests");
    counts.lines().filter_map(|line| line.split_whitespace().nth(18)?.parse::<u64>().ok()).sum()
}

/// Workers are threads of their process since 5.12; in 5.10 they are threads of the kernel. A sysctl may forbid the call (6.6).
fn has_io_uring() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    let forbidden = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let is_new = (numbers.next(), numbers.next()) >= (Some(5), Some(12));
    if !is_new {
        eprintln!("skipped: io_uring's workers are threads of the kernel in {release}");
    }
    is_new && forbidden.trim() != "2"
}
