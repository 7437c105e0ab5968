//! Disks: their names, what the kernel itself counts of them, and the tables of what the programs summed up.
//!
//! In: `/proc/diskstats`, `/sys/block` and [`RequestSums`] at the end of each window. Out: [`BlockIoRows`], and the table of
//! disks that they refer to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
};

use profiler_common::block_io::{
    self as border, FileKey, RequestTotals, Share, ShareKey, WaitKey, Waits, major_minor, share, share_key,
    submitter,
};

use super::{
    super::difference::{self, Before},
    cgroup_paths::CgroupPaths,
    hooks::RequestSums,
};
use crate::{
    collect::{Submitted, text},
    process::read_text,
};
use profiler_report::recording::{
    BlockIoRows, Disk, DiskCounters, DiskUse, DiskWait, FileWait, RequestShare, Requests, Submitter,
};

/// Bytes of a sector in all of the kernel's counters, whatever the disk's own sectors are.
const SECTOR: u64 = 512;
/// Processes, cgroups and files that have rows: who watches disks for months meets new ones all the time.
const MOST_SHARES: usize = 1 << 16;
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

/// All disks of the machine, and the sums at the last cut.
pub struct Disks {
    /// Counters by device. A disk that comes later begins at zero.
    lines: HashMap<u32, Line>,
    partitions: HashMap<u32, bool>,
    table: Table,
    totals: Vec<RequestTotals>,
    shares: Before<ShareKey, Share>,
    waits: Before<WaitKey, Waits>,
    files: Before<FileKey, Waits>,
    /// The programs' sums of whose requests they were are emptied at each cut.
    pub emptying: bool,
    /// Processes, cgroups and files that have rows, and requests of those beyond [`MOST_SHARES`].
    known: HashSet<ShareKey>,
    cgroups: CgroupPaths,
    pub unshared: u64,
}

impl Disks {
    /// Reads the counters for the first time.
    pub fn now(emptying: bool) -> Self {
        let mut partitions = HashMap::new();
        let text = read_text("/proc/diskstats").unwrap_or_default();
        Self {
            lines: whole_disks(&text, &mut partitions).map(|(device, _, line)| (device, line)).collect(),
            partitions,
            table: Table::default(),
            totals: vec![],
            shares: Before::default(),
            waits: Before::default(),
            files: Before::default(),
            emptying,
            known: HashSet::new(),
            cgroups: CgroupPaths::default(),
            unshared: 0,
        }
    }

    /// What the disks did since the last cut; with what the programs have summed up, if they did. `path` knows files by inode
    /// and device of the file system.
    pub fn cut<'a>(
        &mut self,
        sums: Option<RequestSums>,
        submits: &[Submitted],
        path: impl Fn(u64, u32) -> Option<&'a str> + Copy,
    ) -> BlockIoRows {
        let mut rows = BlockIoRows { disks: self.counted(), ..BlockIoRows::default() };
        let Some(sums) = sums else { return rows };
        let gained = difference::totals(&self.totals, &sums.totals);
        self.totals = sums.totals;
        let table = &mut self.table;
        for totals in &gained {
            let Some(key) = border::TotalsKey::unpacked(totals.key) else { continue };
            let row = table.row(key.device, || text_until_zero(&totals.disk_name));
            rows.requests.push(requests(row, &key, totals));
        }
        let gained = if self.emptying { sums.shares } else { self.shares.gained(sums.shares) };
        let has_row = |(key, share): &(ShareKey, Share)| {
            let is_kept = self.known.len() < MOST_SHARES || self.known.contains(key);
            if is_kept {
                self.known.insert(*key);
            } else {
                self.unshared = self.unshared.saturating_add(share.count);
            }
            is_kept
        };
        let gained: Vec<_> = gained.into_iter().filter(has_row).collect();
        rows.shares = shares(&gained, (table, &mut self.cgroups), path);
        let submitter = |sum: &Submitted| Submitter {
            stack: sum.stack,
            device: table.row(sum.device, String::new),
            operation: sum.operation,
            samples: sum.samples,
            count: sum.count,
            bytes: sum.bytes,
        };
        rows.submitters = submits.iter().map(submitter).collect();
        let wait = |(key, waits): &(WaitKey, Waits)| DiskWait {
            state: key.state,
            ended_by: key.ended_by,
            device: (key.device != 0).then(|| table.row(key.device, String::new)),
            operation: key.operation,
            by: text(&key.comm),
            count: waits.count,
            blocked_ns: waits.blocked_ns,
            queue_ns: waits.queue_ns,
            device_ns: waits.device_ns,
        };
        rows.waits = self.waits.gained(sums.waits).iter().map(wait).collect();
        rows.files = self.files.gained(sums.files).iter().map(|row| file_wait(row, path)).collect();
        rows
    }

    /// The disks that rows refer to.
    pub fn table(&self) -> Vec<Disk> {
        self.table.disks.clone()
    }

    /// What the kernel itself counted. Disks that nobody has used yet would only fill the table.
    fn counted(&mut self) -> Vec<DiskUse> {
        let mut uses = vec![];
        let text = read_text("/proc/diskstats").unwrap_or_default();
        for (device, name, line) in whole_disks(&text, &mut self.partitions) {
            let before = self.lines.insert(device, line).unwrap_or_default();
            let counters = line.since(&before);
            let is_used = counters.reads + counters.writes + counters.discards + counters.flushes > 0;
            if is_used || self.table.has(device) {
                let in_flight_ns = 1_000_000 * line.weighted_ms.saturating_sub(before.weighted_ms);
                uses.push(DiskUse {
                    disk: self.table.row(device, || name.to_owned()),
                    counters,
                    in_flight_ns,
                });
            }
        }
        uses
    }
}

/// The disks that rows refer to so far.
#[derive(Default)]
struct Table {
    disks: Vec<Disk>,
    by_device: HashMap<u32, u32>,
}

impl Table {
    fn has(&self, device: u32) -> bool {
        self.by_device.contains_key(&device)
    }

    /// The row of a disk; `name` is asked as long as it has none.
    fn row(&mut self, device: u32, name: impl FnOnce() -> String) -> u32 {
        let row = *self.by_device.entry(device).or_insert_with(|| {
            let (major, minor) = major_minor(device);
            self.disks.push(Disk { major, minor, name: String::new(), stacked: is_stacked(device) });
            self.disks.len() as u32 - 1
        });
        let disk = &mut self.disks[row as usize];
        if disk.name.is_empty() {
            disk.name = name();
        }
        row
    }
}

fn text_until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn file_wait<'a>((key, waits): &(FileKey, Waits), path: impl Fn(u64, u32) -> Option<&'a str>) -> FileWait {
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
    (table, cgroups): (&mut Table, &mut CgroupPaths),
    path: impl Fn(u64, u32) -> Option<&'a str>,
) -> Vec<RequestShare> {
    let is_charged = |key: &border::ShareKey| key.kind == share_key::OWNER && key.id != 0;
    cgroups.look_for(sums.iter().filter(|(key, _)| is_charged(key)).map(|(key, _)| key.id));
    let mut shares: BTreeMap<(u32, u64, u32, u32), RequestShare> = BTreeMap::new();
    let mut add = |kind: u32, id: u64, key: &border::ShareKey, sum: &border::Share, name: String| {
        let device = table.row(key.device, String::new);
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
fn whole_disks<'a>(
    text: &'a str,
    partitions: &mut HashMap<u32, bool>,
) -> impl Iterator<Item = (u32, &'a str, Line)> {
    let parsed = text.lines().filter_map(parse);
    let is_whole = |(device, _, _): &(u32, &str, Line)| {
        !*partitions.entry(*device).or_insert_with(|| is_partition(*device))
    };
    parsed.filter(is_whole).take(MOST_DISKS)
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
fn parse(line: &str) -> Option<(u32, &str, Line)> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let name = words.next()?;
    let mut numbers = [0_u64; 17];
    let mut count = 0;
    for (number, word) in numbers.iter_mut().zip(words.map_while(|word| word.parse().ok())) {
        *number = word;
        count += 1;
    }
    let number = |index: usize| numbers[index];
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
    (count >= 11).then_some((border::device(major, minor), name, line))
}

impl Line {
    /// The length of time is that of the window, or of the span of windows.
    fn since(&self, before: &Self) -> DiskCounters {
        let gained = |field: fn(&Self) -> u64| field(self).saturating_sub(field(before));
        DiskCounters {
            elapsed_ns: 0,
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
        assert_eq!((device, name), (254 << 20, "vda"));
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
        let counters = after.since(&before);
        assert_eq!((counters.reads, counters.read_bytes, counters.busy_ns), (3, 12_288, 5_000_000));
    }
}
