//! Each stack with its time: the ledger's, shared out over the samples.

pub mod flame;
mod hot;
pub(super) mod kernel_paths;
pub mod label;
pub(super) mod shares;
pub(super) mod waits_in;

pub use hot::{Hot, HotFunction, HotList, HotStack};

use std::collections::HashMap;

use profiler_common::state::{self, Group};

use crate::analyze::ledger::group;
use crate::analyze::stacks::label::{Place, frame_labels, kernel_frames, missing_root};
use crate::analyze::stacks::shares::Shares;
use crate::analyze::stacks::waits_in::telling;
use crate::recording::{FrameId, Span, Stack, StackId};

/// Stacks kept for each of the two lists.
pub const TOP: usize = 20;

/// Time with one stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackTime {
    pub state: u32,
    /// Name of the process.
    pub comm: String,
    /// Functions, outermost first; kernel functions come last.
    pub frames: Vec<String>,
    /// Parallel to `frames`, of the stack that has the most of this time: source file and line. Filled only for the
    /// stacks of the two lists, because there may be many others.
    pub places: Vec<Option<Place>>,
    /// Parallel to `frames`: inlined into the function before.
    pub inlined: Vec<bool>,
    /// How many of `frames` are kernel functions.
    pub kernel_frames: usize,
    pub ns: u64,
    /// Stacks really taken.
    pub samples: u64,
    /// The stack that has the most of this time.
    pub(in crate::analyze) largest: StackId,
}

impl StackTime {
    /// Functions of the program, outermost first.
    pub fn user(&self) -> &[String] {
        &self.frames[..self.frames.len() - self.kernel_frames]
    }

    /// Functions of the kernel, outermost first.
    pub fn kernel(&self) -> &[String] {
        &self.frames[self.frames.len() - self.kernel_frames..]
    }
}

/// Time in one function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionTime {
    pub function: String,
    pub ns: u64,
}

/// The largest stacks and what they leave out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stacks {
    /// By time; at most 20.
    pub on_cpu: Vec<StackTime>,
    /// Those that are not idle first, then by time; at most 20.
    pub off_cpu: Vec<StackTime>,
    pub on_cpu_not_sampled_ns: u64,
    pub off_cpu_not_sampled_ns: u64,
    /// Where in the kernel the waits are that have no reason. Adds up to the unknown time.
    pub unknown_in: Vec<FunctionTime>,
}

impl Stacks {
    /// Takes all stacks with their time; keeps the largest.
    pub(in crate::analyze) fn of(recording: &Span, stacks: &[StackTime], shares: &Shares) -> Self {
        let (mut on_cpu, off_cpu): (Vec<_>, Vec<_>) =
            stacks.iter().partition(|stack| stack.state == state::ON_CPU);
        let (idle, mut off_cpu): (Vec<_>, Vec<_>) =
            off_cpu.into_iter().partition(|stack| group(stack.state) == Group::Idle);
        off_cpu.extend(idle);
        on_cpu.truncate(TOP);
        off_cpu.truncate(TOP);
        let with_places =
            |stack: &StackTime| StackTime { places: places(recording, stack.largest), ..stack.clone() };
        Self {
            on_cpu: on_cpu.into_iter().map(with_places).collect(),
            off_cpu: off_cpu.into_iter().map(with_places).collect(),
            on_cpu_not_sampled_ns: shares.not_sampled_ns(|code| code == state::ON_CPU),
            off_cpu_not_sampled_ns: shares.not_sampled_ns(|code| code != state::ON_CPU),
            unknown_in: unknown_in(recording, shares),
        }
    }
}

/// All stacks, the largest first: one row for each state, process name and chain of functions.
pub(in crate::analyze) fn all(recording: &Span, shares: &Shares) -> Vec<StackTime> {
    let mut stacks = collect(recording, shares);
    stacks.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| (&a.frames, a.state).cmp(&(&b.frames, b.state))));
    stacks
}

fn collect(recording: &Span, shares: &Shares) -> Vec<StackTime> {
    let mut labels = Interner::default();
    let chains: Vec<Chain> =
        recording.stacks.iter().map(|stack| chain(recording, stack, &mut labels)).collect();
    let mut sums: HashMap<(u32, &str, &Chain), Sum> = HashMap::new();
    for (sample, &ns) in recording.samples.iter().zip(&shares.ns) {
        let thread = &recording.threads[sample.thread as usize];
        let comm = recording.processes[thread.process as usize].comm.as_str();
        let sum = sums.entry((sample.state, comm, &chains[sample.stack as usize])).or_default();
        sum.ns = sum.ns.saturating_add(ns);
        sum.samples += sample.count as u64;
        if sum.largest.is_none_or(|(largest, _)| ns > largest) {
            sum.largest = Some((ns, sample.stack));
        }
    }
    let row = |((state, comm, chain), sum): ((u32, &str, &Chain), Sum)| StackTime {
        state,
        comm: comm.to_owned(),
        frames: chain.functions.iter().map(|&label| labels.labels[label as usize].0.clone()).collect(),
        places: Vec::new(),
        inlined: chain.functions.iter().map(|&label| labels.labels[label as usize].1).collect(),
        kernel_frames: chain.kernel_frames,
        ns: sum.ns,
        samples: sum.samples,
        largest: sum.largest.map_or(0, |(_, stack)| stack),
    };
    sums.into_iter().map(row).collect()
}

/// What stacks of one row add up to.
#[derive(Default)]
struct Sum {
    ns: u64,
    samples: u64,
    /// The stack with the most time, and that time.
    largest: Option<(u64, StackId)>,
}

/// Where the functions of a stack were, in the order of its chain.
fn places(recording: &Span, stack: StackId) -> Vec<Option<Place>> {
    let stack = &recording.stacks[stack as usize];
    let root = missing_root(stack.end).map(|_| None);
    let user = stack.user.iter().rev();
    let frames = user.chain(kernel_frames(recording, stack).iter().rev());
    let functions = frames.flat_map(|&frame| {
        let labels = frame_labels(recording, frame).into_iter().rev();
        labels.map(|label| label.place())
    });
    root.into_iter().chain(functions).collect()
}

/// A stack as functions, outermost first.
#[derive(PartialEq, Eq, Hash)]
struct Chain {
    /// Of an [`Interner`].
    functions: Vec<u32>,
    kernel_frames: usize,
}

fn chain(recording: &Span, stack: &Stack, labels: &mut Interner) -> Chain {
    let mut functions: Vec<u32> =
        missing_root(stack.end).map(|text| labels.intern(text, false)).into_iter().collect();
    let mut push = |frames: &[FrameId]| {
        for &frame in frames.iter().rev() {
            let names = frame_labels(recording, frame).into_iter().rev();
            functions.extend(names.map(|label| labels.intern(label.text.into_owned(), label.inlined)));
        }
        functions.len()
    };
    let user = push(&stack.user);
    let kernel_frames = push(kernel_frames(recording, stack)) - user;
    Chain { functions, kernel_frames }
}

/// Each label once: its text, and whether it is inlined.
#[derive(Default)]
struct Interner {
    ids: HashMap<(String, bool), u32>,
    labels: Vec<(String, bool)>,
}

impl Interner {
    fn intern(&mut self, text: String, inlined: bool) -> u32 {
        let label = (text, inlined);
        if let Some(&id) = self.ids.get(&label) {
            return id;
        }
        let id = self.labels.len() as u32;
        self.labels.push(label.clone());
        self.ids.insert(label, id);
        id
    }
}

fn unknown_in(recording: &Span, shares: &Shares) -> Vec<FunctionTime> {
    let unknown = |code: u32| group(code) == Group::Unknown;
    let mut sums: HashMap<String, u64> = HashMap::new();
    for (sample, ns) in recording.samples.iter().zip(&shares.ns).filter(|(sample, _)| unknown(sample.state)) {
        let frames = kernel_frames(recording, &recording.stacks[sample.stack as usize]);
        let labels: Vec<_> = frames.iter().flat_map(|&frame| frame_labels(recording, frame)).collect();
        let function = telling(labels.iter().map(|label| &*label.text));
        let sum = sums.entry(function.unwrap_or("[no kernel stack]").to_owned()).or_default();
        *sum = sum.saturating_add(*ns);
    }
    let not_sampled = shares.not_sampled_ns(unknown);
    if not_sampled > 0 {
        sums.insert("[not sampled]".to_owned(), not_sampled);
    }
    let mut rows: Vec<_> = sums.into_iter().map(|(function, ns)| FunctionTime { function, ns }).collect();
    rows.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| a.function.cmp(&b.function)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::example;

    fn stacks_of(recording: &Span) -> Stacks {
        let shares = Shares::of(recording);
        Stacks::of(recording, &all(recording, &shares), &shares)
    }

    fn rows(stacks: &[StackTime]) -> Vec<(u64, String)> {
        stacks.iter().map(|s| (s.ns / 1_000_000, format!("{}: {}", s.comm, s.frames.join(";")))).collect()
    }

    #[test]
    fn time_on_the_cpu_is_shared_by_weight_and_summed_over_threads() {
        // Thread 812: 4 s by 300 : 100; thread 813: 1 s, all with the first stack.
        let expected =
            [(4_000, "db: main;execute;scan;hash".to_owned()), (1_000, "db: main;[db+0x5010]".to_owned())];
        assert_eq!(rows(&stacks_of(&example()).on_cpu), expected);
    }

    #[test]
    fn idle_waits_come_last() {
        let expected = [
            (3_000, "db: main;execute;flush;jbd2_log_wait_commit;io_schedule_timeout;schedule".to_owned()),
            (2_500, "evil\x1b[31m: [broken: no unwind table];inet_recv\x1b[31mmsg;schedule".to_owned()),
            (1_000, "db: [cut];flush;odd_driver_wait;schedule".to_owned()),
            (1_900, "db: main;execute;schedule".to_owned()),
        ];
        assert_eq!(rows(&stacks_of(&example()).off_cpu), expected);
    }

    #[test]
    fn what_no_sample_saw_stands_apart() {
        let stacks = stacks_of(&example());
        // On the CPU: thread 900. Off: run queue 1.0, disk_write 1.0, futex_wait 7.0.
        assert_eq!(
            (stacks.on_cpu_not_sampled_ns, stacks.off_cpu_not_sampled_ns),
            (2_500_000_000, 9_000_000_000)
        );
    }

    #[test]
    fn unknown_time_is_told_by_the_first_kernel_function_that_is_no_plumbing() {
        let expected = [FunctionTime { function: "odd_driver_wait".into(), ns: 1_000_000_000 }];
        assert_eq!(stacks_of(&example()).unknown_in, expected);
    }

    #[test]
    fn unknown_time_that_no_sample_saw_is_told_too() {
        let mut recording = example();
        recording.samples.retain(|sample| sample.state != state::UNKNOWN);
        let expected = [FunctionTime { function: "[not sampled]".into(), ns: 1_000_000_000 }];
        assert_eq!(stacks_of(&recording).unknown_in, expected);
    }

    #[test]
    fn weights_that_are_no_numbers_share_nothing() {
        let mut recording = example();
        for (sample, weight) in recording.samples.iter_mut().zip([f64::NAN, f64::INFINITY, -1.0]) {
            sample.weight = weight;
        }
        // The stacks of threads 812 and 813 on the CPU have no usable weight: 5 s join the 2.5 s of thread 900.
        assert_eq!(stacks_of(&recording).on_cpu_not_sampled_ns, 7_500_000_000);
    }
}
