//! Opens the file behind a mapping, and no other.
//!
//! In: a process and a line of its maps. Out: the regular file that is mapped there. A path leads to something else
//! when the file was replaced or deleted or belongs to another mount namespace, and it may lead to a device whose
//! opening does something. So a path is taken only where device and inode are those of the mapping.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::maps::MapsLine;

/// A mapped file that was found and can be opened.
pub struct Found {
    path: PathBuf,
    pub metadata: Metadata,
}

/// Looks for the mapped file: by its mapping, which needs privileges and finds deleted files too, else by its path in the
/// process's root directory, else in our own.
pub fn find(tgid: u32, line: &MapsLine<'_>) -> io::Result<Found> {
    let by_mapping = PathBuf::from(format!("/proc/{tgid}/map_files/{:x}-{:x}", line.start, line.end));
    if let Ok(found) = regular(by_mapping) {
        return Ok(found);
    }
    let mut in_root = OsStr::new(&format!("/proc/{tgid}/root")).to_owned();
    in_root.push(OsStr::from_bytes(&line.path));
    let same_file = |found: &Found| {
        let device = (libc::major(found.metadata.dev()), libc::minor(found.metadata.dev()));
        found.metadata.ino() == line.inode && device == line.device
    };
    let own = PathBuf::from(OsStr::from_bytes(&line.path));
    let candidates = [PathBuf::from(in_root), own];
    let found = candidates.into_iter().filter_map(|path| regular(path).ok()).find(same_file);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no longer the file that is mapped"))
}

impl Found {
    /// Opens it, and looks again at what was opened: the path may lead elsewhere by now.
    pub fn open(&self) -> io::Result<File> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let opened = file.metadata()?;
        if opened.is_file() && (opened.dev(), opened.ino()) == (self.metadata.dev(), self.metadata.ino()) {
            Ok(file)
        } else {
            Err(io::Error::other("replaced while it was being opened"))
        }
    }
}

/// The path of an open file, for those who take paths and to open it anew.
pub fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn regular(path: PathBuf) -> io::Result<Found> {
    let metadata = fs::metadata(&path)?;
    if metadata.is_file() {
        Ok(Found { path, metadata })
    } else {
        Err(io::Error::other("not a regular file"))
    }
}
