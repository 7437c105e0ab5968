//! What was waited for at disks and files, and what the disks did.

use profiler_common::block_io::ended_by;

use super::request_rows::{Column, device_name, header, operation_words, row};
use super::{Page, left, right};
use crate::analyze::{Disks, PageCache, Report};
use crate::recording::{DiskWait, FileWait, RequestShare};
use crate::report::escape::visible;
use crate::report::numbers::{bytes, count, duration, percent, plural, small_percent};
use crate::report::state_name;

/// Rows of each list.
const WAITS: usize = 6;
const FILES: usize = 6;
const ROWS: usize = 8;
const OTHERS: usize = 4;
const SUBMITTERS: usize = 3;
/// Of the target's requests.
const LEAST_SUBMITTED: f64 = 0.05;
/// A wait below this share of the thread time is of no interest.
const SMALL: f64 = 0.001;
/// Requests of disks with fewer than this many, and no recorded thread among them, are not shown.
const FEW: u64 = 10;

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    let disks = &report.disks;
    waits(report, disks, page);
    files(report, disks, page);
    requests(report, disks, page);
    if let Some(page_cache) = disks.page_cache.filter(|cache| cache.called_bytes > 0) {
        page.note(&page_cache_sentence(page_cache));
    }
}

fn waits(report: &Report<'_>, disks: &Disks<'_>, page: &mut Page) {
    let least = report.ledger.account.elapsed_ns as f64 * SMALL;
    let told: Vec<_> = disks.waits.iter().filter(|wait| wait.blocked_ns as f64 >= least).collect();
    if told.is_empty() {
        return;
    }
    page.heading("Disk and file waits, by what ended them");
    for wait in told.iter().take(WAITS) {
        let (time, state) = (right(&page.time(wait.blocked_ns), 10), left(&state_name(wait.state), 14));
        page.row_with(&format!("  {time}  {state} "), &wait_cause(report, wait));
    }
    more(told.len(), WAITS, page);
}

fn wait_cause(report: &Report<'_>, wait: &DiskWait) -> String {
    let by = visible(&wait.by, 20);
    let each = |ns: u64| duration(ns as f64 / wait.count.max(1) as f64);
    let request = |whose: &str| {
        let device = wait.device.map_or("a device", |row| device_name(&report.recording.block_io, row));
        format!(
            "{whose} {} on {}: {}; queue {}, device {} each",
            operation_words(wait.operation),
            visible(device, 20),
            plural(wait.count, "wait"),
            each(wait.queue_ns),
            each(wait.device_ns),
        )
    };
    let waits = format!("{}, {} each", plural(wait.count, "wait"), each(wait.blocked_ns));
    match wait.ended_by {
        ended_by::OWN_REQUEST => request("own"),
        ended_by::OTHERS_REQUEST => request(&format!("{by}'s")),
        ended_by::KERNEL_THREAD => format!("the kernel's {by}: {waits}"),
        ended_by::THREAD => format!("thread {by}: {waits}"),
        _ => format!("an interrupt: {waits}"),
    }
}

fn files(report: &Report<'_>, disks: &Disks<'_>, page: &mut Page) {
    let least = report.ledger.account.elapsed_ns as f64 * SMALL;
    let told: Vec<_> = disks.files.iter().filter(|file| file.blocked_ns as f64 >= least).collect();
    if told.is_empty() {
        return;
    }
    page.heading("Files waited for");
    for file in told.iter().take(FILES) {
        page.line(&format!(
            "  {}  {} {}",
            right(&page.time(file.blocked_ns), 10),
            left(&state_name(file.state), 14),
            file_name(file)
        ));
    }
    more(told.len(), FILES, page);
}

fn file_name(file: &FileWait) -> String {
    if file.path.is_empty() {
        format!(
            "inode {} on device {}:{} (closed before its path could be read)",
            file.inode, file.major, file.minor
        )
    } else {
        visible(&file.path, 60)
    }
}

fn requests(report: &Report<'_>, disks: &Disks<'_>, page: &mut Page) {
    let told: Vec<_> = disks.rows.iter().filter(|row| row.of_target > 0 || row.count >= FEW).collect();
    if told.is_empty() {
        return;
    }
    let seconds = Some(report.recording.optional_ns() as f64 / 1e9);
    let block_io = &report.recording.block_io;
    page.heading("Disk requests of the whole machine");
    page.line(&header(Column::Target, seconds, page.missing() == 0));
    for each in told.iter().take(ROWS) {
        page.line(&row((block_io, each), Column::Target, seconds, page.missing() == 0));
    }
    more(told.len(), ROWS, page);
    for row in told.iter().filter(|row| row.errors > 0) {
        let (device, operation) = (device_name(block_io, row.device as u32), operation_words(row.operation));
        page.note(&format!(
            "{} of {} on {} failed.",
            plural(row.errors, "request"),
            operation,
            visible(device, 20)
        ));
    }
    submitters(report, disks, page);
    others(report, disks, page);
    for device in block_io.devices.iter().filter(|device| device.stacked) {
        page.note(&format!(
            "{} passes its requests to other disks: its times include theirs.",
            visible(&device.name, 20)
        ));
    }
    for sentence in &disks.disagreements {
        page.note(&format!("Cross-check: {}.", visible(sentence, 120)));
    }
}

/// Where in the programs the recorded threads submit. Estimated from samples.
fn submitters(report: &Report<'_>, disks: &Disks<'_>, page: &mut Page) {
    let all = disks.submitters.iter().fold(0_u64, |sum, row| sum.saturating_add(row.count));
    for row in disks.submitters.iter().take(SUBMITTERS) {
        let part = row.count as f64 / all.max(1) as f64;
        if row.functions.is_empty() || part < LEAST_SUBMITTED {
            continue;
        }
        page.line(&format!(
            "  {} of the target's requests: {} on {}, submitted in {}",
            right(&percent(part), 7),
            operation_words(row.operation),
            visible(device_name(&report.recording.block_io, row.device), 10),
            visible(&row.functions.join(" ← "), 60)
        ));
    }
}

/// Who else keeps the disks busy: processes that are not recorded, with at least a tenth of the time in devices.
fn others(report: &Report<'_>, disks: &Disks<'_>, page: &mut Page) {
    let all: u64 = disks.processes.iter().fold(0, |sum, share| sum.saturating_add(share.device_ns));
    let is_large =
        |share: &&&RequestShare| !share.of_target && share.device_ns as f64 >= 0.1 * all as f64 && all > 0;
    for share in disks.processes.iter().filter(is_large).take(OTHERS) {
        page.note(&format!(
            "Outside the target: {} (pid {}), {} of device time ({} of {} on {}).",
            visible(&share.name, 20),
            share.id,
            percent(share.device_ns as f64 / all as f64),
            // A flush has no bytes.
            if share.bytes > 0 { bytes(share.bytes) } else { plural(share.count, "request") },
            operation_words(share.operation),
            visible(device_name(&report.recording.block_io, share.device), 20),
        ));
    }
}

fn page_cache_sentence(page_cache: PageCache) -> String {
    let hits =
        page_cache.hit_ratio.map_or(String::new(), |hits| format!(" ({} from memory)", small_percent(hits)));
    let faults = if page_cache.major_faults > 0 {
        format!("; {} needed a disk", plural(page_cache.major_faults, "page fault"))
    } else {
        String::new()
    };
    format!(
        "Page cache: {} read by calls, {} of it from disks{hits}{faults}. Pipes and sockets count as memory.",
        bytes(page_cache.called_bytes),
        bytes(page_cache.disk_bytes)
    )
}

fn more(all: usize, shown: usize, page: &mut Page) {
    if all > shown {
        page.note(&format!("… {} more", count((all - shown) as u64)));
    }
}
