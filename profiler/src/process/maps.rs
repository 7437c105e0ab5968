//! Lines of `/proc/PID/maps`.
//!
//! ```text
//! 7f1c8a028000-7f1c8a1bd000 r-xp 00028000 fe:01 393249                     /usr/lib/libc.so.6
//! start        end          perm offset   device inode                     path
//! ```
//! In: one line, hostile as far as the path goes. Out: its fields. Reads nothing.

use std::borrow::Cow;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapsLine<'a> {
    pub start: u64,
    pub end: u64,
    pub executable: bool,
    pub offset: u64,
    /// Major and minor number.
    pub device: (u32, u32),
    pub inode: u64,
    /// Tells this file from an earlier one with the same inode number; 0 if it is not known, as in `/proc`.
    pub generation: u64,
    /// Without ` (deleted)`; empty for memory without a name.
    pub path: Cow<'a, [u8]>,
    pub deleted: bool,
}

impl MapsLine<'_> {
    /// A line whose path the kernel wrote into an event, where a deleted file has its mark in the path.
    pub fn from_event(self) -> MapsLine<'static> {
        let alive = self.path.strip_suffix(DELETED);
        let path = Cow::Owned(alive.unwrap_or(&self.path).to_vec());
        MapsLine { deleted: alive.is_some(), path, ..self }
    }

    pub fn is_vdso(&self) -> bool {
        *self.path == *b"[vdso]"
    }

    /// Of a file with a name in some file system, as opposed to anonymous and shared memory.
    pub fn is_file(&self) -> bool {
        let memory: [&[u8]; 4] = [b"/memfd:", b"/dev/zero", b"/SYSV", b"/anon_hugepage"];
        self.inode != 0
            && self.path.starts_with(b"/")
            && !(self.deleted && memory.iter().any(|prefix| self.path.starts_with(prefix)))
    }
}

/// What the kernel appends to the path of a file that was deleted.
const DELETED: &[u8] = b" (deleted)";

/// Parses one line, with or without its newline. `None` if it is malformed.
pub fn parse_line(line: &[u8]) -> Option<MapsLine<'_>> {
    let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
    let (start, end) = split(word(&mut rest)?, b'-')?;
    let permissions = word(&mut rest)?;
    let offset = hex(word(&mut rest)?)?;
    let (major, minor) = split(word(&mut rest)?, b':')?;
    let inode = std::str::from_utf8(word(&mut rest)?).ok()?.parse().ok()?;
    let (start, end) = (hex(start)?, hex(end)?);
    if start >= end || permissions.len() != 4 {
        return None;
    }
    let padding = rest.iter().take_while(|byte| **byte == b' ').count();
    let path = &rest[padding..];
    let alive = path.strip_suffix(DELETED);
    Some(MapsLine {
        start,
        end,
        executable: permissions[2] == b'x',
        offset,
        device: (u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?),
        inode,
        generation: 0,
        path: unescape(alive.unwrap_or(path)),
        deleted: alive.is_some(),
    })
}

/// Takes what stands before the next space, and the space.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(at);
    *rest = tail.get(1..).unwrap_or_default();
    (!word.is_empty()).then_some(word)
}

fn split(word: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = word.iter().position(|byte| *byte == at)?;
    Some((&word[..position], &word[position + 1..]))
}

fn hex(word: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(word).ok().filter(|word| !word.starts_with('+'))?;
    u64::from_str_radix(digits, 16).ok()
}

/// The kernel writes a newline as `\012` and leaves every other byte as it is, the backslash too.
fn unescape(path: &[u8]) -> Cow<'_, [u8]> {
    const NEWLINE: &[u8] = b"\\012";
    if !path.windows(NEWLINE.len()).any(|part| part == NEWLINE) {
        return Cow::Borrowed(path);
    }
    let mut rest = path;
    let mut plain = Vec::with_capacity(path.len());
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(NEWLINE) {
            plain.push(b'\n');
            rest = tail;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(line: &str, path: &str, deleted: bool, file: bool) {
        let parsed = parse_line(line.as_bytes()).expect("a well-formed line");
        let found = (String::from_utf8_lossy(&parsed.path).into_owned(), parsed.deleted, parsed.is_file());
        assert_eq!(found, (path.to_owned(), deleted, file));
    }

    #[test]
    fn fields_are_read() {
        let line =
            b"7f1c8a028000-7f1c8a1bd000 r-xp 00028000 fe:01 393249                     /usr/lib/libc.so.6\n";
        let expected = MapsLine {
            start: 0x7f1c_8a02_8000,
            end: 0x7f1c_8a1b_d000,
            executable: true,
            offset: 0x28000,
            device: (0xfe, 1),
            inode: 393_249,
            generation: 0,
            path: Cow::Borrowed(b"/usr/lib/libc.so.6"),
            deleted: false,
        };
        assert_eq!(parse_line(line), Some(expected));
    }

    #[test]
    fn spaces_in_a_path_are_kept() {
        check("1000-2000 r-xp 0 08:01 7      /a b/c  d", "/a b/c  d", false, true);
    }

    #[test]
    fn a_newline_in_a_path_is_unescaped_and_a_backslash_is_not() {
        check(r"1000-2000 r-xp 0 08:01 7 /a\012b\134c", "/a\nb\\134c", false, true);
    }

    #[test]
    fn a_deleted_file_keeps_its_name() {
        check("1000-2000 r-xp 0 08:01 7 /usr/bin/sleep (deleted)", "/usr/bin/sleep", true, true);
    }

    #[test]
    fn memory_is_no_file() {
        check("1000-2000 r-xp 0 00:00 0 [vdso]", "[vdso]", false, false);
        check("1000-2000 rw-p 0 00:00 0 [heap]", "[heap]", false, false);
        check("1000-2000 rwxp 0 00:00 0 ", "", false, false);
        check("1000-2000 rwxp 0 00:00 0", "", false, false);
        check("1000-2000 r-xs 0 00:01 5 /memfd:jit (deleted)", "/memfd:jit", true, false);
    }

    #[test]
    fn a_file_may_be_called_like_shared_memory() {
        check("1000-2000 r-xp 0 08:01 7 /memfd:jit", "/memfd:jit", false, true);
    }

    #[test]
    fn a_data_mapping_is_not_executable() {
        assert!(!parse_line(b"1000-2000 rw-p 0 08:01 7 /a").expect("well-formed").executable);
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            "",
            "\n",
            "1000",
            "1000-2000",
            "2000-1000 r-xp 0 08:01 7 /a",
            "1000-1000 r-xp 0 08:01 7 /a",
            "xyz-2000 r-xp 0 08:01 7 /a",
            "1000-2000 r-x 0 08:01 7 /a",
            "1000-2000 r-xp 0 0801 7 /a",
            "1000-2000 r-xp 0 08:01 -7 /a",
            "1000-2000 r-xp 0 100000000:01 7 /a",
            "+1000-2000 r-xp 0 08:01 7 /a",
            "11111111111111111-2000 r-xp 0 08:01 7 /a",
        ] {
            assert_eq!(parse_line(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_path_comes_back(name in "[ -~\n]{0,40}[!-~]") {
            prop_assume!(!name.ends_with("(deleted)") && !name.contains("\\012"));
            let path = format!("/{name}");
            let line = format!("1000-2000 r-xp 0 08:01 7    {}\n", path.replace('\n', "\\012"));
            let parsed = parse_line(line.as_bytes()).expect("well-formed");
            prop_assert_eq!(&*parsed.path, path.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(line in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(parsed) = parse_line(&line) {
                prop_assert!(parsed.start < parsed.end);
            }
        }
    }
}
