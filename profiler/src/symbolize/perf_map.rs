//! `/tmp/perf-PID.map`: the names that a runtime with a compiler inside (JVM, node, …) writes for its own code.
//!
//! In: a process id, then the file's bytes. Out: names by address. The file is the target's own and may hold anything,
//! so that it is read only if it is a regular file, up to a bound, and lines that do not parse are passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// Most bytes of a map that are read. 64 MiB are about a million functions; a large JVM has some ten thousand.
const MAP_BYTES: u64 = 64 << 20;

/// One line of a map, restricted to what is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    start: u64,
    size: u64,
    name: String,
}

/// The functions of one process that hold addresses of interest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PerfMap {
    /// By start.
    entries: Vec<Entry>,
}

impl PerfMap {
    /// Reads the map of a process, keeping only the functions that hold one of the addresses. Empty without a map.
    pub fn of_process(tgid: u32, addresses: &[u64]) -> Self {
        let mut text = Vec::new();
        // Without a map, or with one that breaks off, the frames show as addresses.
        if let Ok(file) = open(tgid) {
            let _ = file.take(MAP_BYTES).read_to_end(&mut text);
        }
        Self::parse(&text, addresses)
    }

    /// Parses lines of the form `START SIZE NAME`, numbers in hexadecimal.
    fn parse(text: &[u8], addresses: &[u64]) -> Self {
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        let holds_wanted = |entry: &Entry| {
            let first = wanted.partition_point(|&address| address < entry.start);
            wanted.get(first).is_some_and(|&address| address - entry.start < entry.size)
        };
        let mut entries: Vec<Entry> =
            text.split(|&byte| byte == b'\n').filter_map(parse_line).filter(holds_wanted).collect();
        // Stable: of two functions at the same place the one that was written later comes later.
        entries.sort_by_key(|entry| entry.start);
        Self { entries }
    }

    /// The function at an address; where memory was used again, the one that was written last.
    pub fn function(&self, address: u64) -> Option<&str> {
        let end = self.entries.partition_point(|entry| entry.start <= address);
        let entry = self.entries[..end].last()?;
        (address - entry.start < entry.size).then_some(entry.name.as_str())
    }
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.trim_end().splitn(3, ' ');
    let start = hexadecimal(words.next()?)?;
    let size = hexadecimal(words.next()?)?;
    let name: String = words.next()?.chars().take(super::NAME_CHARS + 1).collect();
    Some(Entry { start, size, name })
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
}

/// Opens the map as the process named it: with its own id, in its own `/tmp`. If the process is gone, what it left in
/// our `/tmp`.
fn open(tgid: u32) -> io::Result<File> {
    let path = match fs::read_to_string(format!("/proc/{tgid}/status")) {
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

    const MAP: &[u8] =
        b"1000 20 first\n1020 0x10 LambdaForm$MH/0x7f void f(int, char)\nnonsense\n3000 10 \xff\n";

    #[track_caller]
    fn check(map: &[u8], address: u64, expected: Option<&str>) {
        assert_eq!(PerfMap::parse(map, &[address]).function(address), expected);
    }

    #[test]
    fn an_address_inside_a_function_has_its_name() {
        check(MAP, 0x101f, Some("first"));
    }

    #[test]
    fn a_name_may_hold_spaces() {
        check(MAP, 0x1020, Some("LambdaForm$MH/0x7f void f(int, char)"));
    }

    #[test]
    fn an_address_after_a_function_has_no_name() {
        check(MAP, 0x1030, None);
    }

    #[test]
    fn an_address_before_all_functions_has_no_name() {
        check(MAP, 0xfff, None);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(MAP, 0x3000, Some("\u{fffd}"));
    }

    #[test]
    fn memory_that_was_used_again_has_the_later_name() {
        check(b"1000 20 old\n1000 20 new\n", 0x1000, Some("new"));
    }

    #[test]
    fn a_function_at_the_end_of_the_address_space_does_not_overflow() {
        check(b"fffffffffffffff0 ffffffffffffffff last\n", u64::MAX, Some("last"));
    }

    #[test]
    fn only_functions_of_interest_are_kept() {
        assert_eq!(PerfMap::parse(MAP, &[0x1005]).entries.len(), 1);
    }

    #[test]
    fn the_innermost_namespace_gives_the_id() {
        assert_eq!(innermost_id("Name:\tjava\nNStgid:\t4711\t23\t1\n"), Some(1));
    }

    /// Process ids above the kernel's limit of 2^22, which no process has.
    const GONE: u32 = 1 << 23;

    /// Looks a name up in the map of a process; `make` puts the map at its path.
    #[track_caller]
    fn check_file(tgid: u32, make: impl FnOnce(&str), expected: Option<&str>) {
        let path = format!("/tmp/perf-{tgid}.map");
        make(&path);
        let found = PerfMap::of_process(tgid, &[0x1000]);
        fs::remove_file(&path).expect("remove the map");
        assert_eq!(found.function(0x1000), expected);
    }

    #[test]
    fn the_map_of_a_living_process_is_found() {
        check_file(std::process::id(), |path| fs::write(path, MAP).expect("write"), Some("first"));
    }

    #[test]
    fn the_map_that_a_process_left_behind_is_found() {
        check_file(GONE, |path| fs::write(path, MAP).expect("write"), Some("first"));
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
}
