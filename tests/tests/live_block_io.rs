//! Requests to block devices, and the waits that they end.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::Duration;

use profiler_tests::frozen::FrozenFiles;
use profiler_tests::harness::{Live, directory};
use profiler_tests::loop_device::LoopDevice;
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::running::{run, wait_until};
use profiler_tests::slow_disk::SlowDisk;
use serde_json::Value;

/// Rows of a table of `block_io`.
fn rows<'a>(report: &'a Report, table: &str) -> &'a [Value] {
    report.0["block_io"][table].as_array().map_or(&[], Vec::as_slice)
}

/// Requests of one operation at one device; zeros if there were none.
fn requests(report: &Report, device: &str, operation: &str) -> (u64, u64, u64) {
    let row =
        rows(report, "requests").iter().find(|row| row["device"] == device && row["operation"] == operation);
    let number = |key: &str| row.map_or(0, |row| row[key].as_u64().expect("a number"));
    (number("count"), number("of_target"), number("bytes"))
}

/// Seconds of waits in a state, of those for which `wanted` holds.
fn waited(report: &Report, state: &str, wanted: impl Fn(&Value) -> bool) -> f64 {
    let waits = rows(report, "waits").iter().filter(|wait| wait["state"] == state && wanted(wait));
    waits.map(|wait| wait["seconds"].as_f64().expect("seconds")).sum()
}

/// How many requests each device has done, of all kinds (Documentation/block/stat.rst).
fn requests_done() -> Vec<(String, u64)> {
    let device = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let numbers: Vec<u64> =
            text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        // Reads, writes, discards and flushes; older kernels lack the last two.
        let count = [0, 4, 11, 15].iter().filter_map(|&place| numbers.get(place)).sum();
        Some((entry.file_name().into_string().ok()?, count))
    };
    fs::read_dir("/sys/block").expect("devices").flatten().filter_map(device).collect()
}

/// How many requests these devices have done, and how many all others.
fn done_at(devices: &[LoopDevice]) -> [u64; 2] {
    let is_one = |name: &str| devices.iter().any(|device| name == device.name());
    let (ours, others): (Vec<_>, Vec<_>) = requests_done().into_iter().partition(|(name, _)| is_one(name));
    [ours, others].map(|rows| rows.iter().map(|(_, count)| count).sum())
}

/// How many threads of programs with this name are in this function of the kernel.
fn threads_in(comm: &str, function: &str) -> usize {
    let entries = |path: &str| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = entries("/proc")
        .filter(|process| fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == comm));
    let threads =
        named.flat_map(|process| entries(&process.join("task").to_string_lossy()).collect::<Vec<_>>());
    let waits_there = |thread: &std::path::PathBuf| {
        let stack = fs::read_to_string(thread.join("stack")).unwrap_or_default();
        stack.contains(function) && !stack.contains("blk_mq_get_tag")
    };
    threads.filter(waits_there).count()
}

/// A directory on the disk to which this test was built, for what devices are made of; gone at the test's end.
fn disk() -> tempfile::TempDir {
    tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk")
}

/// A disk whose delay is known.
fn slow_disk() -> SlowDisk {
    SlowDisk::new(env!("CARGO_TARGET_TMPDIR").as_ref()).expect("a disk of known delay")
}

/// Truth: 2,000 reads of 4 KiB of a device that nobody else reads, and the kernel's own counters of it.
#[test]
fn requests_are_as_many_as_the_kernel_counts() {
    let Some(live) = Live::start() else { return };
    let disk = disk();
    let device = LoopDevice::new(&disk.path().join("backing"), 64 << 20).expect("a loop device");
    let before = device.counted().expect("counters");
    live.record_command("device_read", &[&device.path().to_string_lossy(), "2000"]);
    let after = device.counted().expect("counters");
    let report = live.report();
    check_closed(&report);
    let (count, of_target, bytes) = requests(&report, device.name(), "read");
    assert_eq!(of_target, 2000, "{:#}", report.0["block_io"]);
    assert_eq!((count, bytes), (after.reads - before.reads, after.read_bytes - before.read_bytes));
    let row = rows(&report, "devices").iter().find(|row| row["name"] == device.name()).expect("the device");
    assert_eq!(row["stacked"], true, "a loop device hands its requests on");
    // Of other devices there may be, where others use them at the recording's edges.
    let disagreements = report.0["block_io"]["disagreements"].to_string();
    assert!(!disagreements.contains(device.name()), "{disagreements}");
}

/// Each direct read waits for the request that the thread has itself submitted: more than 97 % of the time does, as some reads are
/// done before the thread has left its CPU. The waits add up to the ledger's `disk_read`, ±1 %.
#[test]
fn direct_reads_wait_for_their_own_requests() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    live.record_command("direct_read", &[&disk.place().to_string_lossy(), "2"]);
    let report = live.report();
    check_closed(&report);
    let disk_read = report.seconds("disk_read");
    check_near(
        "waits that were told apart",
        waited(&report, "disk_read", |_| true),
        disk_read,
        0.01 * disk_read,
    );
    let own = waited(&report, "disk_read", |wait| wait["ended_by"] == "own_request");
    assert!(own >= 0.97 * disk_read, "{own} s of {disk_read} s: {:#}", report.0["block_io"]["waits"]);
    let device_seconds: f64 =
        rows(&report, "waits").iter().map(|wait| wait["device_seconds"].as_f64().expect("seconds")).sum();
    assert!(device_seconds > 0.3 * own, "{device_seconds} s in devices of {own} s");
}

/// The stacks that submit lead to the call that reads. The file was written before that.
#[test]
fn stacks_that_submit_are_told() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    live.record_command("direct_read", &[&disk.place().to_string_lossy(), "2"]);
    let report = live.report();
    let reads = rows(&report, "submitters").iter().find(|row| row["operation"] == "read");
    assert!(
        reads.is_some_and(|row| row["functions"].to_string().contains("pread")),
        "submitted in {reads:?}"
    );
}

/// All waits of `fdatasync` are those for one file, whose path was asked for while it was open. ±1 % of the ledger's.
#[test]
fn syncs_are_waits_for_their_file() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    live.record_command("fsync_loop", &[&disk.place().to_string_lossy(), "2"]);
    let report = live.report();
    let fsync = report.seconds("fsync");
    let files = rows(&report, "files").iter().filter(|file| file["state"] == "fsync");
    let of_file =
        files.filter(|file| file["path"].as_str().is_some_and(|path| path.contains("fsync_loop.data")));
    let found: f64 = of_file.map(|file| file["seconds"].as_f64().expect("seconds")).sum();
    check_near("waits for the file", found, fsync, 0.01 * fsync);
    check_near("waits that were told apart", waited(&report, "fsync", |_| true), fsync, 0.01 * fsync);
}

/// Up to 2,000 requests are under way at once where there is room for 256: those that could not be followed are counted, and with the
/// others they are as many as the kernel counts. The report says so above all.
#[test]
fn requests_that_there_is_no_room_for_are_counted() {
    let Some(live) = Live::start() else { return };
    let disk = disk();
    let device = LoopDevice::new(&disk.path().join("backing"), 64 << 20).expect("a loop device");
    device.deepen(2000).expect("a deep queue");
    let devices = std::slice::from_ref(&device);
    let before = done_at(devices);
    let path = device.path();
    live.record_command_with(
        &["--kernel-memory", "2m"],
        "read_deep",
        &[&path.to_string_lossy(), "2000", "5"],
    );
    let [ours, others] = done_at(devices);
    let (ours, others) = (ours - before[0], others - before[1]);
    let report = live.report();
    let (count, ..) = requests(&report, device.name(), "read");
    let lost = report.number("/quality/counts/requests_full") as u64;
    assert!(lost > 1000, "{lost} lost: {:#}", report.0["block_io"]["requests"]);
    // Of which devices the lost ones are is not known.
    assert!(
        (ours..=ours + others).contains(&(count + lost)),
        "{count} followed, {lost} lost of {ours} and {others}"
    );
    assert_eq!(report.0["quality"]["reliable"], false);
    assert_eq!(report.0["verdict"]["id"], "INSUFFICIENT_DATA");
}

/// 105,000 requests are under way at the same time, 1,500 at each of 70 devices, where there is room for 16,384: what they write to
/// is frozen. Those that are followed and those that are not are as many as the kernel counts, and the memory stays what it was.
#[test]
fn a_hundred_thousand_requests_under_way_are_all_counted() {
    const DEVICES: usize = 70;
    const BLOCKS: u64 = 1500;
    let Some(live) = Live::start() else { return };
    let disk = disk();
    let files = FrozenFiles::new(disk.path(), 32 << 20).expect("a file system");
    let path = files.place().join("backing");
    fs::write(&path, vec![1; 4096 * BLOCKS as usize]).expect("a file");
    let backing = File::options().read(true).write(true).open(&path).expect("the file");
    let device = |_| {
        let device = LoopDevice::of(&backing).expect("a loop device");
        device.deepen(2000).expect("a deep queue");
        device.take_single_blocks().expect("small requests");
        device
    };
    let devices: Vec<LoopDevice> = (0..DEVICES).map(device).collect();
    let is_ours = |name: &str| devices.iter().any(|device| name == device.name());
    let counted = || done_at(&devices);
    let before = counted();
    let paths: Vec<String> = devices.iter().map(|device| device.path().display().to_string()).collect();
    let mut arguments = vec!["1500"];
    arguments.extend(paths.iter().map(String::as_str));
    files.freeze().expect("frozen");
    thread::scope(|scope| {
        let thaw = || {
            let all_wait = wait_until("all requests under way", Duration::from_secs(60), || {
                threads_in("write_deep", "blkdev_direct_IO") == DEVICES
            });
            files.thaw().expect("thawed");
            all_wait.expect("each thread waits for what it has submitted, none for room in a queue");
        };
        let thawing = scope.spawn(thaw);
        live.record_command("write_deep", &arguments);
        thawing.join().expect("no panic");
    });
    let report = live.report();
    let ours =
        rows(&report, "requests").iter().filter(|row| is_ours(row["device"].as_str().expect("a name")));
    let followed: u64 = ours.map(|row| row["count"].as_u64().expect("a number")).sum();
    let lost = report.number("/quality/counts/requests_full") as u64;
    let [ours, others] = counted();
    let (ours, others) = (ours - before[0], others - before[1]);
    assert!(lost > 80_000, "{lost} lost, {followed} followed");
    // Of which devices the lost ones are is not known.
    let truth = ours..=ours + others;
    assert!(
        truth.contains(&(followed + lost)),
        "{followed} followed, {lost} lost of {ours} and {others} at other devices"
    );
    assert!(report.number("/cost/kernel_bytes") < 64.0 * 1024.0 * 1024.0);
    assert_eq!(report.0["quality"]["reliable"], false);
}

/// A device that is taken away during the recording keeps its name and its requests.
#[test]
fn a_device_that_vanishes_keeps_its_requests() {
    let Some(live) = Live::start() else { return };
    let disk = disk();
    let device = LoopDevice::new(&disk.path().join("backing"), 64 << 20).expect("a loop device");
    let (name, path) = (device.name().to_owned(), device.path());
    let other = live.workload("spin", &["1"]);
    let recording = live.start_recording(&["-p", &other.pid().to_string(), "-d", "4"]);
    thread::sleep(Duration::from_secs(1));
    let mut reads = Command::new(directory().join("device_read"));
    reads.arg(path).arg("500");
    let reads = run(reads, Duration::from_secs(20)).expect("it reads");
    assert!(reads.status.success(), "{reads:?}");
    device.remove().expect("the device goes");
    let report = live.finish_recording(recording);
    check_closed(&report);
    assert_eq!(requests(&report, &name, "read").0, 500, "{:#}", report.0["block_io"]["requests"]);
}

/// What was not asked for is not there, and is no loss either.
#[test]
fn without_io_there_are_times_alone() {
    let Some(live) = Live::start() else { return };
    let disk = slow_disk();
    live.record_command_with(&["--io", "off"], "direct_read", &[&disk.place().to_string_lossy(), "1"]);
    let report = live.report();
    assert_eq!(report.0["block_io"]["followed"], false);
    assert_eq!(rows(&report, "requests"), [] as [Value; 0]);
    assert!(report.seconds("disk_read") > 0.0);
    assert!(!report.0["quality"]["skipped"].to_string().contains("disk requests are not followed"));
}
