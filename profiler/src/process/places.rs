//! Where in a process's memory an address lies: for locks. Pure; the lines of maps come from outside.

use super::maps::MapsLine;

/// What an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Heap,
    Stack,
    Anonymous,
    Shared,
    /// So far behind the beginning of a mapped file, which has code in this mapping.
    File {
        code: &'a MapsLine<'a>,
        offset: u64,
    },
}

/// Finds it among all lines of a process, which are sorted.
pub fn find<'a>(lines: &'a [MapsLine<'a>], address: u64) -> Option<Found<'a>> {
    let index = lines.iter().position(|line| (line.start..line.end).contains(&address))?;
    let line = &lines[index];
    match &*line.path {
        b"[heap]" => return Some(Found::Heap),
        b"[stack]" => return Some(Found::Stack),
        _ => {}
    }
    if line.is_file() {
        return Some(in_file(lines, line, address).unwrap_or(Found::Shared));
    }
    if line.inode != 0 {
        return Some(Found::Shared);
    }
    // What a program does not initialise (`.bss`) has no file, and lies directly behind what it does.
    let before = lines[..index]
        .last()
        .filter(|before| line.path.is_empty() && before.end == line.start && before.is_file());
    let data = before.and_then(|before| in_file(lines, before, address));
    Some(data.unwrap_or(Found::Anonymous))
}

/// A program's or a library's data: the file's first page is mapped too, and some of it as code.
fn in_file<'a>(lines: &'a [MapsLine<'a>], line: &MapsLine<'a>, address: u64) -> Option<Found<'a>> {
    let of_file = || {
        lines
            .iter()
            .filter(|other| other.inode == line.inode && other.path == line.path && other.start <= address)
    };
    let first = of_file().rfind(|other| other.offset == 0)?;
    let code = of_file().find(|other| other.executable && other.start >= first.start)?;
    Some(Found::File { code, offset: address - first.start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps::parse_line;

    const MAPS: &str = "\
00400000-00401000 r--p 00000000 fe:01 11 /bin/db
00401000-00402000 r-xp 00001000 fe:01 11 /bin/db
00403000-00404000 rw-p 00003000 fe:01 11 /bin/db
00404000-00408000 rw-p 00000000 00:00 0 
01000000-01020000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000100000 rw-p 00000000 00:00 0 
7f0000200000-7f0000300000 rw-s 00000000 00:01 55 /dev/zero (deleted)
7f0000300000-7f0000400000 rw-s 00000000 fe:01 77 /data/shared
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
";

    #[track_caller]
    fn check(address: u64, expected: &str) {
        let lines: Vec<_> = MAPS.lines().filter_map(|line| parse_line(line.as_bytes())).collect();
        let found = match find(&lines, address) {
            Some(Found::File { code, offset }) => {
                format!("{}+{offset:#x}", String::from_utf8_lossy(&code.path))
            }
            other => format!("{other:?}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn data_of_a_program_is_told_by_its_distance_from_the_files_beginning() {
        check(0x40_3010, "/bin/db+0x3010");
    }

    #[test]
    fn so_is_what_it_does_not_initialise() {
        check(0x40_5000, "/bin/db+0x5000");
    }

    #[test]
    fn memory_without_a_file_is_heap_stack_or_neither() {
        check(0x100_0010, "Some(Heap)");
        check(0x7ffd_0000_0010, "Some(Stack)");
        check(0x7f00_0000_0010, "Some(Anonymous)");
    }

    #[test]
    fn shared_memory_is_told_as_such() {
        check(0x7f00_0020_0010, "Some(Shared)");
        check(0x7f00_0030_0010, "Some(Shared)");
    }

    #[test]
    fn an_address_in_no_mapping_is_nowhere() {
        check(0x10, "None");
    }
}
