//! `profiler io`: disks watched live.

use std::process::{Command, Stdio};
use std::time::Duration;

use profiler_tests::harness::{Live, attached_programs, directory};
use profiler_tests::loop_device::LoopDevice;
use profiler_tests::running::{Running, run, wait_until};

const SOON: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(60);
/// Arrival, issue, requeue and completion.
const PROGRAMS: usize = 4;

/// Starts watching, and waits until all is attached.
#[track_caller]
fn watch(live: &Live, arguments: &[&str]) -> Running {
    let command = live.profiler(&[&["io", "--max-overhead", "100%"], arguments].concat());
    let watching = Running::start(command).expect("profiler starts");
    let is_attached = || attached_programs(watching.pid()).len() == PROGRAMS;
    wait_until("the programs attached", SOON, is_attached).expect("profiler attaches its programs");
    watching
}

/// The words of the line of the text that has both.
#[track_caller]
fn line_with<'a>(text: &'a str, one: &str, other: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.contains(one) && line.contains(other));
    line.unwrap_or_else(|| panic!("no line with `{one}` and `{other}`:\n{text}")).split_whitespace().collect()
}

/// Truth: 2,000 reads of 4 KiB of a device that nobody else reads, and the kernel's own counter. Whose they are, and that each
/// is random, is known too.
#[test]
fn disks_are_watched_until_a_signal() {
    let Some(live) = Live::start() else { return };
    let disk = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk");
    let device = LoopDevice::new(&disk.path().join("backing"), 64 << 20).expect("a loop device");
    let watching = watch(&live, &["300ms", "--histogram"]);
    let before = device.counted().expect("counters");
    let mut reads = Command::new(directory().join("device_read"));
    reads.arg(device.path()).arg("2000");
    let reads = run(reads, LIMIT).expect("it reads");
    assert!(reads.status.success(), "{reads:?}");
    let counted = device.counted().expect("counters").reads - before.reads;
    watching.signal(libc::SIGINT);
    let finished = watching.finish(LIMIT).expect("profiler ends");
    assert!(finished.status.success(), "{finished:?}");
    let (_, whole) = finished.stdout.split_once("total: ").expect("the sum of all intervals");
    let row = line_with(whole, device.name(), "read").join(" ");
    let (requests, rest) = row.split_once(" 4 KiB ").expect("the size of one");
    let requests: String = requests.chars().skip_while(|c| *c != ' ').filter(char::is_ascii_digit).collect();
    assert_eq!(requests, counted.to_string(), "requests:\n{whole}");
    assert!(rest.starts_with("0.0 %"), "reads at random places are not in sequence:\n{whole}");
    // In the interval in which it read: the sum shows four processes, and a busy machine has others that use disks for longer.
    line_with(&finished.stdout, "device_read", "(pid");
    assert!(whole.contains("Cost: "), "its cost is told:\n{whole}");
}

/// So many intervals as were asked for, and their sum.
#[test]
fn intervals_are_counted() {
    let Some(live) = Live::start() else { return };
    let finished = live.run(&["io", "200ms", "3", "--max-overhead", "100%"]);
    assert!(finished.status.success(), "{finished:?}");
    let headings = finished.stdout.lines().filter(|line| line.contains(" from 20")).count();
    assert_eq!(headings, 4, "{}", finished.stdout);
}

/// A reader that goes away ends it, without a word.
#[test]
fn it_ends_with_its_reader() {
    let Some(live) = Live::start() else { return };
    let mut command = live.profiler(&["io", "100ms", "--max-overhead", "100%"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = command.spawn().expect("profiler starts");
    drop(watching.stdout.take());
    let ended = || watching.try_wait().expect("it is our child").is_some();
    wait_until("its end", SOON, ended).expect("it ends");
    let output = watching.wait_with_output().expect("it has ended");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
