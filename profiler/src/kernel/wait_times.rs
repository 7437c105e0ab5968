//! How long waits lasted: reads the histograms that the programs count in, and adds them up over the CPUs.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use profiler_common::{
    histogram::BUCKETS,
    wait_times::{self, GROUPS},
};

use super::take_map;

/// How many finished waits of a group lasted how long, in the buckets of [`profiler_common::histogram`].
pub type Counts = [u64; BUCKETS];

/// The map of the programs, and what was read of it so far.
pub struct WaitTimes {
    map: PerCpuArray<MapData, wait_times::WaitTimes>,
    seen: Vec<Seen>,
}

impl WaitTimes {
    /// Takes the map out of the object.
    ///
    /// # Errors
    /// The object has no such map.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let map = take_map(ebpf, "WAIT_TIMES")?.try_into()?;
        Ok(Self { map, seen: GROUPS.map(|_| Seen::default()).into() })
    }

    /// Waits since the last call of each of [`GROUPS`]. One system call a group.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn gained(&mut self) -> Result<Vec<Counts>> {
        let gained = self.seen.iter_mut().zip(0_u32..).map(|(seen, group)| {
            let by_cpu = self.map.get(&group, 0).context("cannot read how long waits lasted")?;
            Ok(seen.gained(by_cpu.iter().map(|times| &times.counts)))
        });
        gained.collect()
    }
}

/// What each CPU's histogram of a group showed when it was last read. The kernel's counts wrap around, so it is their growth that is
/// added up; that is right as long as they are read before they have gone round once, which takes hours.
#[derive(Default)]
struct Seen(Vec<[u32; BUCKETS]>);

impl Seen {
    fn gained<'a>(&mut self, by_cpu: impl Iterator<Item = &'a [u32; BUCKETS]>) -> Counts {
        let mut sum = [0; BUCKETS];
        for (cpu, now) in by_cpu.enumerate() {
            if cpu == self.0.len() {
                self.0.push([0; BUCKETS]);
            }
            for ((sum, seen), now) in sum.iter_mut().zip(&mut self.0[cpu]).zip(now) {
                *sum += u64::from(now.wrapping_sub(*seen));
                *seen = *now;
            }
        }
        sum
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
        let mut seen = Seen::default();
        assert_eq!(seen.gained([histogram(7, 2), histogram(7, 3)].iter())[7], 5);
        let second = seen.gained([histogram(7, 2), histogram(7, 5)].iter());
        assert_eq!((second[7], second.iter().sum::<u64>()), (2, 2));
    }

    #[test]
    fn a_count_that_went_round_is_still_added_right() {
        let mut seen = Seen::default();
        let gained = [u32::MAX, 9].map(|now| seen.gained([histogram(0, now)].iter())[0]);
        assert_eq!(gained, [u64::from(u32::MAX), 10]);
    }
}
