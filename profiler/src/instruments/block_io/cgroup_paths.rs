//! Paths of cgroups by their kernel ids, which are the inodes of their directories.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Directories that are looked at: a machine with more has cgroups without a path in the report.
const MOST_DIRECTORIES: usize = 8192;

/// Where cgroups are mounted: version 2, or the controller of block devices of version 1.
const MOUNTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/blkio"];

/// The paths of some cgroups.
pub struct CgroupPaths(HashMap<u64, String>);

impl CgroupPaths {
    /// Looks for these ids; reads nothing if there are none.
    pub fn of(ids: impl Iterator<Item = u64>) -> Self {
        let wanted: HashSet<u64> = ids.collect();
        let mut found = HashMap::new();
        let mut left = MOST_DIRECTORIES;
        for mount in MOUNTS.map(Path::new) {
            if found.len() < wanted.len() {
                search(mount, &wanted, &mut left, &mut found);
            }
        }
        Self(found)
    }

    /// Path below the mount point, beginning with `/`.
    pub fn path(&self, id: u64) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }
}

fn search(mount: &Path, wanted: &HashSet<u64>, left: &mut usize, found: &mut HashMap<u64, String>) {
    let Ok(root) = fs::metadata(mount) else { return };
    let mut take = |inode: u64, path: &Path| {
        if wanted.contains(&inode) {
            let below = path.strip_prefix(mount).unwrap_or(path);
            found.entry(inode).or_insert_with(|| format!("/{}", below.display()));
        }
    };
    take(root.ino(), mount);
    let mut directories: Vec<PathBuf> = vec![mount.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if *left == 0 {
                return;
            }
            *left -= 1;
            take(entry.ino(), &entry.path());
            directories.push(entry.path());
        }
    }
}
