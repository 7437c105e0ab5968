//! The report's part about block devices and files.

use profiler_common::block_io::{ended_by, operation, share};
use serde::Serialize;

use super::seconds;
use crate::analyze::{DiskRow, Quantiles, Report, SubmitterRow};
use crate::recording::{Device, DiskCounters, DiskWait, FileWait, RequestShare};
use crate::report::state_name;

#[derive(Serialize)]
pub struct BlockIoJson<'a> {
    followed: bool,
    devices: Vec<DeviceJson<'a>>,
    requests: Vec<RequestsJson<'a>>,
    shares: Vec<ShareJson<'a>>,
    waits: Vec<WaitJson<'a>>,
    files: Vec<FileJson<'a>>,
    submitters: Vec<SubmitterJson<'a>>,
    page_cache: Option<PageCacheJson>,
    disagreements: &'a [String],
}

#[derive(Serialize)]
struct DeviceJson<'a> {
    name: &'a str,
    major: u32,
    minor: u32,
    stacked: bool,
    counters: Option<CountersJson>,
    depth: &'a [f32],
    depth_interval_seconds: f64,
}

/// What the kernel itself counted.
#[derive(Serialize)]
struct CountersJson {
    elapsed_seconds: f64,
    reads: u64,
    reads_merged: u64,
    read_bytes: u64,
    writes: u64,
    writes_merged: u64,
    written_bytes: u64,
    discards: u64,
    discarded_bytes: u64,
    flushes: u64,
    busy_seconds: f64,
}

#[derive(Serialize)]
struct RequestsJson<'a> {
    device: &'a str,
    operation: &'static str,
    count: u64,
    of_target: u64,
    bytes: u64,
    errors: u64,
    sequential_ratio: Option<f64>,
    queue_seconds: f64,
    device_seconds: f64,
    total_seconds: f64,
    queue: QuantilesJson,
    in_device: QuantilesJson,
    total: QuantilesJson,
}

#[derive(Serialize)]
struct QuantilesJson {
    p50_seconds: f64,
    p90_seconds: f64,
    p99_seconds: f64,
    p999_seconds: f64,
}

#[derive(Serialize)]
struct ShareJson<'a> {
    kind: &'static str,
    id: u64,
    name: &'a str,
    of_target: bool,
    device: &'a str,
    operation: &'static str,
    count: u64,
    bytes: u64,
    queue_seconds: f64,
    device_seconds: f64,
}

#[derive(Serialize)]
struct WaitJson<'a> {
    state: String,
    ended_by: &'static str,
    device: Option<&'a str>,
    operation: Option<&'static str>,
    by: &'a str,
    count: u64,
    seconds: f64,
    queue_seconds: f64,
    device_seconds: f64,
}

#[derive(Serialize)]
struct FileJson<'a> {
    path: &'a str,
    inode: u64,
    major: u32,
    minor: u32,
    state: String,
    count: u64,
    seconds: f64,
}

/// Estimated from samples.
#[derive(Serialize)]
struct SubmitterJson<'a> {
    device: &'a str,
    operation: &'static str,
    functions: &'a [String],
    samples: u64,
    count: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct PageCacheJson {
    called_bytes: u64,
    disk_bytes: u64,
    hit_ratio: Option<f64>,
    major_faults: u64,
}

impl<'a> BlockIoJson<'a> {
    pub fn of(report: &'a Report<'_>) -> Self {
        let (block_io, disks) = (&report.recording.block_io, &report.disks);
        let name = |row: u32| block_io.devices.get(row as usize).map_or("", |device| device.name.as_str());
        let shares = disks.processes.iter().chain(&disks.cgroups).chain(&disks.written_back);
        Self {
            followed: block_io.followed,
            devices: block_io.devices.iter().map(DeviceJson::of).collect(),
            requests: disks.rows.iter().map(|row| RequestsJson::of(row, name(row.device as u32))).collect(),
            shares: shares.map(|share| ShareJson::of(share, name(share.device))).collect(),
            waits: disks.waits.iter().map(|wait| WaitJson::of(wait, wait.device.map(name))).collect(),
            files: disks.files.iter().map(|file| FileJson::of(file)).collect(),
            submitters: disks.submitters.iter().map(|row| SubmitterJson::of(row, name(row.device))).collect(),
            page_cache: disks.page_cache.map(|cache| PageCacheJson {
                called_bytes: cache.called_bytes,
                disk_bytes: cache.disk_bytes,
                hit_ratio: cache.hit_ratio,
                major_faults: cache.major_faults,
            }),
            disagreements: &disks.disagreements,
        }
    }
}

impl<'a> DeviceJson<'a> {
    fn of(device: &'a Device) -> Self {
        Self {
            name: &device.name,
            major: device.major,
            minor: device.minor,
            stacked: device.stacked,
            counters: device.counters.as_ref().map(CountersJson::of),
            depth: &device.depth,
            depth_interval_seconds: seconds(device.depth_interval_ns),
        }
    }
}

impl CountersJson {
    fn of(counters: &DiskCounters) -> Self {
        Self {
            elapsed_seconds: seconds(counters.elapsed_ns),
            reads: counters.reads,
            reads_merged: counters.reads_merged,
            read_bytes: counters.read_bytes,
            writes: counters.writes,
            writes_merged: counters.writes_merged,
            written_bytes: counters.written_bytes,
            discards: counters.discards,
            discarded_bytes: counters.discarded_bytes,
            flushes: counters.flushes,
            busy_seconds: seconds(counters.busy_ns),
        }
    }
}

impl<'a> RequestsJson<'a> {
    fn of(row: &DiskRow, device: &'a str) -> Self {
        Self {
            device,
            operation: operation_name(row.operation),
            count: row.count,
            of_target: row.of_target,
            bytes: row.bytes,
            errors: row.errors,
            sequential_ratio: row.sequential,
            queue_seconds: seconds(row.queue_ns),
            device_seconds: seconds(row.device_ns),
            total_seconds: seconds(row.total_ns),
            queue: QuantilesJson::of(&row.queue),
            in_device: QuantilesJson::of(&row.in_device),
            total: QuantilesJson::of(&row.total),
        }
    }
}

impl QuantilesJson {
    fn of(quantiles: &Quantiles) -> Self {
        Self {
            p50_seconds: quantiles.p50 / 1e9,
            p90_seconds: quantiles.p90 / 1e9,
            p99_seconds: quantiles.p99 / 1e9,
            p999_seconds: quantiles.p999 / 1e9,
        }
    }
}

impl<'a> ShareJson<'a> {
    fn of(share: &'a RequestShare, device: &'a str) -> Self {
        Self {
            kind: match share.kind {
                share::PROCESS => "process",
                share::CGROUP => "cgroup",
                share::WRITTEN_BACK_FILE => "written_back_file",
                _ => "unknown",
            },
            id: share.id,
            name: &share.name,
            of_target: share.of_target,
            device,
            operation: operation_name(share.operation),
            count: share.count,
            bytes: share.bytes,
            queue_seconds: seconds(share.queue_ns),
            device_seconds: seconds(share.device_ns),
        }
    }
}

impl<'a> WaitJson<'a> {
    fn of(wait: &'a DiskWait, device: Option<&'a str>) -> Self {
        let is_request = matches!(wait.ended_by, ended_by::OWN_REQUEST | ended_by::OTHERS_REQUEST);
        Self {
            state: state_name(wait.state),
            ended_by: ended_by_name(wait.ended_by),
            device: device.filter(|_| is_request),
            operation: is_request.then(|| operation_name(wait.operation)),
            by: &wait.by,
            count: wait.count,
            seconds: seconds(wait.blocked_ns),
            queue_seconds: seconds(wait.queue_ns),
            device_seconds: seconds(wait.device_ns),
        }
    }
}

impl<'a> SubmitterJson<'a> {
    fn of(row: &'a SubmitterRow, device: &'a str) -> Self {
        Self {
            device,
            operation: operation_name(row.operation),
            functions: &row.functions,
            samples: row.samples,
            count: row.count,
            bytes: row.bytes,
        }
    }
}

impl<'a> FileJson<'a> {
    fn of(file: &'a FileWait) -> Self {
        Self {
            path: &file.path,
            inode: file.inode,
            major: file.major,
            minor: file.minor,
            state: state_name(file.state),
            count: file.count,
            seconds: seconds(file.blocked_ns),
        }
    }
}

fn operation_name(code: u32) -> &'static str {
    operation::NAMES.get(code as usize).copied().unwrap_or("unknown")
}

fn ended_by_name(code: u32) -> &'static str {
    match code {
        ended_by::OWN_REQUEST => "own_request",
        ended_by::OTHERS_REQUEST => "others_request",
        ended_by::KERNEL_THREAD => "kernel_thread",
        ended_by::THREAD => "thread",
        ended_by::INTERRUPT => "interrupt",
        _ => "unknown",
    }
}
