//! The table of completed requests, a row for each operation at each disk.

use profiler_common::block_io::operation;

use super::{left, right};
use crate::analyze::DiskRow;
use crate::recording::BlockIo;
use crate::report::escape::visible;
use crate::report::numbers::{bytes, count, duration, percent};

/// What the fifth column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// The share that recorded threads submitted.
    Target,
    /// The share that began where the request before had ended.
    Sequential,
}

/// Without `seconds` the third column has their number, else how many a second. Sizes and p99.9 are for a wide page.
pub(super) fn header(column: Column, seconds: Option<f64>, is_wide: bool) -> String {
    let share = match column {
        Column::Target => "target",
        Column::Sequential => "seq.",
    };
    let (size, last) = if is_wide { (right(" size", 9), "  p99.9") } else { (String::new(), "") };
    format!(
        "  {} {} {}{size} {}  {}  {}{last}",
        left("device", 10),
        left("operation", 13),
        right(if seconds.is_some() { "/s" } else { "requests" }, 8),
        right(share, 7),
        left("queue p50/p99", 16),
        left("device p50/p99", 16),
    )
}

pub(super) fn row(
    (block_io, row): (&BlockIo, &DiskRow),
    column: Column,
    seconds: Option<f64>,
    is_wide: bool,
) -> String {
    let number = seconds.map_or_else(|| count(row.count), |seconds| rate(row.count, seconds));
    let pair = |low: f64, high: f64| format!("{} / {}", duration(low), duration(high));
    let issued = row.device_ns > 0;
    let in_device = if issued { row.in_device } else { row.total };
    let share = match column {
        Column::Target => Some(row.of_target as f64 / row.count.max(1) as f64),
        // What has no place on the disk follows nothing.
        Column::Sequential => row.sequential.filter(|_| row.bytes > 0),
    };
    let size = if row.bytes > 0 { bytes(row.bytes / row.count.max(1)) } else { "-".to_owned() };
    let (size, last) = if is_wide {
        (format!(" {}", right(&size, 8)), format!("  {}", duration(in_device.p999)))
    } else {
        (String::new(), String::new())
    };
    format!(
        "  {} {} {}{size} {}  {}  {}{last}",
        left(&visible(device_name(block_io, row.device as u32), 10), 10),
        left(operation_words(row.operation), 13),
        right(&number, 8),
        right(&share.map_or("-".to_owned(), percent), 7),
        left(&if issued { pair(row.queue.p50, row.queue.p99) } else { "-".to_owned() }, 16),
        left(&pair(in_device.p50, in_device.p99), 16),
    )
}

/// So many a second.
pub(super) fn rate(number: u64, seconds: f64) -> String {
    let rate = number as f64 / seconds.max(1e-9);
    if rate < 10.0 { format!("{rate:.1}") } else { count(rate as u64) }
}

pub(super) fn device_name(block_io: &BlockIo, row: u32) -> &str {
    let name = block_io.devices.get(row as usize).map_or("", |device| device.name.as_str());
    if name.is_empty() { "(removed device)" } else { name }
}

pub(super) fn operation_words(code: u32) -> &'static str {
    operation::NAMES.get(code as usize).copied().unwrap_or("unknown")
}
