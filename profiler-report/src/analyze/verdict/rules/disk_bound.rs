//! `DISK_READ_BOUND` and `DISK_WRITE_BOUND`: threads wait for a disk.

use profiler_common::block_io::{ended_by, operation};
use profiler_common::state;

use crate::analyze::claim::{Claim, bytes, claim, duration, percent};
use crate::analyze::stacks::kernel_paths::Path;
use crate::analyze::verdict::disk_kinds::{Kind, is_asynchronous, kind_of_wait};
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};
use crate::recording::RequestShare;

const SHARE: f64 = 0.2;
/// Of the working time: enough to be mentioned.
const FELT: f64 = 0.05;
/// A part of the request's time that decides what is slow.
const SLOW_DEVICE: f64 = 0.7;
const QUEUED: f64 = 0.5;
/// Somebody else's share of the bytes that makes him a neighbour worth naming.
const NEIGHBOUR: f64 = 0.5;

pub struct DiskRead;
pub struct DiskWrite;

impl Rule for DiskRead {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let ns = facts.work.disk_read_ns.saturating_add(facts.work.page_fault_io_ns);
        check(facts, VerdictId::DiskReadBound, Kind::Read, ns)
    }
}

impl Rule for DiskWrite {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        // Calls on files that do not wait for the device wait for a lock of the file system, mostly that of a writer.
        let ns = facts.work.disk_write_ns.saturating_add(facts.work.file_wait_ns);
        check(facts, VerdictId::DiskWriteBound, Kind::Write, ns)
    }
}

fn check(facts: &Facts<'_>, id: VerdictId, kind: Kind, ns: u64) -> Outcome {
    let share = facts.share(ns);
    // Reads and writes may be much only together.
    let work = &facts.work;
    let of_both = [work.disk_read_ns, work.page_fault_io_ns, work.disk_write_ns, work.file_wait_ns];
    let together = facts.share(of_both.into_iter().fold(0, u64::saturating_add));
    if share < SHARE / 2.0 || together < SHARE || facts.busyness() < 0.3 {
        return Outcome::Clear;
    }
    let mut evidence = vec![];
    let mut next_steps = vec![];
    if let Some((sentence, step)) = where_in_their_way(facts, kind) {
        evidence.push(sentence);
        next_steps.extend(step);
    }
    let what = longest_operation(facts, kind);
    let verb = if what == "other" { "write" } else { what };
    if what == "discard" {
        next_steps.insert(0, claim!("mount without `discard`, and run `fstrim` at quiet times"));
    }
    evidence.extend(operation_at_device(facts, what));
    let states = file_states(kind);
    let files =
        facts.disks.files.iter().filter(|file| states.contains(&file.state) && !file.path.is_empty()).take(2);
    evidence.extend(files.map(|file| claim!("waits for {}", file.path)));
    for (path, ns) in before_any_request(facts) {
        evidence.push(claim!("{}: {} of the working time", path.words(), percent(facts.share(ns))));
        if path == Path::IoThrottle {
            next_steps
                .insert(0, claim!("an I/O limit throttles it: `io.max`, `io.cost` or writeback throttling"));
        }
    }
    let mut counter_evidence = vec![];
    if let Some((name, part)) = neighbour(facts) {
        counter_evidence.push(claim!(
            "{} moves {} of the bytes, which may slow the device",
            name,
            percent(part)
        ));
        next_steps.insert(0, claim!("move {} to another disk, or limit it", name));
    }
    if next_steps.is_empty() {
        next_steps.push(claim!("try a larger page cache, read-ahead, or more requests at once; the files and stacks below show where"));
    }
    let pressure =
        facts.pressure(|pressure| pressure.io_some_ns).filter(|_| !is_unseen_by_pressure(facts, kind));
    let agreement = [
        Agreement::by(facts.ended_by_disk(kind), 0.5, 0.1),
        pressure.and_then(|share| Agreement::by(Some(share), 0.05, 0.002)),
    ];
    Outcome::Found(Finding {
        id,
        share,
        sentence: sentence(kind, verb, share, together - share),
        evidence,
        counter_evidence,
        next_steps,
        max_gain: gain(together),
        agreement: agreement.into_iter().flatten().collect(),
        is_plain: true,
        ..Finding::default()
    })
}

fn sentence(kind: Kind, verb: &str, share: f64, of_the_other: f64) -> Claim {
    let other = if kind == Kind::Read { "write" } else { "read" };
    let of_the_other =
        (of_the_other >= FELT).then(|| claim!(" and {} for {}s", percent(of_the_other), other));
    claim!(
        "threads wait {} of their working time for disk {}s{}",
        percent(share),
        verb,
        of_the_other.unwrap_or_default()
    )
}

/// Whether most of the waits are of a kind that the kernel does not count as pressure.
fn is_unseen_by_pressure(facts: &Facts<'_>, kind: Kind) -> bool {
    let waits = facts.recording.block_io.waits.iter().filter(|wait| facts.disk_kinds.is_for(wait, kind));
    let (mut all, mut unseen) = (0_u64, 0_u64);
    for wait in waits {
        all = all.saturating_add(wait.blocked_ns);
        if is_asynchronous(wait) {
            unseen = unseen.saturating_add(wait.blocked_ns);
        }
    }
    unseen > all / 2
}

/// Whether requests took their time in the device or before it, and what to do about that.
fn where_in_their_way(facts: &Facts<'_>, kind: Kind) -> Option<(Claim, Option<Claim>)> {
    let (blocked, queue, device) = requests(facts, kind);
    if blocked == 0 {
        return None;
    }
    // A request is under way a little longer than its thread is blocked.
    let part = |ns: u64| (ns as f64 / blocked as f64).min(1.0);
    let (in_queue, in_device) = (part(queue), part(device));
    let step = if in_device >= SLOW_DEVICE {
        Some(claim!("the device is slow: use a faster one, or fewer and larger requests"))
    } else {
        (in_queue >= QUEUED)
            .then(|| claim!("requests queue up: send fewer at once, or use a device with a deeper queue"))
    };
    let sentence =
        claim!("request time: {} in the device, {} in its queue", percent(in_device), percent(in_queue));
    Some((sentence, step))
}

/// In which calls on a descriptor such waits are.
fn file_states(kind: Kind) -> &'static [u32] {
    match kind {
        Kind::Read => &[state::DISK_READ],
        Kind::Write => &[state::DISK_WRITE, state::FILE_WAIT],
        Kind::Sync => &[state::FSYNC],
    }
}

/// The operation for which threads waited longest, by the requests that ended the waits.
fn longest_operation(facts: &Facts<'_>, kind: Kind) -> &'static str {
    let mut sums = [0_u64; operation::NAMES.len()];
    for wait in &facts.recording.block_io.waits {
        let is_of_kind = kind_of_wait(wait) == Some(kind) && facts.disk_kinds.is_for(wait, kind);
        if let Some(sum) = sums.get_mut(wait.operation as usize).filter(|_| is_of_kind) {
            *sum = sum.saturating_add(wait.blocked_ns);
        }
    }
    let longest = sums.iter().zip(operation::NAMES).max_by_key(|(sum, _)| **sum).filter(|(sum, _)| **sum > 0);
    longest.map_or(if kind == Kind::Read { "read" } else { "write" }, |(_, name)| name)
}

/// The operation that the waits were for, at the device where it took the most time.
fn operation_at_device(facts: &Facts<'_>, name: &str) -> Option<Claim> {
    let is_wanted = |row: &&crate::analyze::DiskRow| {
        operation::NAMES.get(row.operation as usize) == Some(&name) && row.of_target > 0
    };
    let row = facts.disks.rows.iter().find(is_wanted)?;
    let device = facts.recording.block_io.devices.get(row.device).map_or("", |device| device.name.as_str());
    let plural = if name.ends_with("sh") { "es" } else { "s" };
    let size =
        if row.bytes == 0 { Claim::default() } else { claim!(" of {}", bytes(row.bytes / row.count.max(1))) };
    Some(claim!(
        "{}: {} {}{}{}, {} at the median and {} at p99",
        device,
        row.count,
        name,
        plural,
        size,
        duration(row.total.p50),
        duration(row.total.p99)
    ))
}

/// Waits that were felt for what comes before a request: a free one, a limit, a frozen queue.
fn before_any_request(facts: &Facts<'_>) -> impl Iterator<Item = (Path, u64)> {
    let is_before = |path: &Path| matches!(path, Path::RequestTag | Path::IoThrottle | Path::QueueFreeze);
    let paths = facts.waiting_paths.iter().map(|(&path, &ns)| (path, ns));
    paths.filter(move |(path, ns)| is_before(path) && facts.share(*ns) >= FELT)
}

/// Of the waits that requests have ended: all, in the queue, in the device.
fn requests(facts: &Facts<'_>, kind: Kind) -> (u64, u64, u64) {
    let waits = facts.recording.block_io.waits.iter();
    let by_requests = waits.filter(|wait| {
        facts.disk_kinds.is_for(wait, kind)
            && matches!(wait.ended_by, ended_by::OWN_REQUEST | ended_by::OTHERS_REQUEST)
    });
    by_requests.fold((0, 0, 0), |(blocked, queue, device): (u64, u64, u64), wait| {
        (
            blocked.saturating_add(wait.blocked_ns),
            queue.saturating_add(wait.queue_ns),
            device.saturating_add(wait.device_ns),
        )
    })
}

/// Who else, not recorded, moves most of the bytes.
fn neighbour(facts: &Facts<'_>) -> Option<(Claim, f64)> {
    let all: u64 = facts.disks.processes.iter().fold(0, |sum, share| sum.saturating_add(share.bytes));
    let mut by_process: std::collections::HashMap<u64, (u64, &RequestShare)> =
        std::collections::HashMap::new();
    for share in facts.disks.processes.iter().filter(|share| !share.of_target) {
        let sum = by_process.entry(share.id).or_insert((0, share));
        sum.0 = sum.0.saturating_add(share.bytes);
    }
    let (bytes, share) = by_process.into_values().max_by_key(|(bytes, _)| *bytes)?;
    let part = bytes as f64 / all.max(1) as f64;
    (part >= NEIGHBOUR).then(|| (claim!("{} (pid {})", share.name, share.id), part))
}
