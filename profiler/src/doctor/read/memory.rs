//! The memory that is left on the machine, and in each cgroup that this process is in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::super::Room;

/// A hierarchy has fewer levels than this.
const MOST_LEVELS: usize = 64;

/// Names of the files of one version of cgroups.
struct Version {
    /// In the last fields of a line of `mountinfo`.
    mount: &'static str,
    option: &'static str,
    /// The second field of a line of `/proc/self/cgroup`.
    controller: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`: pages of files that the kernel would drop first.
    droppable: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        mount: "cgroup2",
        option: "",
        controller: "",
        limit: "memory.max",
        usage: "memory.current",
        droppable: "inactive_file",
    },
    Version {
        mount: "cgroup",
        option: "memory",
        controller: "memory",
        limit: "memory.limit_in_bytes",
        usage: "memory.usage_in_bytes",
        droppable: "total_inactive_file",
    },
];

/// The least of all.
pub fn room(mounts: &str) -> Option<Room> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = available(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    let machine = machine.map(|bytes| Room { bytes, cgroup: None });
    let groups = VERSIONS.iter().filter_map(|version| least(version, mounts, &own));
    groups.chain(machine).min_by_key(|room| room.bytes)
}

/// The least of a process's cgroup and those above it.
fn least(version: &Version, mounts: &str, own: &str) -> Option<Room> {
    let (mount, group) = (mount_point(version, mounts)?, own_group(version.controller, own)?);
    // In a namespace of its own, a process's path may lie outside of what is mounted.
    let start = mount.join(group.strip_prefix('/').unwrap_or(group));
    let start = if start.is_dir() { start } else { mount.clone() };
    let levels = start.ancestors().take(MOST_LEVELS).take_while(|path| path.starts_with(&mount));
    let rooms = levels.filter_map(|path| {
        let name = path.strip_prefix(&mount).ok()?;
        Some(Room { bytes: room_in(version, path)?, cgroup: Some(format!("/{}", name.display())) })
    });
    rooms.min_by_key(|room| room.bytes)
}

fn room_in(version: &Version, path: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
    left(&read(version.limit), &read(version.usage), &read("memory.stat"), version.droppable)
}

/// `max` in version 2, and in version 1 a number beyond all memory, are no limit.
fn left(limit: &str, usage: &str, stat: &str, droppable: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let usage: u64 = usage.trim().parse().ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix(droppable)?.strip_prefix(' '));
    let droppable: u64 = line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(droppable)))
}

/// `MemAvailable:     123 kB` in `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// `36 25 0:31 / /sys/fs/cgroup rw - cgroup cgroup rw,memory`: the fifth field.
fn mount_point(version: &Version, mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = after.split(' ');
        let is_type = fields.next() == Some(version.mount);
        let options = fields.next_back()?;
        let has = version.option.is_empty() || options.split(',').any(|option| option == version.option);
        (is_type && has).then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// `4:memory:/a/b`, or `0::/a/b` of version 2.
fn own_group<'a>(controller: &str, own: &'a str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_the_kernel_would_drop_are_left() {
        let stat = "anon 300\ninactive_file 200\nactive_file 100\n";
        assert_eq!(left("1000\n", "700\n", stat, "inactive_file"), Some(500));
        assert_eq!(left("max\n", "700\n", stat, "inactive_file"), None);
        assert_eq!(left("1000\n", "2000\n", "", "inactive_file"), Some(0));
        assert_eq!(left("", "", "", "inactive_file"), None);
    }

    #[test]
    fn the_machine_tells_what_is_available_in_kilobytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:     123 kB\n"), Some(125_952));
    }

    #[test]
    fn each_version_is_found_by_its_mount_and_its_line() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let [two, one] = &VERSIONS;
        assert_eq!(mount_point(two, mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point(one, mounts), Some("/sys/fs/cgroup/memory".into()));
        let own = "5:cpu,memory:/one\n0::/two\n";
        assert_eq!((own_group("memory", own), own_group("", own)), (Some("/one"), Some("/two")));
    }
}
