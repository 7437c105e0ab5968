//! The cache of debuginfod's clients: `HEX/debuginfo` below one directory, shared with gdb, elfutils and others.
//!
//! An empty file says that the servers did not know that build, and is believed for ten minutes. A cache that belongs to
//! another user is read and not written: under sudo the files would be root's, and the user could have put links into
//! the way of what root writes.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::symbolize::debug_files::{hexadecimal, open_regular};

/// How long a miss is believed; elfutils' default.
const MISS_TIME: Duration = Duration::from_secs(600);
/// How long a file is kept after its last use; elfutils' default. Its clients clean up by it too.
const UNUSED_TIME: Duration = Duration::from_secs(7 * 86_400);

/// The directory, if it may be used.
pub struct Cache {
    read: Option<PathBuf>,
    /// The same, where this user may write.
    write: Option<PathBuf>,
}

/// What the cache knows of a build.
pub enum Cached {
    File(File),
    /// Asked for not long ago, in vain.
    KnownMiss,
    Nothing,
}

/// A file that is being received.
pub struct Download {
    pub file: File,
    /// Its temporary name and the one that it is to have. None where nothing is kept.
    names: Option<(tempfile::TempPath, PathBuf)>,
}

impl Cache {
    pub fn at(directory: Option<PathBuf>) -> Self {
        let write = directory.clone().filter(|directory| make_own_directory(directory).is_ok());
        if let Some(directory) = &write {
            clean(directory);
        }
        Self { read: directory, write }
    }

    pub fn look_up(&self, build_id: &[u8]) -> Cached {
        let Some(directory) = &self.read else { return Cached::Nothing };
        let Ok(file) = open_regular(&path(directory, build_id)) else { return Cached::Nothing };
        match file.metadata() {
            Ok(metadata) if metadata.len() > 0 => Cached::File(file),
            Ok(metadata) if age(&metadata).is_some_and(|age| age < MISS_TIME) => Cached::KnownMiss,
            _ => Cached::Nothing,
        }
    }

    /// So that the servers are not asked again at once.
    pub fn remember_miss(&self, build_id: &[u8]) {
        let Ok(download) = self.download(build_id) else { return };
        download.keep();
    }

    /// A new file, in the cache or, where that may not be written, without a name.
    pub fn download(&self, build_id: &[u8]) -> io::Result<Download> {
        let Some(directory) = &self.write else {
            return Ok(Download { file: tempfile::tempfile()?, names: None });
        };
        let own = directory.join(hexadecimal(build_id));
        make_own_directory(&own)?;
        let (file, name) = NamedTempFile::with_prefix_in("debuginfo.", &own)?.into_parts();
        Ok(Download { file, names: Some((name, own.join("debuginfo"))) })
    }
}

impl Download {
    /// Gives the file its name. Without success it is still there for this one use.
    pub fn keep(self) -> File {
        if let Some((temporary, name)) = self.names {
            let _ = self.file.set_permissions(fs::Permissions::from_mode(0o400));
            let _ = temporary.persist(name);
        }
        self.file
    }
}

fn path(directory: &Path, build_id: &[u8]) -> PathBuf {
    directory.join(hexadecimal(build_id)).join("debuginfo")
}

/// Makes a directory for this user alone. One that is there must be this user's, and no link.
fn make_own_directory(directory: &Path) -> io::Result<()> {
    if fs::symlink_metadata(directory).is_err() {
        // Its parents too, the nearest of which that is there must be this user's.
        let parent = directory.ancestors().skip(1).find(|parent| parent.exists());
        parent.ok_or(io::ErrorKind::NotFound.into()).and_then(is_own)?;
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    is_own(directory)
}

fn is_own(directory: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(directory)?;
    // SAFETY: `geteuid` only returns a number.
    let own = metadata.is_dir() && metadata.uid() == unsafe { libc::geteuid() };
    if own { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

fn age(metadata: &fs::Metadata) -> Option<Duration> {
    SystemTime::now().duration_since(metadata.modified().ok()?).ok()
}

/// Removes what was not used for a week. An error leaves a file to the next time.
fn clean(directory: &Path) {
    let Ok(builds) = fs::read_dir(directory) else { return };
    for build in builds.flatten() {
        let is_build_id = build
            .file_name()
            .to_str()
            .is_some_and(|name| name.len() >= 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let file = build.path().join("debuginfo");
        let Ok(metadata) = fs::symlink_metadata(&file) else { continue };
        let unused = metadata.accessed().ok().and_then(|used| SystemTime::now().duration_since(used).ok());
        if is_build_id && unused.is_some_and(|unused| unused > UNUSED_TIME) {
            let _ = fs::remove_file(&file);
            // Fails where gdb keeps a source file beside it.
            let _ = fs::remove_dir(build.path());
        }
    }
}
