//! How long waits lasted: reads the histograms that the programs count in, and adds them up over the CPUs.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use profiler_common::{
    histogram::BUCKETS,
    state::Group,
    wait_times::{self, GROUPS},
};

use super::take_map;

/// How many finished waits of a group lasted how long, in the buckets of [`profiler_common::histogram`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWaits {
    pub group: Group,
    pub counts: [u64; BUCKETS],
}

/// The map of the programs, and what was read of it so far.
pub struct WaitTimes {
    map: PerCpuArray<MapData, wait_times::WaitTimes>,
    sums: Vec<Sum>,
}

impl WaitTimes {
    /// Takes the map out of the object.
    ///
    /// # Errors
    /// The object has no such map.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let map = take_map(ebpf, "WAIT_TIMES")?.try_into()?;
        Ok(Self { map, sums: GROUPS.map(Sum::of).into() })
    }

    /// All waits so far, of each group. One system call a group.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn so_far(&mut self) -> Result<Vec<GroupWaits>> {
        for (index, sum) in self.sums.iter_mut().enumerate() {
            let by_cpu = self.map.get(&(index as u32), 0).context("cannot read how long waits lasted")?;
            sum.add(by_cpu.iter().map(|times| &times.counts));
        }
        Ok(self.sums.iter().map(|sum| sum.waits.clone()).collect())
    }
}

/// One group's waits, and what each CPU's histogram showed when it was last read. The kernel's counts wrap
/// around, so it is their growth that is added up; that is right as long as they are read before they have
/// gone round once, which takes hours.
struct Sum {
    waits: GroupWaits,
    seen: Vec<[u32; BUCKETS]>,
}

impl Sum {
    fn of(group: Group) -> Self {
        Self { waits: GroupWaits { group, counts: [0; BUCKETS] }, seen: vec![] }
    }

    fn add<'a>(&mut self, by_cpu: impl Iterator<Item = &'a [u32; BUCKETS]>) {
        for (cpu, now) in by_cpu.enumerate() {
            if cpu == self.seen.len() {
                self.seen.push([0; BUCKETS]);
            }
            for ((sum, seen), now) in self.waits.counts.iter_mut().zip(&mut self.seen[cpu]).zip(now) {
                *sum += u64::from(now.wrapping_sub(*seen));
                *seen = *now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bucket: usize, count: u32) -> [u32; BUCKETS] {
        std::array::from_fn(|index| if index == bucket { count } else { 0 })
    }

    #[test]
    fn the_cpus_are_added_up_and_each_wait_counts_once() {
        let mut sum = Sum::of(Group::Disk);
        sum.add([histogram(7, 2), histogram(7, 3)].iter());
        sum.add([histogram(7, 2), histogram(7, 5)].iter());
        assert_eq!((sum.waits.group, sum.waits.counts[7]), (Group::Disk, 7));
        assert_eq!(sum.waits.counts.iter().sum::<u64>(), 7);
    }

    #[test]
    fn a_count_that_went_round_is_still_added_right() {
        let mut sum = Sum::of(Group::RunQueue);
        for now in [u32::MAX, 9] {
            sum.add([histogram(0, now)].iter());
        }
        assert_eq!(sum.waits.counts[0], u64::from(u32::MAX) + 10);
    }
}
