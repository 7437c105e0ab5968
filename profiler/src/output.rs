//! Where results are written: whole files or nothing.
//!
//! In: a destination and something that writes. Out: the finished file under its name, or an error and no file. Knows
//! no format.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::confine::identity::{self, Owner};

/// Where one result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `-`.
    Stdout,
    File(PathBuf),
}

impl Destination {
    /// Reads the argument of `-o`.
    pub fn parse(argument: &OsStr) -> Self {
        if argument == "-" { Self::Stdout } else { Self::File(argument.into()) }
    }

    /// The directory of a file.
    pub fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Stdout => None,
            Self::File(path) => Some(directory(path).to_owned()),
        }
    }
}

/// Why a result could not be written. No file is left under its name, unless an older one was there.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("cannot write `{}`: the directory `{}` does not exist\n  try: mkdir -p `{}`", .0.display(), .1, .1)]
    DirectoryMissing(PathBuf, String),
    #[error(
        "cannot write `{}`: you may not write to the directory `{}`\n  try: another directory with -o", .0.display(), .1
    )]
    NotWritable(PathBuf, String, #[source] io::Error),
    #[error(
        "cannot write `{}`: no space left; no partial file was kept\n  try: free some space, or another directory with -o", .0.display()
    )]
    Full(PathBuf, #[source] io::Error),
    #[error("cannot write `{}`: it is a directory\n  try: a file name with -o", .0.display())]
    IsDirectory(PathBuf),
    #[error("cannot write `{}`", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
}

/// What is worth knowing about a result that was written.
#[derive(Debug, Default)]
pub struct Written {
    /// The file is there, but could not be given to its owner.
    pub owner_error: Option<io::Error>,
}

/// Writes one result: what `content` writes. A reader of standard output that goes away early has seen what it wanted: no error.
///
/// # Errors
/// [`OutputError`], also for each error that `content` returns.
pub fn write(
    destination: &Destination,
    owner: Option<Owner>,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Written, OutputError> {
    match destination {
        Destination::File(path) => write_file(path, owner, content),
        Destination::Stdout => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            match content(&mut out).and_then(|()| out.flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError::Stdout(error)),
                _ => Ok(Written::default()),
            }
        }
    }
}

/// Refuses a destination that cannot work, before anything is written.
///
/// # Errors
/// The directory is missing, or the name is that of a directory.
pub fn check(destination: &Destination) -> Result<(), OutputError> {
    let Destination::File(path) = destination else { return Ok(()) };
    if path.is_dir() {
        return Err(OutputError::IsDirectory(path.clone()));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() {
        return Ok(());
    }
    Err(OutputError::DirectoryMissing(path.clone(), directory.display().to_string()))
}

/// Writes a file that only its owner may read: under a temporary name beside it, then synced, then renamed. A device
/// or FIFO is written in place: renaming would replace `/dev/null` by a file.
///
/// Each step is tried as the invoking user first: what that user may not write is written as root, if this process is that.
fn write_file(
    path: &Path,
    owner: Option<Owner>,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Written, OutputError> {
    let failed = |error: io::Error| classify(path, error);
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return Err(OutputError::IsDirectory(path.to_owned())),
        Ok(metadata) if !metadata.is_file() && !is_others_link(path) => {
            let file =
                user_first((), |()| open_in_place(path).map_err(|error| (error, ()))).map_err(failed)?;
            write_buffered(&file, content).map_err(failed)?;
            return Ok(Written::default());
        }
        _ => {}
    }
    // Created with O_EXCL and mode 0600; removed when dropped before `persist`.
    let create =
        |()| NamedTempFile::with_prefix_in(".profiler-", directory(path)).map_err(|error| (error, ()));
    let file = user_first((), create).map_err(failed)?;
    write_buffered(file.as_file(), content).map_err(failed)?;
    let owner_error = owner.and_then(|owner| give_to(file.as_file(), owner).err());
    file.as_file().sync_all().map_err(failed)?;
    user_first(file, |file| file.persist(path).map_err(|error| (error.error, error.file))).map_err(failed)?;
    sync_directory(path).map_err(failed)?;
    Ok(Written { owner_error })
}

/// Does something as the invoking user, if there is one, and by itself where that user is refused. What it is done with
/// comes back from a refusal.
fn user_first<I, T>(input: I, work: impl Fn(I) -> Result<T, (io::Error, I)>) -> io::Result<T> {
    let mut input = Some(input);
    let as_user = identity::as_invoking_user(|| input.take().map(&work));
    let left = match as_user.flatten() {
        Some(Ok(done)) => return Ok(done),
        Some(Err((error, left))) if error.kind() == io::ErrorKind::PermissionDenied => Some(left),
        Some(Err((error, _))) => return Err(error),
        None => input,
    };
    let left = left.ok_or_else(|| io::Error::other("nothing to write"))?;
    work(left).map_err(|(error, _)| error)
}

/// Nothing to do where the file was created as its owner.
fn give_to(file: &std::fs::File, Owner { uid, gid }: Owner) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.uid() == uid { Ok(()) } else { fchown(file, Some(uid), Some(gid)) }
}

/// Whether a path is a link that anyone may have made: what it leads to may be somebody else's. Such a link is replaced.
fn is_others_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) && anyone_may_write(directory(path))
}

fn anyone_may_write(directory: &Path) -> bool {
    directory.metadata().map_or(true, |metadata| metadata.mode() & 0o002 != 0)
}

/// Opens a device or FIFO. Where anyone may make such a thing, it must belong to the one who writes, or to the owner of the
/// directory.
fn open_in_place(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if !anyone_may_write(directory(path)) {
        return options.open(path);
    }
    let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
    let (found, directory) = (file.metadata()?, directory(path).metadata()?);
    let writer = Owner::from_environment().map_or(directory.uid(), |owner| owner.uid);
    let own = [writer, directory.uid(), rustix::process::geteuid().as_raw()].contains(&found.uid());
    if own && !found.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it belongs to another user, who could read it or may have created it"))
}

fn write_buffered(
    file: &std::fs::File,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(file);
    content(&mut out)?;
    out.flush()
}

/// Makes the rename last. Some file systems cannot sync a directory (`EINVAL`): then there is nothing to be done.
fn sync_directory(path: &Path) -> io::Result<()> {
    match std::fs::File::open(directory(path)).and_then(|directory| directory.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        // A directory may be writable and not readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn classify(path: &Path, error: io::Error) -> OutputError {
    let (path, directory) = (path.to_owned(), directory(path).display().to_string());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            OutputError::DirectoryMissing(path, directory)
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OutputError::NotWritable(path, directory, error)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OutputError::Full(path, error),
        _ => OutputError::File(path, error),
    }
}

#[cfg(test)]
mod tests;
