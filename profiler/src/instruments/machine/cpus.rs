//! What `/proc/stat` says of CPUs, of all together and of those on which the target may run.

use std::collections::{BTreeMap, BTreeSet};

use crate::{host::thread_cpus, process::read_text};
use profiler_report::recording::CpuTime;

/// CPU time so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuReads {
    all: CpuTime,
    each: BTreeMap<u32, CpuTime>,
}

impl CpuReads {
    /// None if it cannot be read.
    pub fn now() -> Option<Self> {
        Self::of(&read_text("/proc/stat").ok()?)
    }

    /// A line for all CPUs, and one for each that is online.
    fn of(stat: &str) -> Option<Self> {
        let all = cpu_time(stat.lines().next()?.strip_prefix("cpu ")?)?;
        let lines = stat.lines().skip(1).map_while(|line| line.strip_prefix("cpu")?.split_once(' '));
        let each = lines.filter_map(|(cpu, numbers)| Some((cpu.parse().ok()?, cpu_time(numbers)?)));
        Some(Self { all, each: each.collect() })
    }

    /// Of all CPUs together.
    pub fn since(&self, before: &Self, elapsed_ns: u64) -> CpuTime {
        cpu_since(before.all, self.all, elapsed_ns)
    }

    /// Of these together, as far as they were online at both times.
    pub fn since_on(&self, cpus: &BTreeSet<u32>, before: &Self, elapsed_ns: u64) -> CpuTime {
        let both = cpus.iter().filter_map(|cpu| Some((before.each.get(cpu)?, self.each.get(cpu)?)));
        both.fold(CpuTime { elapsed_ns, ..CpuTime::default() }, |sum, (before, after)| {
            let gained = cpu_since(*before, *after, elapsed_ns);
            CpuTime {
                elapsed_ns,
                busy_ns: sum.busy_ns.saturating_add(gained.busy_ns),
                idle_ns: sum.idle_ns.saturating_add(gained.idle_ns),
                iowait_ns: sum.iowait_ns.saturating_add(gained.iowait_ns),
                steal_ns: sum.steal_ns.saturating_add(gained.steal_ns),
            }
        })
    }
}

/// `user nice system idle iowait irq softirq steal guest guest_nice`, in clock ticks; guests are in user and nice already.
fn cpu_time(numbers: &str) -> Option<CpuTime> {
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

fn cpu_since(before: CpuTime, after: CpuTime, elapsed_ns: u64) -> CpuTime {
    CpuTime {
        elapsed_ns,
        busy_ns: after.busy_ns.saturating_sub(before.busy_ns),
        idle_ns: after.idle_ns.saturating_sub(before.idle_ns),
        iowait_ns: after.iowait_ns.saturating_sub(before.iowait_ns),
        steal_ns: after.steal_ns.saturating_sub(before.steal_ns),
    }
}

pub fn tick_ns() -> u64 {
    // SAFETY: takes and returns numbers.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    1_000_000_000 / hz
}

/// CPUs on which the processes may run, if they are the same for all.
pub fn allowed_cpus(tgids: &[u32]) -> Option<BTreeSet<u32>> {
    let mut sets = tgids.iter().filter_map(|&tgid| thread_cpus(tgid).ok());
    let first = sets.next()?;
    sets.all(|set| set == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  100 1 50 800 20 3 4 5 90 0\ncpu0 60 0 0 400\ncpu1 40 1 50 400\nintr 1\n";

    #[test]
    fn cpu_time_is_told_apart() {
        let time = CpuReads::of(BEFORE).expect("a line").all;
        let tick = tick_ns();
        assert_eq!((time.busy_ns, time.idle_ns), (158 * tick, 800 * tick));
        assert_eq!((time.iowait_ns, time.steal_ns), (20 * tick, 5 * tick));
    }

    #[test]
    fn each_cpu_has_its_time_and_those_that_came_or_went_have_none() {
        let before = CpuReads::of(BEFORE).expect("lines");
        let after = "cpu  0 0 0 0\ncpu1 45 1 52 403\ncpu2 7 7 7 7\n";
        let after = CpuReads::of(after).expect("lines");
        let gained = after.since_on(&BTreeSet::from([0, 1, 2, 9]), &before, 70);
        let tick = tick_ns();
        assert_eq!((gained.busy_ns, gained.idle_ns, gained.elapsed_ns), (7 * tick, 3 * tick, 70));
    }
}
