//! By what a file that was changed is distinguished from what it was.
//!
//! In: open files. Out: whether one is still what it was. A path that leads to another file by now is no matter here: a
//! descriptor leads to the same one. But its owner may write into it, or cut it short.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

/// What changes with the content of a file, as far as the kernel shows: by its tick, of at most 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// An open file, and what it was at some moment.
#[derive(Debug)]
pub struct Watched {
    file: File,
    stamp: Stamp,
}

impl Watched {
    /// From now on.
    pub fn new(file: File) -> io::Result<Self> {
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self { file, stamp })
    }

    /// From the moment at which the file was that.
    pub fn since(file: File, stamp: Stamp) -> Self {
        Self { file, stamp }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether what was read of it before, or is read now, may belong to another content.
    pub fn has_changed(&self) -> bool {
        self.file.metadata().map_or(true, |metadata| Stamp::of(&metadata) != self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut File), expected: bool) {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"content").expect("written");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("it is ours");
        let watched = Watched::new(file.try_clone().expect("a descriptor")).expect("its metadata");
        change(&mut file);
        assert_eq!(watched.has_changed(), expected);
    }

    #[test]
    fn a_file_that_was_read_is_what_it_was() {
        check(|file| drop(io::read_to_string(file)), false);
    }

    #[test]
    fn one_that_was_cut_is_not() {
        check(|file| file.set_len(1).expect("it is ours"), true);
    }

    #[test]
    fn one_of_the_same_length_is_not_either() {
        use std::os::unix::fs::FileExt;
        check(|file| file.write_all_at(b"another", 0).expect("it is ours"), true);
    }
}
