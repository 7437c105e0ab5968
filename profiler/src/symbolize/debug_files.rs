//! Separate files of debug information on this machine, as packages install them.
//!
//! In: what an [`ElfFile`] says of itself. Out: a file that was opened and whose identity was checked: by its build id,
//! or else by the checksum in the debug link. The paths come in part from hostile files, so only regular files are
//! opened, and never with a name that leads elsewhere.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::elf_file::ElfFile;
use crate::process::Watched;

/// Where Debian, Fedora and the others put them.
const ROOT: &str = "/usr/lib/debug";

/// A directory of debug information.
#[derive(Clone, Debug)]
pub struct DebugFiles {
    root: PathBuf,
}

impl Default for DebugFiles {
    fn default() -> Self {
        Self { root: ROOT.into() }
    }
}

impl DebugFiles {
    /// Another root than the system's.
    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The separate debug information of a file, with its path. `directory` is that of the file.
    pub fn find(&self, elf: &ElfFile, directory: Option<&Path>) -> Option<(PathBuf, Watched)> {
        let by_build_id = build_id_path(&elf.build_id).map(|path| self.root.join(".build-id").join(path));
        let by_link = elf.link.iter().flat_map(|link| self.beside(&link.name, directory));
        by_build_id.into_iter().chain(by_link).find_map(|path| {
            let file = open_regular(&path).and_then(Watched::new).ok()?;
            belongs_to(file.file(), elf).then_some((path, file))
        })
    }

    /// Whether a file lies below the root, where only root writes.
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// In gdb's order: beside the file, in `.debug` beside it, and below the root.
    fn beside(&self, name: &str, directory: Option<&Path>) -> Vec<PathBuf> {
        let Some(directory) = directory else { return Vec::new() };
        let below_root = self.root.join(directory.strip_prefix("/").unwrap_or(directory));
        [directory.to_owned(), directory.join(".debug"), below_root].map(|each| each.join(name)).into()
    }
}

/// `ab/cdef….debug`.
fn build_id_path(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    Some(PathBuf::from(format!("{first:02x}/{}.debug", hexadecimal(rest))))
}

/// Two digits a byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Opens a file, and nothing whose opening waits or does something.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let not_regular = || io::Error::other("not a regular file");
    if !fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Whether a file is of the same build.
fn belongs_to(file: &File, elf: &ElfFile) -> bool {
    let Some(found) = ElfFile::read(file) else { return false };
    if !elf.build_id.is_empty() || !found.build_id.is_empty() {
        return elf.build_id == found.build_id;
    }
    elf.link.as_ref().is_some_and(|link| checksum(file).is_ok_and(|crc| crc == link.crc))
}

/// The checksum of a debug link. The file is read, not mapped: all of it would count as resident.
fn checksum(mut file: &File) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = vec![0; 1 << 18];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&bytes[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_build_id_has_its_first_byte_as_directory() {
        assert_eq!(build_id_path(&[0xab, 0x01, 0xff]), Some("ab/01ff.debug".into()));
    }

    #[test]
    fn a_build_id_of_one_byte_has_no_path() {
        assert_eq!(build_id_path(&[0xab]), None);
    }

    #[test]
    fn a_fifo_is_not_opened() {
        let path = std::env::temp_dir().join(format!("profiler-fifo-{}", std::process::id()));
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("start").success());
        let result = open_regular(&path);
        fs::remove_file(&path).expect("remove");
        assert!(result.is_err());
    }
}
