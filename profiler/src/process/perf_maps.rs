//! `/tmp/perf-PID.map` of the recorded processes, opened while they live.
//!
//! In: processes with code in memory that belongs to no file. Out: open files, which [`crate::symbolize`] reads after the
//! recording. A process that has ended takes its `/proc/PID/root` with it, and with that the way to a map in a mount
//! namespace of its own. The file is the target's own and may be anything: only regular files of the process's user, or
//! of root, are opened.

use profiler_report::recording::{InstrumentId, Skip, SkipCause};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// Most maps that are kept open. Machines have some dozen such processes.
const OPEN_MAPS: usize = 128;

/// The maps that were found.
#[derive(Debug, Default)]
pub struct PerfMaps {
    by_tgid: HashMap<u32, File>,
    /// Maps beyond [`OPEN_MAPS`]: still found at the end, if their process is there.
    not_kept: HashSet<u32>,
}

impl PerfMaps {
    /// Opens the map of a process, if it has one by now.
    pub fn keep(&mut self, tgid: u32) {
        if self.by_tgid.contains_key(&tgid) || self.not_kept.contains(&tgid) {
            return;
        }
        let Ok(file) = open(tgid) else { return };
        if self.by_tgid.len() < OPEN_MAPS {
            self.by_tgid.insert(tgid, file);
        } else {
            self.not_kept.insert(tgid);
        }
    }

    /// What the bound kept out, for the report.
    pub fn skip(&self) -> Option<Skip> {
        Skip::counted(InstrumentId::Names, SkipCause::PerfMapsNotKept, self.not_kept.len() as u64)
    }

    /// The map of a process as it is now: that which was kept, else that which it has or has left behind.
    pub fn read(&self, tgid: u32) -> io::Result<File> {
        match self.by_tgid.get(&tgid) {
            // Opened again, so that it is read from its beginning.
            Some(kept) => File::open(super::descriptor_path(kept)),
            None => open(tgid),
        }
    }
}

/// Opens the map as the process named it: with its own id, in its own `/tmp`. If the process is gone, what it left in
/// our `/tmp`.
fn open(tgid: u32) -> io::Result<File> {
    let path = match super::read_text(&format!("/proc/{tgid}/status")) {
        Ok(status) => {
            let own_id = innermost_id(&status).unwrap_or(tgid);
            PathBuf::from(format!("/proc/{tgid}/root/tmp/perf-{own_id}.map"))
        }
        Err(_) => PathBuf::from(format!("/tmp/perf-{tgid}.map")),
    };
    // A link could lead anywhere in our own file system, and a FIFO would never answer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    // Anyone may write into /tmp: believe only root and the process's own user.
    let owner = fs::metadata(format!("/proc/{tgid}")).map_or(metadata.uid(), |process| process.uid());
    if metadata.uid() != 0 && metadata.uid() != owner {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "belongs to another user"));
    }
    Ok(file)
}

/// The last id of the line `NStgid:  4711  1`: the one in the process's own PID namespace.
fn innermost_id(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("NStgid:"))?;
    ids.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "1000 20 first\n";

    #[test]
    fn the_innermost_namespace_gives_the_id() {
        assert_eq!(innermost_id("Name:\tjava\nNStgid:\t4711\t23\t1\n"), Some(1));
    }

    /// Process ids above the kernel's limit of 2^22, which no process has.
    const GONE: u32 = 1 << 23;

    /// Reads the map of a process; `make` puts the map at its path.
    #[track_caller]
    fn check_file(tgid: u32, make: impl FnOnce(&str), expected: Option<&str>) {
        let path = format!("/tmp/perf-{tgid}.map");
        make(&path);
        let found = PerfMaps::default().read(tgid).and_then(io::read_to_string);
        fs::remove_file(&path).expect("remove the map");
        assert_eq!(found.ok().as_deref(), expected);
    }

    #[test]
    fn the_map_of_a_living_process_is_found() {
        check_file(std::process::id(), |path| fs::write(path, MAP).expect("write"), Some(MAP));
    }

    #[test]
    fn the_map_that_a_process_left_behind_is_found() {
        check_file(GONE, |path| fs::write(path, MAP).expect("write"), Some(MAP));
    }

    #[test]
    fn a_link_is_not_followed() {
        let target = std::env::temp_dir().join(format!("profiler-map-{}", std::process::id()));
        fs::write(&target, MAP).expect("write");
        check_file(GONE + 1, |path| std::os::unix::fs::symlink(&target, path).expect("link"), None);
        fs::remove_file(target).expect("remove");
    }

    #[test]
    fn a_fifo_that_nobody_writes_to_is_not_waited_for() {
        let make = |path: &str| {
            let status = std::process::Command::new("mkfifo").arg(path).status().expect("start");
            assert!(status.success());
        };
        check_file(GONE + 2, make, None);
    }

    #[test]
    fn a_map_that_was_kept_is_read_when_it_is_gone() {
        let tgid = std::process::id();
        let path = format!("/tmp/perf-{tgid}.map");
        fs::write(&path, MAP).expect("write");
        let mut maps = PerfMaps::default();
        maps.keep(tgid);
        fs::remove_file(&path).expect("remove");
        for _ in 0..2 {
            assert_eq!(maps.read(tgid).and_then(io::read_to_string).expect("read"), MAP);
        }
    }
}
