//! How things went over a recording: the working time of its parts, and when the verdict changed.
//!
//! In: the windows. A part is one window or several neighbours, so that there are at most 20 of them.

use std::ops::Range;

use profiler_common::state::Group;

use super::ledger::group;
use super::{Confidence, Report, VerdictId};
use crate::recording::{Recording, Window};

/// Most parts: a screen has room for them.
const MOST_PARTS: usize = 20;
/// A part that is judged has at least this length: a verdict over less rests on too few samples.
const SHORTEST_JUDGED_NS: u64 = 2_000_000_000;
/// Threads of a recording up to which its parts are judged: some 40 ms a part for a thousand threads.
const MOST_JUDGED_THREADS: usize = 20_000;

/// How things went from part to part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// None where there is only one window.
    pub moments: Vec<Moment>,
    /// The same for each window, of which there may be more than parts.
    pub windows: Vec<Moment>,
    /// Stretches of one verdict each, if it changed; else empty.
    pub stretches: Vec<Stretch>,
}

/// One part: thread time in it, in nanoseconds, by what it went for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// From the start of the recording.
    pub from_ns: u64,
    pub to_ns: u64,
    pub on_cpu_ns: u64,
    pub run_queue_ns: u64,
    pub disk_ns: u64,
    pub lock_ns: u64,
    pub net_ns: u64,
    /// For other processes, for memory, and for what the ledger cannot name.
    pub other_ns: u64,
    pub idle_ns: u64,
}

impl Moment {
    pub fn elapsed_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }

    /// All but waiting for work.
    pub fn working_ns(&self) -> u64 {
        self.parts().into_iter().fold(0, u64::saturating_add)
    }

    /// What the working time is made of, in the order of the fields.
    pub fn parts(&self) -> [u64; 6] {
        [self.on_cpu_ns, self.run_queue_ns, self.disk_ns, self.lock_ns, self.net_ns, self.other_ns]
    }

    fn of(recording: &Recording, windows: &[Window]) -> Self {
        let since_start = |at_ns: u64| at_ns.saturating_sub(recording.meta.started_at_ns);
        let mut moment = Self {
            from_ns: windows.first().map_or(0, |window| since_start(window.from_ns)),
            to_ns: windows.last().map_or(0, |window| since_start(window.to_ns)),
            ..Self::default()
        };
        for time in windows.iter().flat_map(|window| &window.ledger).flat_map(|times| &times.states) {
            let sum = match group(time.state) {
                Group::Cpu => &mut moment.on_cpu_ns,
                Group::RunQueue => &mut moment.run_queue_ns,
                Group::Disk => &mut moment.disk_ns,
                Group::Lock => &mut moment.lock_ns,
                Group::Net => &mut moment.net_ns,
                Group::Ipc | Group::Memory | Group::Unknown => &mut moment.other_ns,
                Group::Idle => &mut moment.idle_ns,
            };
            super::add(sum, time.ns);
        }
        moment
    }
}

/// A stretch of time with one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From the start of the recording.
    pub from_ns: u64,
    pub to_ns: u64,
    pub id: VerdictId,
    pub confidence: Confidence,
}

impl Course {
    pub(super) fn of(recording: &Recording, windows: Range<usize>) -> Self {
        if windows.len() < 2 {
            return Self::default();
        }
        let moments = |parts: Vec<Range<usize>>| {
            parts.into_iter().map(|part| Moment::of(recording, &recording.windows[part])).collect()
        };
        let each = moments(windows.clone().map(|window| window..window + 1).collect());
        Self {
            moments: moments(parts(recording, &windows, 0)),
            windows: each,
            stretches: stretches(judged(recording, &windows)),
        }
    }
}

/// Neighbouring windows that together have at least this length, and a twentieth of all. What is left at the end goes with the
/// last part.
fn parts(recording: &Recording, windows: &Range<usize>, least_ns: u64) -> Vec<Range<usize>> {
    let lengths: Vec<u64> = recording.windows[windows.clone()].iter().map(Window::elapsed_ns).collect();
    let all_ns = lengths.iter().fold(0_u64, |sum, &ns| sum.saturating_add(ns));
    let least_ns = least_ns.max(all_ns / MOST_PARTS as u64);
    let (mut parts, mut begin, mut so_far_ns): (Vec<Range<usize>>, _, _) = (vec![], windows.start, 0_u64);
    for (window, ns) in windows.clone().zip(lengths) {
        so_far_ns = so_far_ns.saturating_add(ns);
        if so_far_ns >= least_ns {
            parts.push(begin..window + 1);
            (begin, so_far_ns) = (window + 1, 0);
        }
    }
    match parts.last_mut() {
        Some(last) => last.end = windows.end,
        None => parts.push(windows.clone()),
    }
    parts
}

/// The verdict of each part.
fn judged(recording: &Recording, windows: &Range<usize>) -> Vec<Stretch> {
    let parts = parts(recording, windows, SHORTEST_JUDGED_NS);
    if parts.len() < 2 || recording.threads.len() > MOST_JUDGED_THREADS {
        return vec![];
    }
    let judge = |part: Range<usize>| {
        let span = recording.span(part);
        let (verdict, place) = (Report::new(&span).verdict, span.place());
        Stretch { from_ns: place.from_ns, to_ns: place.to_ns, id: verdict.id, confidence: verdict.confidence }
    };
    parts.into_iter().map(judge).collect()
}

/// Joins neighbours of one verdict. A part whose verdict is not sure goes with its neighbour, and so does a single one between
/// two that agree: one part is soon between two stools. Empty if it is all one verdict.
fn stretches(judged: Vec<Stretch>) -> Vec<Stretch> {
    let mut ids: Vec<Option<VerdictId>> =
        judged.iter().map(|part| (part.confidence > Confidence::Low).then_some(part.id)).collect();
    for index in 1..ids.len().saturating_sub(1) {
        let (before, after) = (ids[index - 1], ids[index + 1]);
        if before == after && before.is_some() && judged[index].confidence < Confidence::High {
            ids[index] = before;
        }
    }
    let mut joined: Vec<Stretch> = vec![];
    for (part, id) in judged.into_iter().zip(ids) {
        match (joined.last_mut(), id) {
            (Some(last), None) => last.to_ns = part.to_ns,
            (Some(last), Some(id)) if last.id == id => {
                last.to_ns = part.to_ns;
                last.confidence = last.confidence.min(part.confidence);
            }
            // What was not sure at the start goes with the first that is.
            (Some(last), Some(_)) if last.confidence == Confidence::Low => {
                *last = Stretch { from_ns: last.from_ns, ..part };
            }
            _ => joined.push(part),
        }
    }
    if joined.len() > 1 { joined } else { vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{example, example_recording, one_window};

    const S: u64 = 1_000_000_000;

    fn part(index: u64, id: VerdictId, confidence: Confidence) -> Stretch {
        Stretch { from_ns: index * 2 * S, to_ns: (index + 1) * 2 * S, id, confidence }
    }

    #[track_caller]
    fn check(parts: &[(VerdictId, Confidence)], expected: &[(u64, u64, VerdictId)]) {
        let judged = (0..).zip(parts).map(|(index, &(id, confidence))| part(index, id, confidence));
        let found = stretches(judged.collect());
        let found: Vec<_> =
            found.iter().map(|found| (found.from_ns / S, found.to_ns / S, found.id)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_verdict_that_changes_is_told_with_its_times() {
        use Confidence::{High, Low, Medium};
        use VerdictId::{CpuBound, DiskReadBound, FsyncBound, Idle};
        let parts = [(Idle, High), (Idle, Medium), (FsyncBound, High), (Idle, High), (Idle, Low)];
        check(&parts, &[(0, 4, Idle), (4, 6, FsyncBound), (6, 10, Idle)]);
        check(&[(Idle, High), (Idle, High)], &[]);
        // A single part that is not sure of itself is no change, nor is one that is not sure at all.
        check(&[(Idle, High), (CpuBound, Medium), (Idle, High)], &[]);
        check(&[(Idle, High), (CpuBound, Low), (DiskReadBound, Low)], &[]);
        let begins = [(CpuBound, Low), (Idle, High), (CpuBound, High), (CpuBound, High)];
        check(&begins, &[(0, 4, Idle), (4, 8, CpuBound)]);
    }

    #[test]
    fn windows_make_at_most_twenty_parts_and_none_too_short() {
        let windows = |lengths: &[u64]| {
            let mut at_ns = 0;
            let window = |&length: &u64| {
                at_ns += length * S;
                Window { from_ns: at_ns - length * S, to_ns: at_ns, ..Window::default() }
            };
            Recording { windows: lengths.iter().map(window).collect(), ..Recording::default() }
        };
        assert_eq!(parts(&windows(&[1, 1, 1]), &(0..3), 0), [0..1, 1..2, 2..3]);
        assert_eq!(parts(&windows(&[1, 1, 3, 1, 1, 1]), &(0..6), 2 * S), [0..2, 2..3, 3..6]);
        let many = parts(&windows(&[1; 64]), &(5..64), 0);
        assert!(many.len() <= 20 && many.len() >= 15, "{many:?}");
        assert_eq!((many[0].start, many.last().map(|last| last.end)), (5, Some(64)));
        assert!(many.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn the_moments_are_those_of_the_windows() {
        let course = Course::of(&example_recording(), 0..2);
        let sum: u64 = course.moments.iter().map(|moment| moment.working_ns() + moment.idle_ns).sum();
        assert_eq!(sum, 24_900_000_000);
        assert_eq!((course.moments[0].idle_ns, course.moments[0].working_ns()), (4 * S, 0));
        assert_eq!(course.moments[1].on_cpu_ns, 7_500_000_000);
        assert_eq!(Course::of(&one_window(&example()), 0..1), Course::default());
    }
}
