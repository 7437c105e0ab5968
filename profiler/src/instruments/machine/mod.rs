//! What the kernel says of the machine and of the target's control groups, read at the end of each window.

mod cpus;
mod groups;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Instant,
};

use cpus::{CpuReads, allowed_cpus, tick_ns};
use groups::{Mounts, group_since};

use super::{About, Instrument, Reading};
use crate::host::monotonic_ns;
use crate::{
    collect::Cut,
    kernel::{Kernel, Object},
    process::read_text,
};
use profiler_report::recording::{Group, InstrumentId, Machine, MemoryEvents, OtherProcess, Pressure};

/// Processes whose control groups are looked at: those of one service are in few.
const MOST_PROCESSES: usize = 16;
const MOST_GROUPS: usize = 64;
/// A network namespace may have tens of thousands of sockets, but it has few that listen, and they come first.
const MOST_SOCKETS: usize = 4096;
/// Processes whose CPU time is looked at, some 15 µs each.
const MOST_LOOKED_AT: usize = 4096;
/// Those of a window that are kept. A report shows the first five of all its windows.
const MOST_OTHERS: usize = 20;
/// Looking at the processes may take one part in this number of one CPU, and the files that are slow to read another: 150
/// processes take 2 ms, and so are looked at each 10 s.
const SPARSITY: u32 = 5000;

/// What it is. It attaches nothing.
pub const ABOUT: About = About { id: InstrumentId::Machine, flag: None, probe: None };

impl Instrument for MachineReads {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// When all else is attached: that takes time.
    fn attach(&mut self, _: &mut Object) -> anyhow::Result<()> {
        *self = Self::now();
        Ok(())
    }

    fn each_second(&mut self, _: &mut Kernel, tgids: &[u32]) -> anyhow::Result<()> {
        self.look(tgids);
        Ok(())
    }

    fn cut(&mut self, reading: &mut Reading<'_>, cut: &mut Cut) -> anyhow::Result<()> {
        cut.machine = self.since(&reading.collector.processes(), reading.is_last);
        Ok(())
    }
}

/// What was read at the end of the last window, or some windows ago.
pub struct MachineReads {
    at_ns: u64,
    cpu: Option<CpuReads>,
    pressure: Option<Pressure>,
    memory: Option<MemoryEvents>,
    groups: BTreeMap<String, (u64, Group)>,
    /// None until a process is known: a table of sockets may be long, so it is read once.
    listening_ports: Option<Vec<u16>>,
    allowed_cpus: Option<BTreeSet<u32>>,
    /// CPU time of each process, and when it is read next.
    processes: BTreeMap<u32, u64>,
    next_processes: Instant,
    /// When pressure, memory and control groups are read next: four files, and half a dozen for each group.
    next_slow: Instant,
    slow_at_ns: u64,
    mounts: Mounts,
}

impl MachineReads {
    /// Reads everything but what belongs to processes: of them none is known yet.
    fn now() -> Self {
        let mut reads = Self {
            at_ns: monotonic_ns(),
            slow_at_ns: monotonic_ns(),
            cpu: CpuReads::now(),
            pressure: pressure_now(),
            memory: read("/proc/vmstat", memory_events),
            mounts: Mounts::of(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            ..Self::new()
        };
        reads.others(&[]);
        reads
    }

    /// Nothing read yet.
    pub(super) fn new() -> Self {
        Self {
            at_ns: 0,
            cpu: None,
            pressure: None,
            memory: None,
            groups: BTreeMap::new(),
            listening_ports: None,
            allowed_cpus: None,
            processes: BTreeMap::new(),
            next_processes: Instant::now(),
            next_slow: Instant::now(),
            slow_at_ns: 0,
            mounts: Mounts::of(""),
        }
    }

    /// Looks for control groups that were not known: a process may have been moved.
    pub fn look(&mut self, tgids: &[u32]) {
        for tgid in few(tgids) {
            for path in Mounts::groups(&read_text(&format!("/proc/{tgid}/cgroup")).unwrap_or_default()) {
                if self.groups.len() < MOST_GROUPS && !self.groups.contains_key(&path) {
                    let group = self.mounts.read(&path);
                    self.groups.insert(path, (monotonic_ns(), group));
                }
            }
        }
        if self.allowed_cpus.is_none() {
            self.allowed_cpus = allowed_cpus(few(tgids));
        }
        if let (Some(tgid), None) = (tgids.first(), &self.listening_ports) {
            self.listening_ports = Some(listening_ports(*tgid));
        }
    }

    /// Differences since the last cut. Other processes are looked at sometimes, and at the last one.
    fn since(&mut self, tgids: &[u32], is_last: bool) -> Machine {
        let now = monotonic_ns();
        let elapsed_ns = now.saturating_sub(std::mem::replace(&mut self.at_ns, now));
        let allowed = allowed_cpus(few(tgids)).or_else(|| self.allowed_cpus.clone());
        let cpu = self.cpu.take().zip(CpuReads::now());
        let is_due = is_last || Instant::now() >= self.next_slow;
        let slow = if is_due { self.slow_since(now) } else { Machine::default() };
        let machine = Machine {
            cpu: cpu.as_ref().map(|(before, after)| after.since(before, elapsed_ns)),
            allowed_cpu: cpu
                .as_ref()
                .zip(allowed.as_ref())
                .map(|((before, after), allowed)| after.since_on(allowed, before, elapsed_ns)),
            allowed_cpus: allowed.map(|cpus| cpus.len() as u32),
            listening_ports: self.listening_ports.clone().unwrap_or_default(),
            ..slow
        };
        self.cpu = cpu.map(|(_, after)| after);
        let is_due = is_last || Instant::now() >= self.next_processes;
        Machine { busiest_others: if is_due { self.others(tgids) } else { vec![] }, ..machine }
    }

    /// Differences of what takes longer to read, since it was read last.
    fn slow_since(&mut self, now_ns: u64) -> Machine {
        let began = Instant::now();
        let elapsed_ns = now_ns.saturating_sub(std::mem::replace(&mut self.slow_at_ns, now_ns));
        let pressures = self.pressure.take().zip(pressure_now());
        let memories = self.memory.take().zip(read("/proc/vmstat", memory_events));
        let slow = Machine {
            pressure: pressures.map(|(before, after)| pressure_since(before, after, elapsed_ns)),
            memory: memories.map(|(before, after)| memory_since(before, after)),
            groups: self.groups_since(now_ns),
            ..Machine::default()
        };
        self.pressure = pressures.map(|(_, after)| after);
        self.memory = memories.map(|(_, after)| after);
        let now = Instant::now();
        self.next_slow = now + (now - began) * SPARSITY;
        slow
    }

    /// Differences of the control groups since they were read last.
    fn groups_since(&mut self, now_ns: u64) -> Vec<Group> {
        let groups = self.groups.iter_mut().map(|(path, (at_ns, before))| {
            let elapsed_ns = now_ns.saturating_sub(std::mem::replace(at_ns, now_ns));
            let after = self.mounts.read(path);
            group_since(&std::mem::replace(before, after.clone()), &after, elapsed_ns)
        });
        groups.collect()
    }

    /// The processes with the most CPU time since the last look that are neither recorded nor this one.
    fn others(&mut self, recorded: &[u32]) -> Vec<OtherProcess> {
        let began = Instant::now();
        let own = std::process::id();
        let before = std::mem::take(&mut self.processes);
        let mut others = vec![];
        for (tgid, comm, ns) in cpu_of_processes() {
            self.processes.insert(tgid, ns);
            let cpu_ns = ns.saturating_sub(before.get(&tgid).copied().unwrap_or(0));
            if cpu_ns > 0 && tgid != own && !recorded.contains(&tgid) {
                others.push(OtherProcess { tgid, comm, cpu_ns });
            }
        }
        others.sort_by_key(|other| std::cmp::Reverse(other.cpu_ns));
        others.truncate(MOST_OTHERS);
        let now = Instant::now();
        self.next_processes = now + (now - began) * SPARSITY;
        others
    }
}

fn few(tgids: &[u32]) -> &[u32] {
    tgids.get(..MOST_PROCESSES).unwrap_or(tgids)
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

fn pressure_now() -> Option<Pressure> {
    pressure(|what| read_text(&format!("/proc/pressure/{what}")).ok())
}

fn read<T>(path: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    parse(&read_text(path).ok()?)
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
    fn ports_are_those_of_listening_sockets() {
        let listening = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1";
        assert_eq!(listening_port(listening), Some(0x1538));
        assert_eq!(listening_port(&listening.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening_port("nonsense"), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut reads = MachineReads::now();
        reads.look(&[std::process::id()]);
        let machine = reads.since(&[std::process::id()], true);
        assert!(machine.cpu.is_some() && machine.memory.is_some() && machine.allowed_cpus.is_some());
    }
}
