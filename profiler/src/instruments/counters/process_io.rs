//! What the kernel counts of each process's reads and writes, read at both edges of a recording.

use std::collections::HashMap;

use crate::process::read_text;
use profiler_report::recording::ProcessIo;

/// Processes whose counters are read: two small files each, some 30 µs.
const MOST_PROCESSES: usize = 1000;

/// Counters at the start, by process.
pub struct ProcessReads(HashMap<u32, ProcessIo>);

impl ProcessReads {
    /// Reads these processes.
    pub fn of(tgids: &[u32]) -> Self {
        Self(tgids.iter().take(MOST_PROCESSES).filter_map(|&tgid| Some((tgid, read(tgid)?))).collect())
    }

    /// What each of these has gained, as far as it is still there. One that began meanwhile began at zero.
    pub fn since(
        &self,
        tgids: impl Iterator<Item = u32>,
        began_inside: impl Fn(u32) -> bool,
    ) -> HashMap<u32, ProcessIo> {
        tgids
            .take(MOST_PROCESSES)
            .filter_map(|tgid| {
                let before = match self.0.get(&tgid) {
                    Some(before) => *before,
                    None if began_inside(tgid) => ProcessIo::default(),
                    None => return None,
                };
                Some((tgid, gained(read(tgid)?, before)))
            })
            .collect()
    }
}

fn gained(after: ProcessIo, before: ProcessIo) -> ProcessIo {
    ProcessIo {
        called_read_bytes: after.called_read_bytes.saturating_sub(before.called_read_bytes),
        called_written_bytes: after.called_written_bytes.saturating_sub(before.called_written_bytes),
        disk_read_bytes: after.disk_read_bytes.saturating_sub(before.disk_read_bytes),
        dirtied_bytes: after.dirtied_bytes.saturating_sub(before.dirtied_bytes),
        major_faults: after.major_faults.saturating_sub(before.major_faults),
    }
}

fn read(tgid: u32) -> Option<ProcessIo> {
    parse(&read_text(&format!("/proc/{tgid}/io")).ok()?, &read_text(&format!("/proc/{tgid}/stat")).ok()?)
}

/// `io` has a line `rchar: 323934931` for each counter; `stat` has the major faults in its 12th field (proc_pid_io(5),
/// proc_pid_stat(5)), the 10th behind the name.
fn parse(io: &str, stat: &str) -> Option<ProcessIo> {
    let number = |name: &str| {
        let mut lines = io.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    };
    let behind_name = &stat[stat.rfind(')')? + 1..];
    Some(ProcessIo {
        called_read_bytes: number("rchar")?,
        called_written_bytes: number("wchar")?,
        disk_read_bytes: number("read_bytes")?,
        dirtied_bytes: number("write_bytes")?,
        major_faults: behind_name.split_ascii_whitespace().nth(9)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IO: &str = "rchar: 100\nwchar: 200\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\n\
                      cancelled_write_bytes: 0\n";

    #[test]
    fn counters_are_found_by_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 111 222 33 44 5 6 7 8 20 0 1 0 9";
        let expected = ProcessIo {
            called_read_bytes: 100,
            called_written_bytes: 200,
            disk_read_bytes: 4096,
            dirtied_bytes: 8192,
            major_faults: 33,
        };
        assert_eq!(parse(IO, stat), Some(expected));
    }

    #[test]
    fn what_is_cut_is_none() {
        assert_eq!(parse("rchar: 100\n", "7 (a) S 1"), None);
        assert_eq!(parse(IO, "7"), None);
    }

    #[test]
    fn this_process_has_counters() {
        let own = std::process::id();
        let reads = ProcessReads::of(&[own]);
        assert_eq!(reads.since([own].into_iter(), |_| false).len(), 1);
    }
}
