//! What the kernel says of the machine and of the target's control groups, read at both edges of a recording.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::host::monotonic_ns;
use crate::{
    process::read_text,
    recording::{CpuTime, Group, Machine, MemoryEvents, OtherProcess, Pressure},
};

/// Processes whose control groups are looked at: those of one service are in few.
const MOST_PROCESSES: usize = 16;
const MOST_GROUPS: usize = 64;
/// A network namespace may have tens of thousands of sockets, but it has few that listen, and they come first.
const MOST_SOCKETS: usize = 4096;
/// Processes whose CPU time is looked at, some 15 µs each, at both ends.
const MOST_LOOKED_AT: usize = 4096;
/// Those that are told.
const MOST_OTHERS: usize = 5;

/// What was read at the start.
pub struct MachineReads {
    at_ns: u64,
    cpu: Option<CpuTime>,
    pressure: Option<Pressure>,
    memory: Option<MemoryEvents>,
    groups: BTreeMap<String, (u64, Group)>,
    /// None until a process is known: a table of sockets may be long, so it is read once.
    listening_ports: Option<Vec<u16>>,
    allowed_cpus: Option<u32>,
    /// CPU time of each process.
    processes: BTreeMap<u32, u64>,
    mounts: Mounts,
}

/// Where control groups are mounted; empty where they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mounts {
    unified: PathBuf,
    cpu: PathBuf,
    memory: PathBuf,
}

impl MachineReads {
    /// Reads everything; control groups of the processes that are known now.
    pub fn now(tgids: &[u32]) -> Self {
        let mounts = Mounts::of(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        let mut reads = Self {
            at_ns: monotonic_ns(),
            cpu: read("/proc/stat", cpu_time),
            pressure: pressure(|what| fs::read_to_string(format!("/proc/pressure/{what}")).ok()),
            memory: read("/proc/vmstat", memory_events),
            groups: BTreeMap::new(),
            listening_ports: None,
            allowed_cpus: None,
            processes: cpu_of_processes().map(|(tgid, _, ns)| (tgid, ns)).collect(),
            mounts,
        };
        reads.look(tgids);
        reads
    }

    /// Looks for control groups that were not known: a process may have been moved.
    pub fn look(&mut self, tgids: &[u32]) {
        for tgid in tgids.iter().take(MOST_PROCESSES) {
            for path in Mounts::groups(&read_text(&format!("/proc/{tgid}/cgroup")).unwrap_or_default()) {
                if self.groups.len() < MOST_GROUPS && !self.groups.contains_key(&path) {
                    let group = self.mounts.read(&path);
                    self.groups.insert(path, (monotonic_ns(), group));
                }
            }
        }
        self.allowed_cpus = self.allowed_cpus.or_else(|| allowed_cpus(tgids));
        if let (Some(tgid), None) = (tgids.first(), &self.listening_ports) {
            self.listening_ports = Some(listening_ports(*tgid));
        }
    }

    /// Differences since then.
    pub fn since(&self, tgids: &[u32]) -> Machine {
        let elapsed_ns = monotonic_ns().saturating_sub(self.at_ns);
        let groups = self.groups.iter().map(|(path, (at_ns, before))| {
            let elapsed_ns = monotonic_ns().saturating_sub(*at_ns);
            group_since(before, &self.mounts.read(path), elapsed_ns)
        });
        Machine {
            cpu: self
                .cpu
                .zip(read("/proc/stat", cpu_time))
                .map(|(before, after)| cpu_since(before, after, elapsed_ns)),
            pressure: self
                .pressure
                .zip(pressure(|what| fs::read_to_string(format!("/proc/pressure/{what}")).ok()))
                .map(|(before, after)| pressure_since(before, after, elapsed_ns)),
            memory: self
                .memory
                .zip(read("/proc/vmstat", memory_events))
                .map(|(before, after)| memory_since(before, after)),
            allowed_cpus: allowed_cpus(tgids).or(self.allowed_cpus),
            groups: groups.collect(),
            listening_ports: self.listening_ports.clone().unwrap_or_default(),
            busiest_others: self.busiest_others(tgids),
        }
    }
}

impl MachineReads {
    /// The processes with the most CPU time since then that are neither recorded nor this one.
    fn busiest_others(&self, recorded: &[u32]) -> Vec<OtherProcess> {
        let own = std::process::id();
        let gained = cpu_of_processes().filter(|(tgid, _, _)| *tgid != own && !recorded.contains(tgid));
        let gained = gained.map(|(tgid, comm, ns)| {
            let before = self.processes.get(&tgid).copied().unwrap_or(0);
            OtherProcess { tgid, comm, cpu_ns: ns.saturating_sub(before) }
        });
        let mut others: Vec<_> = gained.filter(|other| other.cpu_ns > 0).collect();
        others.sort_by_key(|other| std::cmp::Reverse(other.cpu_ns));
        others.truncate(MOST_OTHERS);
        others
    }
}

/// Id, name and CPU time so far of each process.
fn cpu_of_processes() -> impl Iterator<Item = (u32, String, u64)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.take(MOST_LOOKED_AT).filter_map(|tgid| {
        let stat = read_text(&format!("/proc/{tgid}/stat")).ok()?;
        let (comm, ns) = cpu_of_process(&stat)?;
        Some((tgid, comm, ns))
    })
}

/// `pid (comm) state …`: user and system time are the 14th and 15th field, in clock ticks.
fn cpu_of_process(stat: &str) -> Option<(String, u64)> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(end + 1..)?.split_ascii_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    Some((stat.get(begin + 1..end)?.to_owned(), ticks.saturating_mul(tick_ns())))
}

fn read<T>(path: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    parse(&fs::read_to_string(path).ok()?)
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`, in clock ticks; guests are in user and nice already.
fn cpu_time(text: &str) -> Option<CpuTime> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = numbers.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let ns = |index: usize| ticks.get(index).copied().unwrap_or(0).saturating_mul(tick_ns());
    let busy = [0, 1, 2, 5, 6].map(ns).iter().fold(0_u64, |sum, ns| sum.saturating_add(*ns));
    (ticks.len() >= 4).then(|| CpuTime {
        elapsed_ns: 0,
        busy_ns: busy,
        idle_ns: ns(3),
        iowait_ns: ns(4),
        steal_ns: ns(7),
    })
}

fn tick_ns() -> u64 {
    // SAFETY: takes and returns numbers.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    1_000_000_000 / hz
}

/// `some avg10=0.00 avg60=0.62 avg300=1.69 total=114506037`, and a line `full` like it; microseconds.
fn pressure(file: impl Fn(&str) -> Option<String>) -> Option<Pressure> {
    let total = |text: &str, line: &str| {
        let line = text.lines().find_map(|text| text.strip_prefix(line))?;
        let total = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?;
        total.parse::<u64>().ok().map(|us| us.saturating_mul(1000))
    };
    let (cpu, io, memory) = (file("cpu")?, file("io")?, file("memory")?);
    Some(Pressure {
        elapsed_ns: 0,
        cpu_some_ns: total(&cpu, "some ")?,
        io_some_ns: total(&io, "some ")?,
        memory_some_ns: total(&memory, "some ")?,
        io_full_ns: total(&io, "full ").unwrap_or(0),
        memory_full_ns: total(&memory, "full ").unwrap_or(0),
    })
}

fn memory_events(text: &str) -> Option<MemoryEvents> {
    let number = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let sum = |names: &[&str]| names.iter().filter_map(|name| number(name)).fold(0, u64::saturating_add);
    Some(MemoryEvents {
        scanned_directly: number("pgscan_direct")?,
        swapped_in: sum(&["pswpin"]),
        swapped_out: sum(&["pswpout"]),
        refaults: sum(&["workingset_refault_file", "workingset_refault_anon", "workingset_refault"]),
        dirty_pages: sum(&["nr_dirty", "nr_writeback"]),
        dirty_limit_pages: sum(&["nr_dirty_threshold"]),
    })
}

fn cpu_since(before: CpuTime, after: CpuTime, elapsed_ns: u64) -> CpuTime {
    CpuTime {
        elapsed_ns,
        busy_ns: after.busy_ns.saturating_sub(before.busy_ns),
        idle_ns: after.idle_ns.saturating_sub(before.idle_ns),
        iowait_ns: after.iowait_ns.saturating_sub(before.iowait_ns),
        steal_ns: after.steal_ns.saturating_sub(before.steal_ns),
    }
}

fn pressure_since(before: Pressure, after: Pressure, elapsed_ns: u64) -> Pressure {
    Pressure {
        elapsed_ns,
        cpu_some_ns: after.cpu_some_ns.saturating_sub(before.cpu_some_ns),
        io_some_ns: after.io_some_ns.saturating_sub(before.io_some_ns),
        memory_some_ns: after.memory_some_ns.saturating_sub(before.memory_some_ns),
        io_full_ns: after.io_full_ns.saturating_sub(before.io_full_ns),
        memory_full_ns: after.memory_full_ns.saturating_sub(before.memory_full_ns),
    }
}

fn memory_since(before: MemoryEvents, after: MemoryEvents) -> MemoryEvents {
    MemoryEvents {
        scanned_directly: after.scanned_directly.saturating_sub(before.scanned_directly),
        swapped_in: after.swapped_in.saturating_sub(before.swapped_in),
        swapped_out: after.swapped_out.saturating_sub(before.swapped_out),
        refaults: after.refaults.saturating_sub(before.refaults),
        ..after
    }
}

fn group_since(before: &Group, after: &Group, elapsed_ns: u64) -> Group {
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

impl Mounts {
    /// `41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`
    fn of(mountinfo: &str) -> Self {
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
    fn groups(of_process: &str) -> Vec<String> {
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
    fn read(&self, path: &str) -> Group {
        let below = path.trim_start_matches('/');
        let file = |mount: &PathBuf, name: &str| {
            if mount.as_os_str().is_empty() {
                None
            } else {
                fs::read_to_string(mount.join(below).join(name)).ok()
            }
        };
        let unified = |name: &str| file(&self.unified, name);
        let mut group = Group { path: path.to_owned(), ..Group::default() };
        let stat = unified("cpu.stat")
            .filter(|text| text.contains("nr_periods"))
            .or_else(|| file(&self.cpu, "cpu.stat"));
        if let Some(stat) = stat {
            group.periods = field(&stat, "nr_periods");
            group.throttled_periods = field(&stat, "nr_throttled");
            // Microseconds in version 2, nanoseconds in version 1.
            group.throttled_ns = 1000 * field(&stat, "throttled_usec") + field(&stat, "throttled_time");
        }
        let quota = file(&self.cpu, "cpu.cfs_quota_us").zip(file(&self.cpu, "cpu.cfs_period_us"));
        let quota = quota.map(|(quota, period)| format!("{} {}", quota.trim(), period.trim()));
        group.cpu_limit = unified("cpu.max").or(quota).and_then(|text| cpu_limit(&text));
        let limits =
            [unified("memory.max"), unified("memory.high"), file(&self.memory, "memory.limit_in_bytes")];
        group.memory_limit_bytes = limits.into_iter().flatten().filter_map(|text| memory_limit(&text)).min();
        let used = unified("memory.current").or_else(|| file(&self.memory, "memory.usage_in_bytes"));
        group.memory_bytes = used.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let hits =
            file(&self.memory, "memory.failcnt").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let events = unified("memory.events").unwrap_or_default();
        group.memory_limit_hits = hits + field(&events, "high") + field(&events, "max");
        let control = file(&self.memory, "memory.oom_control").unwrap_or_default();
        group.oom_kills = field(&events, "oom_kill") + field(&control, "oom_kill");
        group.pressure = pressure(|what| unified(&format!("{what}.pressure")));
        group
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

/// Number of CPUs on which the processes may run, if it is the same for all.
fn allowed_cpus(tgids: &[u32]) -> Option<u32> {
    let mut counts = tgids.iter().take(MOST_PROCESSES).filter_map(|tgid| {
        let status = read_text(&format!("/proc/{tgid}/status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        cpu_count(list.trim())
    });
    let first = counts.next()?;
    counts.all(|count| count == first).then_some(first)
}

/// `0-3,8`
fn cpu_count(list: &str) -> Option<u32> {
    list.split(',').try_fold(0_u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Ports on which somebody listens, as a process's network namespace shows them.
fn listening_ports(tgid: u32) -> Vec<u16> {
    let mut ports: Vec<u16> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| read_text(&format!("/proc/{tgid}/net/{table}")).ok())
        .flat_map(|text| {
            text.lines().skip(1).take(MOST_SOCKETS).filter_map(listening_port).collect::<Vec<_>>()
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// `0: 0100007F:1538 00000000:0000 0A …`: number, local and remote address, state (`TCP_LISTEN` is 10).
fn listening_port(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (words.next()?, words.next()?, words.next()?);
    let (_, port) = local.rsplit_once(':')?;
    if state == "0A" { u16::from_str_radix(port, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_told_apart() {
        let time = cpu_time("cpu  100 1 50 800 20 3 4 5 90 0\ncpu0 1 2 3 4\n").expect("a line");
        let tick = tick_ns();
        assert_eq!((time.busy_ns, time.idle_ns), (158 * tick, 800 * tick));
        assert_eq!((time.iowait_ns, time.steal_ns), (20 * tick, 5 * tick));
    }

    #[test]
    fn a_processs_cpu_time_stands_behind_a_name_that_may_hold_anything() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194560 111 222 33 44 5 6 7 8 20 0 1 0 9";
        assert_eq!(cpu_of_process(stat), Some(("a) b".to_owned(), 11 * tick_ns())));
        assert_eq!(cpu_of_process("7 (a"), None);
    }

    #[test]
    fn pressure_is_in_microseconds() {
        let text = "some avg10=0.00 avg60=0.62 avg300=1.69 total=114\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let found = pressure(|_| Some(text.to_owned())).expect("pressure");
        assert_eq!((found.io_some_ns, found.memory_full_ns), (114_000, 7_000));
        assert_eq!(pressure(|_| None), None);
    }

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

    #[test]
    fn ports_are_those_of_listening_sockets() {
        let listening = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1";
        assert_eq!(listening_port(listening), Some(0x1538));
        assert_eq!(listening_port(&listening.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening_port("nonsense"), None);
    }

    #[test]
    fn cpus_are_counted_from_their_list() {
        assert_eq!(
            [cpu_count("0-3,8"), cpu_count("5"), cpu_count("3-1"), cpu_count("")],
            [Some(5), Some(1), None, None]
        );
    }

    #[test]
    fn this_machine_can_be_read() {
        let reads = MachineReads::now(&[std::process::id()]);
        let machine = reads.since(&[std::process::id()]);
        assert!(machine.cpu.is_some() && machine.memory.is_some() && machine.allowed_cpus.is_some());
    }
}
