//! Disks: their names, what the kernel itself counts of them, and the tables of what the programs summed up.
//!
//! In: `/proc/diskstats` and `/sys/block` at both ends and once a second, [`RequestSums`] at the end. Out: [`BlockIo`].

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use profiler_common::block_io::{self as border, major_minor, share, share_key, submitter};

use super::{cgroup_paths::CgroupPaths, host::monotonic_ns};
use crate::{
    collect::{Submitted, text},
    kernel::RequestSums,
    process::read_text,
};
use profiler_report::recording::{
    BlockIo, Device, DiskCounters, DiskWait, FileWait, RequestShare, Requests, Submitter,
};

/// Bytes of a sector in all of the kernel's counters, whatever the disk's own sectors are.
const SECTOR: u64 = 512;
/// Intervals of the depth that are kept. When they are full, two become one: a recording of any length has as many.
const MOST_INTERVALS: usize = 512;
const FIRST_INTERVAL_NS: u64 = 1_000_000_000;
/// Disks that are looked at: a machine may have thousands, each with a line to read each second.
const MOST_DISKS: usize = 256;

/// One line of `/proc/diskstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    reads: u64,
    reads_merged: u64,
    sectors_read: u64,
    writes: u64,
    writes_merged: u64,
    sectors_written: u64,
    busy_ms: u64,
    /// Sum over all requests of the time that they have been under way.
    weighted_ms: u64,
    discards: u64,
    sectors_discarded: u64,
    flushes: u64,
}

/// What is known of one disk.
struct Disk {
    name: String,
    stacked: bool,
    /// At the start. A disk that came later began at zero.
    before: Line,
    /// Mean depth in each interval so far, and where the present one began.
    depth: Vec<f32>,
    interval_at_ns: u64,
    interval_weighted_ms: u64,
}

/// All disks of the machine.
pub struct Disks {
    by_device: HashMap<u32, Disk>,
    partitions: HashMap<u32, bool>,
    started_at_ns: u64,
    interval_ns: u64,
    next_ns: u64,
}

impl Disks {
    /// Reads the counters for the first time.
    pub fn now() -> Self {
        let now = monotonic_ns();
        let disk = |(device, name, line): (u32, String, Line)| {
            let stacked = is_stacked(device);
            let disk = Disk {
                name,
                stacked,
                before: line,
                depth: vec![],
                interval_at_ns: now,
                interval_weighted_ms: line.weighted_ms,
            };
            (device, disk)
        };
        let mut partitions = HashMap::new();
        Self {
            by_device: whole_disks(&mut partitions).into_iter().map(disk).collect(),
            partitions,
            started_at_ns: now,
            interval_ns: FIRST_INTERVAL_NS,
            next_ns: now + FIRST_INTERVAL_NS,
        }
    }

    /// Ends the present interval of the depth, if it is time.
    pub fn look(&mut self) {
        let now = monotonic_ns();
        if now < self.next_ns {
            return;
        }
        for (device, name, line) in whole_disks(&mut self.partitions) {
            let disk = self.by_device.entry(device).or_insert_with(|| Disk {
                name,
                stacked: is_stacked(device),
                before: Line::default(),
                depth: vec![],
                interval_at_ns: now,
                interval_weighted_ms: line.weighted_ms,
            });
            disk.end_interval(now, line.weighted_ms);
        }
        if self.by_device.values().any(|disk| disk.depth.len() >= MOST_INTERVALS) {
            self.interval_ns *= 2;
            self.by_device.values_mut().for_each(|disk| disk.depth = halved(&disk.depth));
        }
        self.next_ns = now + self.interval_ns;
    }

    /// The tables, with what the programs have summed up if they did. `path` knows files by inode and device of the file system.
    pub fn finish<'a>(
        &self,
        sums: Option<RequestSums>,
        submits: &[Submitted],
        path: impl Fn(u64, u32) -> Option<&'a str> + Copy,
    ) -> BlockIo {
        let mut rows = Rows::of(self, monotonic_ns().saturating_sub(self.started_at_ns));
        let mut block_io = BlockIo { followed: sums.is_some(), ..BlockIo::default() };
        if let Some(sums) = sums {
            let kinds: Vec<_> = sums
                .totals
                .iter()
                .filter_map(|totals| Some((border::TotalsKey::unpacked(totals.key)?, totals)))
                .collect();
            for (key, totals) in &kinds {
                rows.name(key.device, &totals.disk_name);
            }
            block_io.requests =
                kinds.iter().map(|(key, totals)| requests(rows.row(key.device), key, totals)).collect();
            block_io.shares = shares(&sums.shares, &mut rows, path);
            block_io.submitters = submits
                .iter()
                .map(|sum| Submitter {
                    stack: sum.stack,
                    device: rows.row(sum.device),
                    operation: sum.operation,
                    samples: sum.samples,
                    count: sum.count,
                    bytes: sum.bytes,
                })
                .collect();
            block_io.waits = sums
                .waits
                .iter()
                .map(|(key, waits)| DiskWait {
                    state: key.state,
                    ended_by: key.ended_by,
                    device: (key.device != 0).then(|| rows.row(key.device)),
                    operation: key.operation,
                    by: text(&key.comm),
                    count: waits.count,
                    blocked_ns: waits.blocked_ns,
                    queue_ns: waits.queue_ns,
                    device_ns: waits.device_ns,
                })
                .collect();
            block_io.files = sums
                .files
                .iter()
                .map(|(key, waits)| {
                    let (major, minor) = major_minor(key.file_system);
                    FileWait {
                        path: path(key.inode, key.file_system).unwrap_or_default().to_owned(),
                        inode: key.inode,
                        major,
                        minor,
                        state: key.state,
                        count: waits.count,
                        blocked_ns: waits.blocked_ns,
                    }
                })
                .collect();
        }
        block_io.devices = rows.devices;
        block_io
    }
}

impl Disk {
    fn end_interval(&mut self, now_ns: u64, weighted_ms: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.interval_at_ns);
        if elapsed_ns == 0 {
            return;
        }
        let weighted_ns = weighted_ms.saturating_sub(self.interval_weighted_ms) * 1_000_000;
        self.depth.push((weighted_ns as f64 / elapsed_ns as f64) as f32);
        (self.interval_at_ns, self.interval_weighted_ms) = (now_ns, weighted_ms);
    }
}

/// Two intervals as one.
fn halved(depth: &[f32]) -> Vec<f32> {
    depth.chunks(2).map(|pair| pair.iter().sum::<f32>() / pair.len() as f32).collect()
}

/// The table of devices while the others refer to it.
struct Rows {
    devices: Vec<Device>,
    by_device: HashMap<u32, u32>,
}

impl Rows {
    fn of(disks: &Disks, elapsed_ns: u64) -> Self {
        let after: HashMap<u32, Line> = whole_disks(&mut disks.partitions.clone())
            .into_iter()
            .map(|(device, _, line)| (device, line))
            .collect();
        let mut known: Vec<(&u32, &Disk)> = disks.by_device.iter().collect();
        known.sort_by_key(|(device, _)| **device);
        let mut rows = Self { devices: vec![], by_device: HashMap::new() };
        for (&device, disk) in known {
            let counters = after.get(&device).map(|line| line.since(&disk.before, elapsed_ns));
            let is_used = counters.is_none_or(|counters| {
                counters.reads + counters.writes + counters.discards + counters.flushes > 0
            });
            // What nobody used would only fill the table.
            if is_used {
                rows.by_device.insert(device, rows.devices.len() as u32);
                rows.devices.push(Device {
                    name: disk.name.clone(),
                    stacked: disk.stacked,
                    counters,
                    depth: disk.depth.clone(),
                    depth_interval_ns: disks.interval_ns,
                    ..unknown(device)
                });
            }
        }
        rows
    }

    /// Gives a device its name, if `/proc/diskstats` has none for it.
    fn name(&mut self, device: u32, name: &[u8]) {
        let row = self.row(device) as usize;
        if self.devices[row].name.is_empty() {
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            self.devices[row].name = String::from_utf8_lossy(&name[..end]).into_owned();
        }
    }

    fn row(&mut self, device: u32) -> u32 {
        *self.by_device.entry(device).or_insert_with(|| {
            self.devices.push(unknown(device));
            self.devices.len() as u32 - 1
        })
    }
}

/// A device of which nothing but the number is known.
fn unknown(device: u32) -> Device {
    let (major, minor) = major_minor(device);
    Device { major, minor, ..Device::default() }
}

fn requests(row: u32, key: &border::TotalsKey, totals: &border::RequestTotals) -> Requests {
    Requests {
        device: row,
        operation: key.operation,
        of_target: key.of_members & submitter::MEMBER != 0,
        count: totals.count,
        bytes: totals.bytes,
        errors: totals.errors,
        sequential: totals.sequential,
        issued: totals.count.saturating_sub(totals.unissued),
        queue_ns: totals.queue_ns,
        device_ns: totals.device_ns,
        total_ns: totals.queue_ns.saturating_add(totals.device_ns).saturating_add(totals.unissued_ns),
        queue: filled(&totals.queue),
        in_device: filled(&totals.device),
        total: filled(&totals.total),
    }
}

/// A row for each process, cgroup and file: the programs sum up by process and cgroup together.
fn shares<'a>(
    sums: &[(border::ShareKey, border::Share)],
    rows: &mut Rows,
    path: impl Fn(u64, u32) -> Option<&'a str>,
) -> Vec<RequestShare> {
    let is_charged = |key: &border::ShareKey| key.kind == share_key::OWNER && key.id != 0;
    let cgroups = CgroupPaths::of(sums.iter().filter(|(key, _)| is_charged(key)).map(|(key, _)| key.id));
    let mut shares: BTreeMap<(u32, u64, u32, u32), RequestShare> = BTreeMap::new();
    let mut add = |kind: u32, id: u64, key: &border::ShareKey, sum: &border::Share, name: String| {
        let device = rows.row(key.device);
        let row = shares.entry((kind, id, device, key.operation)).or_insert_with(|| RequestShare {
            kind,
            id,
            name,
            device,
            operation: key.operation,
            ..RequestShare::default()
        });
        row.of_target |= kind == share::PROCESS && sum.submitter & submitter::MEMBER != 0;
        row.count = row.count.saturating_add(sum.count);
        row.bytes = row.bytes.saturating_add(sum.bytes);
        row.queue_ns = row.queue_ns.saturating_add(sum.queue_ns);
        row.device_ns = row.device_ns.saturating_add(sum.device_ns);
    };
    for (key, sum) in sums {
        if key.kind == share_key::WRITTEN_BACK_FILE {
            let name = path(key.id, key.of).unwrap_or_default().to_owned();
            add(share::WRITTEN_BACK_FILE, key.id, key, sum, name);
            continue;
        }
        add(share::PROCESS, u64::from(key.of), key, sum, text(&sum.comm));
        if key.id != 0 {
            add(share::CGROUP, key.id, key, sum, cgroups.path(key.id).unwrap_or_default().to_owned());
        }
    }
    shares.into_values().collect()
}

fn filled(histogram: &[u32]) -> Vec<(u32, u32)> {
    histogram
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(index, count)| (index as u32, *count))
        .collect()
}

/// Device, name and counters of each whole disk. `partitions` remembers which devices are none.
fn whole_disks(partitions: &mut HashMap<u32, bool>) -> Vec<(u32, String, Line)> {
    let text = read_text("/proc/diskstats").unwrap_or_default();
    let parsed = text.lines().filter_map(parse);
    let is_whole = |(device, _, _): &(u32, String, Line)| {
        !*partitions.entry(*device).or_insert_with(|| is_partition(*device))
    };
    parsed.filter(is_whole).take(MOST_DISKS).collect()
}

fn is_partition(device: u32) -> bool {
    let (major, minor) = major_minor(device);
    fs::exists(format!("/sys/dev/block/{major}:{minor}/partition")).unwrap_or(false)
}

/// Whether a disk hands its requests on to others.
fn is_stacked(device: u32) -> bool {
    let (major, minor) = major_minor(device);
    let directory = format!("/sys/dev/block/{major}:{minor}");
    let below = fs::read_dir(format!("{directory}/slaves")).is_ok_and(|mut slaves| slaves.next().is_some());
    below || fs::exists(format!("{directory}/loop/backing_file")).unwrap_or(false)
}

/// ```text
///  254       0 vda 66889 21599 3702946 18102 17712 33344 6006192 36740 0 16852 59999 7206 59 1317296 2226 1644 2929
///  major minor name reads merged sectors ms writes merged sectors ms under-way busy-ms weighted-ms discards merged sectors ms flushes ms
/// ```
/// Discards and flushes came with 4.18 and 5.5.
fn parse(line: &str) -> Option<(u32, String, Line)> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let name = words.next()?.to_owned();
    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let number = |index: usize| numbers.get(index).copied().unwrap_or(0);
    let line = Line {
        reads: number(0),
        reads_merged: number(1),
        sectors_read: number(2),
        writes: number(4),
        writes_merged: number(5),
        sectors_written: number(6),
        busy_ms: number(9),
        weighted_ms: number(10),
        discards: number(11),
        sectors_discarded: number(13),
        flushes: number(15),
    };
    (numbers.len() >= 11).then_some((border::device(major, minor), name, line))
}

impl Line {
    fn since(&self, before: &Self, elapsed_ns: u64) -> DiskCounters {
        let gained = |field: fn(&Self) -> u64| field(self).saturating_sub(field(before));
        DiskCounters {
            elapsed_ns,
            reads: gained(|line| line.reads),
            reads_merged: gained(|line| line.reads_merged),
            read_bytes: SECTOR * gained(|line| line.sectors_read),
            writes: gained(|line| line.writes),
            writes_merged: gained(|line| line.writes_merged),
            written_bytes: SECTOR * gained(|line| line.sectors_written),
            discards: gained(|line| line.discards),
            discarded_bytes: SECTOR * gained(|line| line.sectors_discarded),
            flushes: gained(|line| line.flushes),
            busy_ns: 1_000_000 * gained(|line| line.busy_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VDA: &str = " 254       0 vda 66889 21599 3702946 18102 17712 33344 6006192 36740 0 16852 59999 7206 59 1317296 2226 1644 2929";

    #[test]
    fn a_line_is_read_field_by_field() {
        let (device, name, line) = parse(VDA).expect("a line");
        assert_eq!((device, name.as_str()), (254 << 20, "vda"));
        let expected = Line {
            reads: 66889,
            reads_merged: 21599,
            sectors_read: 3_702_946,
            writes: 17712,
            writes_merged: 33344,
            sectors_written: 6_006_192,
            busy_ms: 16852,
            weighted_ms: 59999,
            discards: 7206,
            sectors_discarded: 1_317_296,
            flushes: 1644,
        };
        assert_eq!(line, expected);
    }

    #[test]
    fn an_older_line_has_no_discards_and_a_cut_one_is_none() {
        let old = VDA.split_ascii_whitespace().take(14).collect::<Vec<_>>().join(" ");
        let (_, _, line) = parse(&old).expect("a line");
        assert_eq!((line.weighted_ms, line.discards, line.flushes), (59999, 0, 0));
        assert_eq!(parse("254 0 vda 1 2"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn counters_are_differences_in_bytes_and_nanoseconds() {
        let (_, _, before) = parse(VDA).expect("a line");
        let after = Line {
            reads: before.reads + 3,
            sectors_read: before.sectors_read + 24,
            busy_ms: before.busy_ms + 5,
            ..before
        };
        let counters = after.since(&before, 9);
        assert_eq!(
            (counters.reads, counters.read_bytes, counters.busy_ns, counters.elapsed_ns),
            (3, 12_288, 5_000_000, 9)
        );
    }

    #[test]
    fn two_intervals_become_one_of_their_mean() {
        assert_eq!(halved(&[1.0, 3.0, 5.0, 5.0, 7.0]), [2.0, 5.0, 7.0]);
    }
}
