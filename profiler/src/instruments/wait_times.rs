//! How long waits lasted: reads the histograms that the programs count in, and adds them up over the CPUs.

use anyhow::{Context as _, Result};
use profiler_common::{
    histogram::BUCKETS,
    wait_times::{self, GROUPS},
};

use super::{About, Instrument, Reading};
use crate::{
    collect::Cut,
    kernel::{Btf, Object, Plan, SlotsByCpu},
};
use profiler_report::recording;
use profiler_report::recording::InstrumentId;

/// What it is. The ledger's programs count; it attaches nothing.
pub const ABOUT: About = About { id: InstrumentId::WaitTimes, flag: None, probe: None };

/// How many finished waits of a group lasted how long, in the buckets of [`profiler_common::histogram`].
type Counts = [u64; BUCKETS];

/// The instrument: the map of the programs, and what was read of it so far.
pub struct WaitTimes {
    is_wanted: bool,
    map: Option<SlotsByCpu<wait_times::WaitTimes>>,
    seen: Vec<Seen>,
}

impl WaitTimes {
    /// Not attached yet.
    pub fn new(is_wanted: bool) -> Self {
        Self { is_wanted, map: None, seen: GROUPS.map(|_| Seen::default()).into() }
    }

    /// Waits since the last call of each of [`GROUPS`]. One system call a group.
    fn gained(&mut self) -> Result<Vec<Counts>> {
        let Some(map) = &self.map else { return Ok(vec![]) };
        let gained = self.seen.iter_mut().zip(0_u32..).map(|(seen, group)| {
            let by_cpu = map.get(&group, 0).context("cannot read how long waits lasted")?;
            Ok(seen.gained(by_cpu.iter().map(|times| &times.counts)))
        });
        gained.collect()
    }
}

impl Instrument for WaitTimes {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn plan(&mut self, _: &Btf, plan: &mut Plan) {
        plan.map("WAIT_TIMES", if self.is_wanted { GROUPS.len() as u32 } else { 1 });
    }

    fn attach(&mut self, object: &mut Object) -> Result<()> {
        if self.is_wanted {
            self.map = Some(object.map("WAIT_TIMES")?);
        }
        Ok(())
    }

    fn cut(&mut self, _: &mut Reading<'_>, cut: &mut Cut) -> Result<()> {
        cut.wait_times = rows(&self.gained()?);
        Ok(())
    }
}

/// A row for each group that waited.
fn rows(gained: &[Counts]) -> Vec<recording::WaitTimes> {
    let row = |(group, counts): (u32, &Counts)| {
        let buckets = (0_u32..).zip(counts.iter().copied()).filter(|&(_, waits)| waits > 0);
        recording::WaitTimes { group, buckets: buckets.collect() }
    };
    (0_u32..).zip(gained).map(row).filter(|row| !row.buckets.is_empty()).collect()
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
