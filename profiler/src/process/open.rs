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
    /// That of the file that is mapped, if it was found by a name that may lead to another by now.
    generation: Option<u64>,
}

/// The process that has mapped a file, and the one that has forked it, which may be in the same container and live longer.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    pub tgid: u32,
    pub parent: Option<u32>,
}

/// Looks for the mapped file: by its mapping, which finds deleted files too and needs `CAP_CHECKPOINT_RESTORE` (or, before
/// 5.9, `CAP_SYS_ADMIN`), else by its path in the process's root directory, in its parent's, and in our own, else as the
/// process's program, which is found without those privileges though it be deleted.
pub fn find(owner: Owner, line: &MapsLine<'_>) -> io::Result<Found> {
    let by_mapping = format!("/proc/{}/map_files/{:x}-{:x}", owner.tgid, line.start, line.end);
    if let Ok(found) = regular(by_mapping.into()) {
        return Ok(found);
    }
    let same_file = |found: &Found| {
        let device = (libc::major(found.metadata.dev()), libc::minor(found.metadata.dev()));
        found.metadata.ino() == line.inode && device == line.device
    };
    let in_root = |tgid: u32| {
        let mut path = OsStr::new(&format!("/proc/{tgid}/root")).to_owned();
        path.push(OsStr::from_bytes(&line.path));
        PathBuf::from(path)
    };
    let roots = [Some(owner.tgid), owner.parent].into_iter().flatten().map(in_root);
    let own = PathBuf::from(OsStr::from_bytes(&line.path));
    let program = PathBuf::from(format!("/proc/{}/exe", owner.tgid));
    let found = roots.chain([own, program]).filter_map(|path| regular(path).ok()).find(same_file);
    let found =
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no longer the file that is mapped"))?;
    Ok(Found { generation: Some(line.generation).filter(|&generation| generation != 0), ..found })
}

impl Found {
    /// Opens it, and looks again at what was opened: the path may lead elsewhere by now.
    pub fn open(&self) -> io::Result<File> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let opened = file.metadata()?;
        let same = (opened.dev(), opened.ino()) == (self.metadata.dev(), self.metadata.ino());
        let other = self.generation.zip(generation(&file)).is_some_and(|(mapped, found)| mapped != found);
        if opened.is_file() && same && !other {
            Ok(file)
        } else {
            Err(io::Error::other("replaced while it was being opened"))
        }
    }
}

/// The path of an open file, for those who take paths and to open it again.
pub fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn regular(path: PathBuf) -> io::Result<Found> {
    let metadata = fs::metadata(&path)?;
    if metadata.is_file() {
        Ok(Found { path, metadata, generation: None })
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

/// Tells a file from another that has its inode number later. None where the file system does not tell.
pub(super) fn generation(file: &File) -> Option<u64> {
    /// `FS_IOC_GETVERSION` (include/uapi/linux/fs.h) by its declared argument, a `long`; file systems write an `int`.
    const GET_VERSION: libc::Ioctl = libc::_IOR::<libc::c_long>(b'v' as u32, 1);
    let mut version: libc::c_int = 0;
    // SAFETY: writes one `int`, to a valid place.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), GET_VERSION, &raw mut version) };
    (result == 0).then_some(u64::from(version as u32))
}
