//! tracefs, through which the kernel tells the numbers of its classic tracepoints.

use std::fs;

use anyhow::Result;

use crate::command;

const MOUNT_POINT: &str = "/sys/kernel/tracing";

/// Mounts tracefs where it is missing. A machine that forbids it can still build, so that is only told.
pub fn ensure() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if is_mounted(&mounts) {
        return;
    }
    eprintln!("xtask: mounting tracefs at {MOUNT_POINT}: without it classic tracepoints cannot be attached");
    if let Err(error) = mount() {
        eprintln!("xtask: going on without tracefs: {error:#}");
    }
}

fn mount() -> Result<()> {
    let mut mount = command::as_root("mount", "to mount tracefs")?;
    command::run(mount.args(["-t", "tracefs", "tracefs", MOUNT_POINT]))
}

/// Takes the text of `/proc/self/mounts`: `DEVICE PLACE TYPE OPTIONS 0 0` a line. The folder itself is readable by
/// root only, so looking into it would not tell.
fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(MOUNT_POINT) && words.next() == Some("tracefs")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mounts: &str, expected: bool) {
        assert_eq!(is_mounted(mounts), expected);
    }

    #[test]
    fn tracefs_at_its_usual_place_is_found() {
        check("sysfs /sys sysfs rw 0 0\nnone /sys/kernel/tracing tracefs rw 0 0\n", true);
    }

    #[test]
    fn tracefs_below_debugfs_does_not_count() {
        check("tracefs /sys/kernel/debug/tracing tracefs rw 0 0\n", false);
    }

    #[test]
    fn another_file_system_at_the_place_does_not_count() {
        check("tmpfs /sys/kernel/tracing tmpfs rw 0 0\n", false);
    }
}
