//! How far the numbers can be trusted: what was lost, how the stacks ended, how many frames have names.

mod cost;
mod cross_check;
mod losses;

pub use cost::{CostRatios, ended_by_budget};
pub use cross_check::CrossCheck;
use losses::losses;
pub use losses::{Loss, LossKind};

use std::collections::BTreeMap;

use profiler_common::{stat::Stat, state};

use crate::analyze::ratio;
use crate::recording::{Broken, Method, Sample, Span, StackEnd, ThreadSum};

/// Above this share of losses the report is not reliable.
const LOST_LIMIT: f64 = 0.01;

/// How far the numbers can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// Each kind of thing that can be lost.
    pub losses: Vec<Loss>,
    /// The largest ratio of [`Trust::losses`]: a kind that is rare must not hide behind one that is frequent.
    pub lost_ratio: f64,
    pub reliable: bool,
    /// Stacks taken on and off the CPU.
    pub on_cpu_samples: u64,
    pub off_cpu_samples: u64,
    /// Stacks that the kernel programs could not hand over.
    pub on_cpu_lost: u64,
    pub off_cpu_lost: u64,
    /// Of all stacks, and of those on and off the CPU.
    pub ends: StackEnds,
    pub on_cpu_ends: StackEnds,
    pub off_cpu_ends: StackEnds,
    /// Share of the frames of all samples that have a name.
    pub frames_named: Option<f64>,
}

/// How the user parts of the sampled stacks ended, each stack as often as it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackEnds {
    /// Whole, or a kernel thread's, which has no user part.
    pub complete: u64,
    pub cut: u64,
    pub broken: BTreeMap<Broken, u64>,
    /// Those of them that were not unwound by tables alone.
    pub by_frame_pointers: u64,
}

impl StackEnds {
    /// Shares of complete, cut and broken stacks; none when no stack was taken.
    pub fn ratios(&self) -> Option<[f64; 3]> {
        let share = |count| ratio(count, self.all());
        Some([share(self.complete)?, share(self.cut)?, share(self.all_broken())?])
    }

    /// Share of the stacks that were not unwound by tables alone; none when no stack was taken.
    pub fn by_frame_pointers_ratio(&self) -> Option<f64> {
        ratio(self.by_frame_pointers, self.all())
    }

    /// Broken stacks, for whatever reason.
    pub fn all_broken(&self) -> u64 {
        self.broken.values().fold(0, |sum, &count| sum.saturating_add(count))
    }

    fn all(&self) -> u64 {
        self.complete.saturating_add(self.cut).saturating_add(self.all_broken())
    }
}

impl Trust {
    pub(in crate::analyze) fn of(recording: &Span) -> Self {
        let losses = losses(recording);
        let lost_ratio = losses.iter().map(Loss::ratio).fold(0.0, f64::max);
        let on_cpu = |sample: &Sample| sample.state == state::ON_CPU;
        let taken = |wanted: bool| {
            let samples = recording.samples.iter().filter(|sample| on_cpu(sample) == wanted);
            samples.map(|sample| sample.count as u64).sum()
        };
        Self {
            losses,
            lost_ratio,
            reliable: lost_ratio <= LOST_LIMIT,
            on_cpu_samples: taken(true),
            off_cpu_samples: taken(false),
            on_cpu_lost: counted(recording, Stat::OnCpuDropped),
            off_cpu_lost: counted(recording, Stat::OffCpuDropped),
            ends: ends(recording, |_| true),
            on_cpu_ends: ends(recording, on_cpu),
            off_cpu_ends: ends(recording, |sample| !on_cpu(sample)),
            frames_named: frames_named(recording),
        }
    }
}

/// The number that the kernel programs counted for one cause.
pub fn counted(recording: &Span, stat: Stat) -> u64 {
    let counts = recording.quality.kernel_counts.iter().filter(|(name, _)| name == stat.name());
    counts.fold(0, |sum, &(_, count)| sum.saturating_add(count))
}

/// Intervals on a CPU: each ends with a switch.
fn switches(recording: &Span) -> u64 {
    let on_cpu =
        |thread: &ThreadSum| thread.state_count.get(state::ON_CPU as usize).copied().unwrap_or(0) as u64;
    recording.threads.iter().map(on_cpu).fold(0, u64::saturating_add)
}

fn ends(recording: &Span, counted: impl Fn(&Sample) -> bool) -> StackEnds {
    let mut ends = StackEnds::default();
    for sample in recording.samples.iter().filter(|sample| counted(sample)) {
        let count = sample.count as u64;
        let stack = &recording.stacks[sample.stack as usize];
        if stack.method == Method::FramePointers {
            ends.by_frame_pointers = ends.by_frame_pointers.saturating_add(count);
        }
        match stack.end {
            StackEnd::Complete | StackEnd::NoUserStack => ends.complete += count,
            StackEnd::Cut => ends.cut += count,
            StackEnd::Broken(why) => *ends.broken.entry(why).or_default() += count,
        }
    }
    ends
}

fn frames_named(recording: &Span) -> Option<f64> {
    let (mut named, mut all) = (0_u64, 0_u64);
    for sample in &recording.samples {
        let stack = &recording.stacks[sample.stack as usize];
        for &frame in stack.user.iter().chain(&stack.kernel) {
            let has_name = recording.names.get(frame as usize).is_some_and(|names| !names.is_empty());
            named = named.saturating_add(if has_name { sample.count as u64 } else { 0 });
            all = all.saturating_add(sample.count as u64);
        }
    }
    ratio(named, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::example;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Span), lost_ratio: f64, reliable: bool) {
        let mut recording = example();
        change(&mut recording);
        let trust = Trust::of(&recording);
        assert!((trust.lost_ratio - lost_ratio).abs() < 1e-12, "lost {}", trust.lost_ratio);
        assert_eq!(trust.reliable, reliable);
    }

    #[test]
    fn four_samples_of_504_are_bearable() {
        check(|_| (), 4.0 / 504.0, true);
    }

    #[test]
    fn one_thread_of_four_unseen_is_not() {
        check(|r| r.quality.threads_unseen = 1, 0.25, false);
    }

    #[test]
    fn a_record_that_does_not_decode_is_a_lost_sample() {
        check(|r| r.quality.malformed_records = 2, 6.0 / 504.0, false);
    }

    #[test]
    fn a_sample_that_no_table_had_room_for_is_lost() {
        // 3 + 1 dropped and 20 of the 500 left out.
        check(|r| r.quality.samples_over_limit = 20, 24.0 / 504.0, false);
    }

    #[test]
    fn events_missed_by_recursion_are_lost() {
        // Half of what would have been: 500 samples and 1,573 intervals on the CPU arrived.
        check(|r| r.quality.recursion_misses = 2_073, 0.5, false);
    }

    #[test]
    fn requests_that_no_map_had_room_for_are_lost() {
        // 450 were summed up.
        check(|r| r.quality.kernel_counts.push(("requests_full".into(), 50)), 0.1, false);
    }

    #[test]
    fn passes_that_came_too_late_lose_nothing_but_resolution() {
        check(|r| r.quality.offcpu_passes_missed = 990, 4.0 / 504.0, true);
    }

    #[test]
    fn a_recording_without_anything_lost_nothing() {
        check(|r| *r = Span::default(), 0.0, true);
    }

    #[test]
    fn ends_are_counted_by_stacks_taken() {
        // 300 + 100 + 50 + 20 + 10 complete, 10 cut, 10 broken.
        let ends = Trust::of(&example()).ends;
        assert_eq!((ends.complete, ends.cut), (480, 10));
        assert_eq!(ends.broken, BTreeMap::from([(Broken::NoUnwindInfo, 10)]));
        assert_eq!(ends.ratios(), Some([0.96, 0.02, 0.02]));
    }

    #[test]
    fn ends_are_told_apart_on_and_off_the_cpu() {
        // On it 300 + 100 + 50, all complete; off it 20 + 10 complete, 10 cut, 10 broken.
        let trust = Trust::of(&example());
        assert_eq!(trust.on_cpu_ends.ratios(), Some([1.0, 0.0, 0.0]));
        assert_eq!(trust.off_cpu_ends.ratios(), Some([0.6, 0.2, 0.2]));
    }

    #[test]
    fn stacks_by_frame_pointers_are_counted() {
        // 100 of the 450 on the CPU, and the 10 that are broken.
        let trust = Trust::of(&example());
        assert_eq!((trust.ends.by_frame_pointers, trust.on_cpu_ends.by_frame_pointers), (110, 100));
        assert_eq!(trust.ends.by_frame_pointers_ratio(), Some(0.22));
    }

    #[test]
    fn no_stack_has_no_share() {
        assert_eq!(StackEnds::default().ratios(), None);
    }

    #[test]
    fn names_are_counted_by_frames_of_samples() {
        // Frames: 300·3 + 100·2 + 50·3 + 20·6 + 10·3 + 10·3 + 10·2 = 1450, of which 100 have no name.
        assert_eq!(Trust::of(&example()).frames_named, Some(1350.0 / 1450.0));
    }

    #[test]
    fn samples_are_counted_on_and_off_the_cpu() {
        let trust = Trust::of(&example());
        assert_eq!((trust.on_cpu_samples, trust.off_cpu_samples), (450, 50));
    }
}
