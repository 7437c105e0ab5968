//! Waits for the disk: one whose delay is known, so that each request is waited for, however fast the machine's own disk is.

use profiler_tests::harness::Live;
use profiler_tests::report::{check_closed, check_near};
use profiler_tests::slow_disk::{DELAY, SlowDisk};

fn slow_disk() -> SlowDisk {
    SlowDisk::new(env!("CARGO_TARGET_TMPDIR").as_ref()).expect("a disk of known delay")
}

/// Each direct read waits for the device once: `disk_read` has as many intervals as the kernel counted voluntary
/// switches, ±1 %, no more time than the reads took by the workload's own clock, and no less than the device takes for so many.
#[test]
fn direct_reads_are_disk_read() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    let truth = live.record_command("direct_read", &[&disk.place().to_string_lossy(), "2"]);
    let report = live.report();
    check_closed(&report);
    let (switches, seconds) = (number(&truth, "voluntary_switches"), number(&truth, "read_seconds"));
    check_near("waits for the device", report.count("disk_read"), switches, 0.01 * switches);
    let (found, least) = (report.seconds("disk_read"), number(&truth, "reads") * DELAY.as_secs_f64());
    assert!(
        (0.99 * least..=seconds).contains(&found),
        "{found} s of {seconds} s in reads, {least} s in the device"
    );
    let waits = report.0["wait_times"].as_array().expect("a list");
    let disk = waits.iter().find(|row| row["group"] == "disk").expect("waits for a disk");
    // Those for reads, and at most all others that the thread has had: while the file was made, too, it waited for the disk.
    let (waits, most) = (number(disk, "waits"), number(&truth, "all_voluntary_switches"));
    assert!((0.99 * switches..=most).contains(&waits), "{waits} waits, {switches} in reads, {most} in all");
    // The histogram has a bucket of 6 %.
    assert!(number(disk, "p50_seconds") >= 0.94 * DELAY.as_secs_f64(), "{disk:#}");
}

/// What the workload spends in `fdatasync` it waits for the device, is on a CPU or ready for one: so it waits for no less than its own
/// clock shows of these calls without the other two, and for no longer; and no less than the device takes for a write each time.
#[test]
fn syncs_are_fsync() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    let truth = live.record_command("fsync_loop", &[&disk.place().to_string_lossy(), "2"]);
    let report = live.report();
    check_closed(&report);
    let (found, seconds) = (report.seconds("fsync"), number(&truth, "sync_seconds"));
    let in_device = number(&truth, "syncs") * DELAY.as_secs_f64();
    let busy: f64 = report.threads().map(|thread| thread.busy_seconds()).sum();
    let least = in_device.max(seconds - busy);
    assert!(
        (0.99 * least..=seconds).contains(&found),
        "{found} s of {seconds} s in fdatasync, at least {least} s"
    );
}

/// A major fault waits for the device once, if its page does not arrive before the thread waits for it: no more intervals than
/// the kernel counted major faults, and as many as it counted voluntary switches, ±1 %, as with direct reads. The workload
/// waits for nothing else.
#[test]
fn major_faults_are_page_fault_io() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    let truth = live.record_command("page_faults", &[&disk.place().to_string_lossy(), "2"]);
    let report = live.report();
    check_closed(&report);
    let (faults, switches) = (number(&truth, "major_faults"), number(&truth, "voluntary_switches"));
    let waited = report.count("page_fault_io");
    assert!(waited <= 1.01 * faults, "{waited} waits in {faults} faults");
    check_near("faults that waited", waited, switches, 0.01 * switches);
}

#[track_caller]
fn number(truth: &serde_json::Value, key: &str) -> f64 {
    truth[key].as_f64().unwrap_or_else(|| panic!("no `{key}` in {truth}"))
}
