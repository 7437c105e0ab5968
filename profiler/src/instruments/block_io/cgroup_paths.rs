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

/// The paths of the cgroups that were asked for so far; none for one that was not found. A kernel uses each id once.
#[derive(Default)]
pub struct CgroupPaths(HashMap<u64, Option<String>>);

impl CgroupPaths {
    /// Looks for those of these ids that are new: through all directories, which takes long.
    pub fn look_for(&mut self, ids: impl Iterator<Item = u64>) {
        let wanted: HashSet<u64> = ids.filter(|id| !self.0.contains_key(id)).collect();
        let mut found = HashMap::new();
        let mut left = MOST_DIRECTORIES;
        for mount in MOUNTS.map(Path::new) {
            if found.len() < wanted.len() {
                search(mount, &wanted, &mut left, &mut found);
            }
        }
        self.0.extend(wanted.into_iter().map(|id| (id, found.remove(&id))));
    }

    /// Path below the mount point, beginning with `/`.
    pub fn path(&self, id: u64) -> Option<&str> {
        self.0.get(&id)?.as_deref()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_for_once_is_known_found_or_not() {
        let mount = MOUNTS.map(Path::new).into_iter().find_map(|mount| fs::metadata(mount).ok());
        // Where no cgroups are mounted, there is nothing to find.
        let Some(root) = mount.map(|root| root.ino()) else { return };
        let mut paths = CgroupPaths::default();
        paths.look_for([root, u64::MAX].into_iter());
        assert_eq!((paths.path(root), paths.path(u64::MAX)), (Some("/"), None));
        assert_eq!(paths.0.len(), 2);
        paths.look_for([root, u64::MAX].into_iter());
        assert_eq!(paths.path(root), Some("/"));
    }
}
