//! The report's part about block devices and files.

use profiler_common::block_io::{ended_by, operation, share};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{Ratio, Seconds, StateJson, seconds};
use crate::analyze::{DiskRow, Quantiles, Report, SubmitterRow};
use crate::recording::{Device, DiskCounters, DiskWait, FileWait, RequestShare};

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct BlockIoJson<'a> {
    /// False where requests were not followed: then only `devices` and `page_cache` are filled.
    followed: bool,
    /// Disks (not partitions) that were used.
    devices: Vec<DeviceJson<'a>>,
    /// Completed requests of the whole machine by device and operation.
    requests: Vec<RequestsJson<'a>>,
    /// The same by process, by the control group that the kernel charges, and by file that was written back.
    shares: Vec<ShareJson<'a>>,
    /// Waits of the recorded threads for disks and files by what ended them.
    waits: Vec<WaitJson<'a>>,
    /// Waits of the recorded threads in calls on a descriptor.
    files: Vec<FileJson<'a>>,
    /// Where the recorded threads submit.
    submitters: Vec<SubmitterJson<'a>>,
    /// Null where it could not be read at both ends for any process.
    page_cache: Option<PageCacheJson>,
    /// Sentences: where the kernel counted more than 1 % (and 64) more or fewer requests.
    disagreements: &'a [String],
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct DeviceJson<'a> {
    name: &'a str,
    major: u32,
    minor: u32,
    /// It passes its requests on to other disks, so its times contain theirs.
    stacked: bool,
    /// Null for a disk that did not exist at both ends.
    counters: Option<CountersJson>,
    /// Mean number of requests under way in each interval.
    depth: &'a [f32],
    depth_interval_seconds: Seconds,
}

/// What the kernel itself counted.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct CountersJson {
    elapsed_seconds: Seconds,
    reads: u64,
    reads_merged: u64,
    read_bytes: u64,
    writes: u64,
    writes_merged: u64,
    written_bytes: u64,
    discards: u64,
    discarded_bytes: u64,
    flushes: u64,
    busy_seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct RequestsJson<'a> {
    device: &'a str,
    operation: OperationJson,
    count: u64,
    /// Submitted by recorded threads.
    of_target: u64,
    bytes: u64,
    errors: u64,
    /// Of the requests, those that begin where the one before ended; null without requests.
    #[cfg_attr(test, schemars(range(min = 0)))]
    sequential_ratio: Option<f64>,
    /// From the arrival to the device, summed.
    queue_seconds: Seconds,
    /// In the device, summed.
    device_seconds: Seconds,
    /// From the arrival to the completion, summed.
    total_seconds: Seconds,
    queue: QuantilesJson,
    in_device: QuantilesJson,
    total: QuantilesJson,
}

/// To within 3 % of the exact ones.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct QuantilesJson {
    p50_seconds: Seconds,
    p90_seconds: Seconds,
    p99_seconds: Seconds,
    p999_seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ShareJson<'a> {
    kind: ShareKindJson,
    /// Of the process, the control group, or the file.
    id: u64,
    name: &'a str,
    of_target: bool,
    device: &'a str,
    operation: OperationJson,
    count: u64,
    bytes: u64,
    queue_seconds: Seconds,
    device_seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct WaitJson<'a> {
    state: StateJson,
    ended_by: EndedByJson,
    /// Null where no request ended it.
    device: Option<&'a str>,
    /// Null where no request ended it.
    operation: Option<OperationJson>,
    /// Who ended it, where that was another thread; else empty.
    by: &'a str,
    count: u64,
    seconds: Seconds,
    queue_seconds: Seconds,
    device_seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct FileJson<'a> {
    /// As the process sees it; empty if the file was closed before it could be read.
    path: &'a str,
    inode: u64,
    major: u32,
    minor: u32,
    state: StateJson,
    count: u64,
    seconds: Seconds,
}

/// Estimated from samples.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct SubmitterJson<'a> {
    device: &'a str,
    operation: OperationJson,
    /// Of the program, innermost first.
    functions: &'a [String],
    samples: u64,
    count: u64,
    bytes: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct PageCacheJson {
    /// Returned by reading calls.
    called_bytes: u64,
    /// Requested from disks for them or ahead of them.
    disk_bytes: u64,
    hit_ratio: Option<Ratio>,
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
                hit_ratio: cache.hit_ratio.map(Ratio),
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
            operation: OperationJson::of(row.operation),
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
            p50_seconds: Seconds::of_ns(quantiles.p50),
            p90_seconds: Seconds::of_ns(quantiles.p90),
            p99_seconds: Seconds::of_ns(quantiles.p99),
            p999_seconds: Seconds::of_ns(quantiles.p999),
        }
    }
}

impl<'a> ShareJson<'a> {
    fn of(share: &'a RequestShare, device: &'a str) -> Self {
        Self {
            kind: match share.kind {
                share::PROCESS => ShareKindJson::Process,
                share::CGROUP => ShareKindJson::Cgroup,
                share::WRITTEN_BACK_FILE => ShareKindJson::WrittenBackFile,
                _ => ShareKindJson::Unknown,
            },
            id: share.id,
            name: &share.name,
            of_target: share.of_target,
            device,
            operation: OperationJson::of(share.operation),
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
            state: StateJson::of(wait.state),
            ended_by: EndedByJson::of(wait.ended_by),
            device: device.filter(|_| is_request),
            operation: is_request.then(|| OperationJson::of(wait.operation)),
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
            operation: OperationJson::of(row.operation),
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
            state: StateJson::of(file.state),
            count: file.count,
            seconds: seconds(file.blocked_ns),
        }
    }
}

/// What a request does.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(extend("enum" = operation_names())))]
#[serde(transparent)]
struct OperationJson(&'static str);

const UNKNOWN_OPERATION: &str = "unknown";

impl OperationJson {
    fn of(code: u32) -> Self {
        Self(operation::NAMES.get(code as usize).copied().unwrap_or(UNKNOWN_OPERATION))
    }
}

#[cfg(test)]
fn operation_names() -> Vec<&'static str> {
    operation::NAMES.into_iter().chain([UNKNOWN_OPERATION]).collect()
}

/// Whose requests are added up.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum ShareKindJson {
    Process,
    Cgroup,
    WrittenBackFile,
    Unknown,
}

/// What ended a wait for a disk or a file.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum EndedByJson {
    OwnRequest,
    OthersRequest,
    KernelThread,
    Thread,
    Interrupt,
    Unknown,
}

impl EndedByJson {
    fn of(code: u32) -> Self {
        match code {
            ended_by::OWN_REQUEST => Self::OwnRequest,
            ended_by::OTHERS_REQUEST => Self::OthersRequest,
            ended_by::KERNEL_THREAD => Self::KernelThread,
            ended_by::THREAD => Self::Thread,
            ended_by::INTERRUPT => Self::Interrupt,
            _ => Self::Unknown,
        }
    }
}
