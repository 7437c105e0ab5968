//! Control groups of the target's processes: their limits, and how often those were met.

use std::path::PathBuf;

use super::{pressure, pressure_since};
use crate::process::read_text;
use profiler_report::recording::Group;

/// Where control groups are mounted; empty where they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    unified: PathBuf,
    cpu: PathBuf,
    memory: PathBuf,
}

impl Mounts {
    /// `41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`
    pub fn of(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut right = right.split_ascii_whitespace();
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            let Some(path) = left.split_ascii_whitespace().nth(4).map(PathBuf::from) else { continue };
            let has = |controller: &str| options.split(',').any(|option| option == controller);
            match kind {
                Some("cgroup2") => mounts.unified = path,
                Some("cgroup") if has("cpu") => mounts.cpu = path,
                Some("cgroup") if has("memory") => mounts.memory = path,
                _ => {}
            }
        }
        mounts
    }

    /// The groups of a process and their ancestors, but the roots, which have no limits.
    pub fn groups(of_process: &str) -> Vec<String> {
        let mut paths = vec![];
        for line in of_process.lines() {
            let mut words = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let is_of_interest = controllers.is_empty()
                || controllers.split(',').any(|name| name == "cpu" || name == "memory");
            let mut path = path.trim_end_matches('/');
            while is_of_interest && !path.is_empty() {
                paths.push(path.to_owned());
                path = path.rfind('/').map_or("", |at| &path[..at]);
            }
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// Reads a group in the hierarchies in which it is.
    pub fn read(&self, path: &str) -> Group {
        let below = path.trim_start_matches('/');
        // Most groups are in some of the hierarchies, and a file that is missing costs as much as one that is read.
        let folder = |mount: &PathBuf| {
            (!mount.as_os_str().is_empty()).then(|| mount.join(below)).filter(|folder| folder.is_dir())
        };
        let (unified, cpu, memory) = (folder(&self.unified), folder(&self.cpu), folder(&self.memory));
        let file =
            |folder: &Option<PathBuf>, name: &str| read_text(folder.as_ref()?.join(name).to_str()?).ok();
        let unified = |name: &str| file(&unified, name);
        let mut group = Group { path: path.to_owned(), ..Group::default() };
        let stat =
            unified("cpu.stat").filter(|text| text.contains("nr_periods")).or_else(|| file(&cpu, "cpu.stat"));
        if let Some(stat) = stat {
            group.periods = field(&stat, "nr_periods");
            group.throttled_periods = field(&stat, "nr_throttled");
            // Microseconds in version 2, nanoseconds in version 1.
            group.throttled_ns = 1000 * field(&stat, "throttled_usec") + field(&stat, "throttled_time");
        }
        let quota = file(&cpu, "cpu.cfs_quota_us").zip(file(&cpu, "cpu.cfs_period_us"));
        let quota = quota.map(|(quota, period)| format!("{} {}", quota.trim(), period.trim()));
        group.cpu_limit = unified("cpu.max").or(quota).and_then(|text| cpu_limit(&text));
        let limits = [unified("memory.max"), unified("memory.high"), file(&memory, "memory.limit_in_bytes")];
        group.memory_limit_bytes = limits.into_iter().flatten().filter_map(|text| memory_limit(&text)).min();
        let used = unified("memory.current").or_else(|| file(&memory, "memory.usage_in_bytes"));
        group.memory_bytes = used.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let hits = file(&memory, "memory.failcnt").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let events = unified("memory.events").unwrap_or_default();
        group.memory_limit_hits = hits + field(&events, "high") + field(&events, "max");
        let control = file(&memory, "memory.oom_control").unwrap_or_default();
        group.oom_kills = field(&events, "oom_kill") + field(&control, "oom_kill");
        group.pressure = pressure(|what| unified(&format!("{what}.pressure")));
        group
    }
}

/// Differences.
pub fn group_since(before: &Group, after: &Group, elapsed_ns: u64) -> Group {
    Group {
        elapsed_ns,
        periods: after.periods.saturating_sub(before.periods),
        throttled_periods: after.throttled_periods.saturating_sub(before.throttled_periods),
        throttled_ns: after.throttled_ns.saturating_sub(before.throttled_ns),
        memory_limit_hits: after.memory_limit_hits.saturating_sub(before.memory_limit_hits),
        oom_kills: after.oom_kills.saturating_sub(before.oom_kills),
        pressure: before
            .pressure
            .zip(after.pressure)
            .map(|(before, after)| pressure_since(before, after, elapsed_ns)),
        ..after.clone()
    }
}

/// A line `name number`; 0 if there is none.
fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// `50000 100000`: so many microseconds in each period of so many; `max` or -1 without a limit.
fn cpu_limit(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let quota: f64 = words.next()?.parse().ok().filter(|&quota| quota > 0.0)?;
    let period: f64 = words.next()?.parse().ok().filter(|&period| period > 0.0)?;
    Some(quota / period)
}

/// Bytes; `max`, or a number near the largest (version 1), without a limit.
fn memory_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_found_in_both_versions() {
        assert_eq!(cpu_limit("50000 100000\n"), Some(0.5));
        assert_eq!(cpu_limit("max 100000\n"), None);
        assert_eq!(cpu_limit("-1 100000"), None);
        assert_eq!(memory_limit("1048576\n"), Some(1 << 20));
        assert_eq!(memory_limit("max\n"), None);
        assert_eq!(memory_limit("9223372036854771712\n"), None);
    }

    #[test]
    fn a_processs_groups_have_their_ancestors_and_no_root() {
        let text = "4:memory:/a/b\n2:cpuacct:/x\n1:cpu:/\n0::/a/c\n";
        assert_eq!(Mounts::groups(text), ["/a", "/a/b", "/a/c"]);
    }

    #[test]
    fn mounts_are_told_by_their_kind() {
        let text = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    35 31 0:32 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let mounts = Mounts::of(text);
        assert_eq!(mounts.unified, PathBuf::from("/sys/fs/cgroup/unified"));
        assert_eq!(mounts.cpu, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mounts.memory, PathBuf::from("/sys/fs/cgroup/memory"));
    }
}
