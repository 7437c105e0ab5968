//! A cgroup as a target: its kernel id, its depth, and the threads that are in it or below it now.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// `CGROUP2_SUPER_MAGIC` (include/uapi/linux/magic.h).
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// A cgroup of the version 2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The kernel's id: the inode of its directory.
    pub id: u64,
    /// Depth below the root.
    pub level: u32,
    path: PathBuf,
}

/// Why a path is no cgroup that can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error(
        "cannot open the cgroup {path}\n  try: a directory below {mount}, as `systemd-cgls` or /proc/PID/cgroup names it"
    )]
    Missing {
        path: String,
        mount: String,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not in a cgroup version 2 hierarchy\n  try: a directory below {mount}")]
    NotVersion2 { path: String, mount: String },
    #[error("no cgroup version 2 hierarchy is mounted\n  try: mount -t cgroup2 none /sys/fs/cgroup")]
    NotMounted,
}

impl Cgroup {
    /// Opens a cgroup by its directory, or by its path below the mount point of the hierarchy.
    pub fn open(path: &Path) -> Result<Self, CgroupError> {
        let mount = mount_of_version_2().ok_or(CgroupError::NotMounted)?;
        let shown = mount.display().to_string();
        let below = mount.join(path.strip_prefix("/").unwrap_or(path));
        let chosen = if !path.starts_with(&mount) && below.is_dir() { below } else { path.to_owned() };
        let path = chosen.canonicalize().map_err(|source| CgroupError::Missing {
            path: chosen.display().to_string(),
            mount: shown.clone(),
            source,
        })?;
        let not_version_2 =
            || CgroupError::NotVersion2 { path: path.display().to_string(), mount: shown.clone() };
        if file_system_magic(&path) != Some(CGROUP2_SUPER_MAGIC) {
            return Err(not_version_2());
        }
        let depth = path.strip_prefix(&mount).map_err(|_| not_version_2())?.components().count();
        let inode = path.metadata().map_err(|source| CgroupError::Missing {
            path: path.display().to_string(),
            mount: shown.clone(),
            source,
        })?;
        Ok(Self { id: inode.ino(), level: depth as u32, path })
    }

    /// Ids of all processes (`cgroup.procs`) or threads (`cgroup.threads`) in it and below it. Cgroups that vanish
    /// meanwhile have none.
    pub fn members(&self, file: &str) -> Vec<u32> {
        let mut ids = vec![];
        let mut open = vec![self.path.clone()];
        while let Some(directory) = open.pop() {
            let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
            ids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            open.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        ids
    }
}

/// Where the version 2 hierarchy is mounted.
pub fn mount_of_version_2() -> Option<PathBuf> {
    mount_point(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn file_system_magic(path: &Path) -> Option<i64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: an all-zero `statfs` is valid; the call fills it.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    (unsafe { libc::statfs(path.as_ptr(), &raw mut info) } == 0).then_some(info.f_type)
}

/// `36 25 0:31 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw`: the fifth field of the line whose type is cgroup2.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_cgroup2 = after.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_that_of_version_2() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n\
                      31 23 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("30 23 0:26 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn a_directory_elsewhere_is_refused() {
        let error = Cgroup::open(Path::new("/proc")).unwrap_err();
        assert!(matches!(error, CgroupError::NotVersion2 { .. } | CgroupError::NotMounted), "{error}");
    }
}
