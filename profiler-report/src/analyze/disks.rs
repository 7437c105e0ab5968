//! Requests to block devices: latencies, shares, and whether they are as many as the kernel counted itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::block_io::{operation, share};
use profiler_common::histogram::bounds;

use crate::analyze::ratio;
use crate::analyze::stacks::label::frame_labels;
use crate::recording::{BlockIo, Device, DiskCounters, DiskWait, FileWait, RequestShare, Requests, Span};

/// The kernel's counters and ours are read a moment apart, and requests that were under way at the start are the kernel's alone:
/// so many more or fewer, beside one in a hundred, are no disagreement.
const UNDER_WAY: u64 = 64;
const DISAGREEMENT: f64 = 0.01;

/// What block devices did, and what was waited for at them.
#[derive(Debug, Default)]
pub struct Disks<'a> {
    /// By device and operation, those that took the most time first.
    pub rows: Vec<DiskRow>,
    /// The longest first.
    pub waits: Vec<&'a DiskWait>,
    pub files: Vec<&'a FileWait>,
    /// Processes, cgroups and files, each with the most time in devices first.
    pub processes: Vec<&'a RequestShare>,
    pub cgroups: Vec<&'a RequestShare>,
    pub written_back: Vec<&'a RequestShare>,
    /// Where the recorded threads submit, by bytes and then by number.
    pub submitters: Vec<SubmitterRow>,
    /// Where the kernel's own counters say something else, as sentences.
    pub disagreements: Vec<String>,
    pub page_cache: Option<PageCache>,
}

/// Requests of one operation to one device from one place in a program. Estimated from samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmitterRow {
    /// Row of [`BlockIo::devices`].
    pub device: u32,
    pub operation: u32,
    /// Functions of the program, the innermost first.
    pub functions: Vec<String>,
    pub samples: u64,
    pub count: u64,
    pub bytes: u64,
}

/// Functions of a stack that submits.
const FUNCTIONS: usize = 8;

/// Completed requests of one operation at one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskRow {
    /// Row of [`BlockIo::devices`].
    pub device: usize,
    pub operation: u32,
    pub count: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Submitted by recorded threads.
    pub of_target: u64,
    /// Share of those that began where the one before had ended.
    pub sequential: Option<f64>,
    pub queue_ns: u64,
    pub device_ns: u64,
    pub total_ns: u64,
    /// From the arrival to the device, in it, and from the arrival to the completion.
    pub queue: Quantiles,
    pub in_device: Quantiles,
    pub total: Quantiles,
}

/// Of durations in nanoseconds; zero where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
}

/// Reads by the recorded processes and how many of their bytes had to come from disks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageCache {
    /// Bytes that system calls returned.
    pub called_bytes: u64,
    /// Bytes that were asked of disks.
    pub disk_bytes: u64,
    /// Share of the former without the latter; none where nothing was read.
    pub hit_ratio: Option<f64>,
    pub major_faults: u64,
}

impl<'a> Disks<'a> {
    pub(in crate::analyze) fn of(recording: &'a Span) -> Self {
        let of_devices = Self::of_devices(&recording.block_io);
        // The kernel's counts are of the same time only if nothing rested to keep to the budget.
        let is_whole = recording.optional_ns() == recording.elapsed_ns();
        Self {
            page_cache: PageCache::of(recording),
            submitters: submitters(recording),
            disagreements: if is_whole { of_devices.disagreements } else { vec![] },
            ..of_devices
        }
    }

    /// Without the page cache and without stacks.
    pub fn of_devices(block_io: &'a BlockIo) -> Self {
        let longest = |wait: &&DiskWait| Reverse(wait.blocked_ns);
        let mut waits: Vec<_> = block_io.waits.iter().collect();
        waits.sort_by_key(longest);
        let mut files: Vec<_> = block_io.files.iter().collect();
        files.sort_by_key(|file| Reverse(file.blocked_ns));
        let of_kind = |kind: u32| {
            let mut shares: Vec<_> = block_io.shares.iter().filter(|share| share.kind == kind).collect();
            shares.sort_by_key(|share| Reverse((share.device_ns, share.bytes)));
            shares
        };
        Self {
            rows: rows(&block_io.requests),
            waits,
            files,
            processes: of_kind(share::PROCESS),
            cgroups: of_kind(share::CGROUP),
            written_back: of_kind(share::WRITTEN_BACK_FILE),
            submitters: vec![],
            disagreements: disagreements(block_io),
            page_cache: None,
        }
    }
}

/// Stacks that differ in what the kernel does or in the process only are one.
fn submitters(recording: &Span) -> Vec<SubmitterRow> {
    let mut rows: BTreeMap<(u32, u32, Vec<String>), SubmitterRow> = BTreeMap::new();
    for part in &recording.block_io.submitters {
        let frames = &recording.stacks[part.stack as usize].user;
        let labels = frames.iter().flat_map(|&frame| frame_labels(recording, frame));
        let functions: Vec<String> = labels.map(|label| label.text.into_owned()).take(FUNCTIONS).collect();
        let (device, operation) = (part.device, part.operation);
        let row = rows.entry((device, operation, functions.clone())).or_insert_with(|| SubmitterRow {
            device,
            operation,
            functions,
            ..SubmitterRow::default()
        });
        row.samples = row.samples.saturating_add(part.samples);
        row.count = row.count.saturating_add(part.count);
        row.bytes = row.bytes.saturating_add(part.bytes);
    }
    let mut rows: Vec<SubmitterRow> = rows.into_values().collect();
    rows.sort_by_key(|row| Reverse((row.bytes, row.count)));
    rows
}

fn rows(requests: &[Requests]) -> Vec<DiskRow> {
    let mut by_kind: BTreeMap<(u32, u32), Vec<&Requests>> = BTreeMap::new();
    for row in requests {
        by_kind.entry((row.device, row.operation)).or_default().push(row);
    }
    let mut rows: Vec<DiskRow> = by_kind.into_values().filter_map(|parts| row(&parts)).collect();
    rows.sort_by_key(|row| Reverse((row.total_ns, row.count)));
    rows
}

/// All requests of one kind; none if there is not one.
fn row(parts: &[&Requests]) -> Option<DiskRow> {
    let sum =
        |field: fn(&Requests) -> u64| parts.iter().fold(0_u64, |sum, part| sum.saturating_add(field(part)));
    let histogram = |field: fn(&Requests) -> &Vec<(u32, u32)>| {
        Quantiles::of(
            parts.iter().flat_map(|part| field(part)).map(|&(bucket, count)| (bucket, u64::from(count))),
        )
    };
    let of_target =
        parts.iter().filter(|part| part.of_target).fold(0_u64, |sum, part| sum.saturating_add(part.count));
    let count = sum(|part| part.count);
    (count > 0).then(|| DiskRow {
        device: parts[0].device as usize,
        operation: parts[0].operation,
        count,
        bytes: sum(|part| part.bytes),
        errors: sum(|part| part.errors),
        of_target,
        sequential: ratio(sum(|part| part.sequential), count),
        queue_ns: sum(|part| part.queue_ns),
        device_ns: sum(|part| part.device_ns),
        total_ns: sum(|part| part.total_ns),
        queue: histogram(|part| &part.queue),
        in_device: histogram(|part| &part.in_device),
        total: histogram(|part| &part.total),
    })
}

impl Quantiles {
    /// Of histograms that are laid over each other.
    pub fn of(filled: impl Iterator<Item = (u32, u64)>) -> Self {
        let mut buckets: BTreeMap<u32, u64> = BTreeMap::new();
        for (bucket, count) in filled {
            crate::analyze::add(buckets.entry(bucket).or_default(), count);
        }
        let all = buckets.values().fold(0_u64, |sum, &count| sum.saturating_add(count));
        let at = |share: f64| quantile(&buckets, share * all as f64);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) }
    }
}

/// The duration below which `rank` of them lie; within a bucket they are taken to be spread evenly.
fn quantile(buckets: &BTreeMap<u32, u64>, rank: f64) -> f64 {
    let mut before = 0.0;
    for (&bucket, &count) in buckets {
        let count = count as f64;
        if before + count >= rank && count > 0.0 {
            let (start, end) = bounds(bucket.min(profiler_common::histogram::BUCKETS as u32 - 1));
            return start as f64 + (end - start) as f64 * ((rank - before) / count).clamp(0.0, 1.0);
        }
        before += count;
    }
    0.0
}

/// What the kernel counts, and what of ours it is the same as (block/blk-mq.c, `blk_account_io_done`; flushes in block/blk-flush.c).
type Compared = (&'static str, fn(&DiskCounters) -> u64, &'static [u32]);
const COMPARED: &[Compared] = &[
    ("reads", |kernel| kernel.reads, &[operation::READ]),
    (
        "writes",
        |kernel| kernel.writes,
        &[operation::WRITE, operation::WRITE_THROUGH, operation::FLUSH, operation::OTHER],
    ),
    ("discards", |kernel| kernel.discards, &[operation::DISCARD]),
];

fn disagreements(block_io: &BlockIo) -> Vec<String> {
    if !block_io.followed {
        return vec![];
    }
    let devices = block_io.devices.iter().enumerate();
    devices
        .flat_map(|(row, device)| {
            COMPARED.iter().filter_map(move |compared| differs(block_io, row, device, compared))
        })
        .collect()
}

fn differs(
    block_io: &BlockIo,
    row: usize,
    device: &Device,
    (what, kernel, operations): &Compared,
) -> Option<String> {
    let kernel = kernel(device.counters.as_ref()?);
    let ours = block_io
        .requests
        .iter()
        .filter(|part| part.device as usize == row && operations.contains(&part.operation));
    let ours = ours.fold(0_u64, |sum, part| sum.saturating_add(part.count));
    let difference = ours.abs_diff(kernel);
    let limit = UNDER_WAY as f64 + DISAGREEMENT * kernel as f64;
    (difference as f64 > limit).then(|| {
        format!("{what} on {}: {ours} requests followed, but the kernel counted {kernel}", device.name)
    })
}

impl PageCache {
    fn of(recording: &Span) -> Option<Self> {
        let mut counted = recording.processes.iter().filter_map(|process| process.io).peekable();
        counted.peek()?;
        let mut sum = Self { called_bytes: 0, disk_bytes: 0, hit_ratio: None, major_faults: 0 };
        for io in counted {
            sum.called_bytes = sum.called_bytes.saturating_add(io.called_read_bytes);
            sum.disk_bytes = sum.disk_bytes.saturating_add(io.disk_read_bytes);
            sum.major_faults = sum.major_faults.saturating_add(io.major_faults);
        }
        let hits = sum.called_bytes.saturating_sub(sum.disk_bytes);
        Some(Self { hit_ratio: ratio(hits, sum.called_bytes), ..sum })
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::histogram::bucket;

    use super::*;
    use crate::testing::example;

    #[test]
    fn quantiles_of_known_durations_are_within_a_bucket() {
        // 1 to 1,000 ms, one of each.
        let filled = (1..=1000_u64).map(|ms| (bucket(ms * 1_000_000), 1));
        let found = Quantiles::of(filled);
        for (quantile, expected) in
            [(found.p50, 500e6), (found.p90, 900e6), (found.p99, 990e6), (found.p999, 999e6)]
        {
            assert!((quantile - expected).abs() / expected < 0.03, "{quantile} of {expected}");
        }
    }

    #[test]
    fn no_durations_have_no_quantiles() {
        assert_eq!(Quantiles::of(std::iter::empty()), Quantiles::default());
    }

    #[test]
    fn requests_of_the_target_and_of_others_are_one_row() {
        let recording = example();
        let disks = Disks::of(&recording);
        let writes = disks.rows.iter().find(|row| row.operation == operation::WRITE).expect("writes");
        assert_eq!((writes.count, writes.of_target, writes.bytes), (150, 100, 1_228_800));
        assert_eq!(writes.sequential, Some(0.1));
    }

    #[test]
    fn the_kernels_own_count_is_compared() {
        let mut recording = example();
        assert_eq!(Disks::of(&recording).disagreements, Vec::<String>::new());
        recording.block_io.requests[0].count += 200;
        let expected = "writes on sda: 650 requests followed, but the kernel counted 450";
        assert_eq!(Disks::of(&recording).disagreements, [expected]);
    }

    #[test]
    fn what_was_not_followed_is_not_compared() {
        let mut recording = example();
        recording.block_io = BlockIo { devices: recording.block_io.devices, ..BlockIo::default() };
        assert_eq!(Disks::of(&recording).disagreements, Vec::<String>::new());
    }

    #[test]
    fn the_page_cache_has_what_did_not_come_from_disks() {
        let page_cache = Disks::of(&example()).page_cache.expect("counted");
        assert_eq!((page_cache.called_bytes, page_cache.disk_bytes), (100 << 20, 25 << 20));
        assert_eq!(page_cache.hit_ratio, Some(0.75));
    }
}
