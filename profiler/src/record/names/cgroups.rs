//! Services of systemd, by the directories of their cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{NameError, only};
use crate::record::cgroup::mount_of_version_2;

/// Directories that are looked at. A machine with more needs a path.
const MOST_DIRECTORIES: usize = 65_536;

/// The cgroup of a unit: `nginx.service`, or `nginx` for that.
///
/// # Errors
/// It has none, or several.
pub fn unit(name: &str) -> Result<PathBuf, NameError> {
    let Some(mount) = mount_of_version_2() else { return Err(NameError::NoUnit(name.to_owned())) };
    let directory = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
    only(name, directories(&mount, |found| found == directory), NameError::NoUnit)
}

/// Directories below `root` whose name fits. Not those below one that fits: they are part of it.
pub fn directories(root: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let (mut found, mut open, mut left) = (vec![], vec![root.to_owned()], MOST_DIRECTORIES);
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if left == 0 {
                return found;
            }
            left -= 1;
            if entry.file_name().to_str().is_some_and(&fits) {
                found.push(entry.path());
            } else {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_found_below_others_and_its_own_are_part_of_it() {
        let root = tempfile::tempdir().expect("a folder");
        for path in ["system.slice/a.service/inner/a.service", "user.slice/b.service"] {
            fs::create_dir_all(root.path().join(path)).expect("a folder");
        }
        let found = |name: &str| directories(root.path(), |directory| directory == name);
        assert_eq!(found("a.service"), [root.path().join("system.slice/a.service")]);
        assert_eq!(found("c.service"), [] as [PathBuf; 0]);
    }
}
