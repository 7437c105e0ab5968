//! The ledger's exact times, shared out over the stacks that the samples saw.
//!
//! A thread's time in a state goes to its samples in that state, by weight. What no sample saw stands apart as not
//! sampled, so that the sums stay those of the ledger.

use std::collections::HashMap;
use std::hash::Hash;

use profiler_common::state::{self, Group};

use super::ledger::group;
use crate::recording::{Frame, Recording, Stack, StackEnd};

/// Stacks kept for each of the two lists.
const TOP: usize = 20;

/// Time with one stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackTime {
    pub state: u32,
    /// Name of the process.
    pub comm: String,
    /// Functions, outermost first; kernel functions come last.
    pub frames: Vec<String>,
    /// How many of `frames` are kernel functions.
    pub kernel_frames: usize,
    pub ns: f64,
    /// Stacks really taken.
    pub samples: u64,
}

impl StackTime {
    /// The kernel function that says what it waits for, if it is in the kernel.
    pub fn kernel_function(&self) -> Option<&str> {
        let kernel = self.frames.iter().rev().take(self.kernel_frames);
        kernel.map(String::as_str).find(|function| !is_plumbing(function))
    }
}

/// Time in one function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionTime {
    pub function: String,
    pub ns: f64,
}

/// The largest stacks and what they leave out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stacks {
    /// By time; at most 20.
    pub on_cpu: Vec<StackTime>,
    /// Those that are not idle first, then by time; at most 20.
    pub off_cpu: Vec<StackTime>,
    pub on_cpu_not_sampled_ns: f64,
    pub off_cpu_not_sampled_ns: f64,
    /// Where in the kernel the waits are that have no reason. Adds up to the unknown time.
    pub unknown_in: Vec<FunctionTime>,
}

impl Stacks {
    pub(super) fn of(recording: &Recording) -> Self {
        let shares = Shares::of(recording);
        let mut stacks = collect(recording, &shares);
        stacks.sort_by(|a, b| b.ns.total_cmp(&a.ns).then_with(|| a.frames.cmp(&b.frames)));
        let (mut on_cpu, off_cpu): (Vec<_>, Vec<_>) =
            stacks.into_iter().partition(|stack| stack.state == state::ON_CPU);
        let (idle, mut off_cpu): (Vec<_>, Vec<_>) =
            off_cpu.into_iter().partition(|stack| group(stack.state) == Group::Idle);
        off_cpu.extend(idle);
        on_cpu.truncate(TOP);
        off_cpu.truncate(TOP);
        Self {
            on_cpu,
            off_cpu,
            on_cpu_not_sampled_ns: shares.not_sampled_ns(recording, |code| code == state::ON_CPU),
            off_cpu_not_sampled_ns: shares.not_sampled_ns(recording, |code| code != state::ON_CPU),
            unknown_in: unknown_in(recording, &shares),
        }
    }
}

/// The time that each sample stands for.
struct Shares {
    /// Nanoseconds, parallel to [`Recording::samples`].
    ns: Vec<f64>,
    /// Sums of weights by thread and state.
    weights: HashMap<(u32, u32), f64>,
}

impl Shares {
    fn of(recording: &Recording) -> Self {
        let mut weights: HashMap<(u32, u32), f64> = HashMap::new();
        for sample in &recording.samples {
            *weights.entry((sample.thread, sample.state)).or_default() += usable(sample.weight);
        }
        let share = |sample: &crate::recording::Sample| {
            let sum = weights[&(sample.thread, sample.state)];
            let thread = &recording.threads[sample.thread as usize];
            let ns = thread.state_ns.get(sample.state as usize).copied().unwrap_or(0);
            if sum > 0.0 { ns as f64 * (usable(sample.weight) / sum) } else { 0.0 }
        };
        Self { ns: recording.samples.iter().map(share).collect(), weights }
    }

    fn not_sampled_ns(&self, recording: &Recording, wanted: impl Fn(u32) -> bool) -> f64 {
        let mut sum = 0.0;
        for (thread, row) in recording.threads.iter().enumerate() {
            for (code, &ns) in row.state_ns.iter().enumerate() {
                let (thread, code) = (thread as u32, code as u32);
                let sampled = self.weights.get(&(thread, code)).is_some_and(|&weight| weight > 0.0);
                if wanted(code) && !sampled {
                    sum += ns as f64;
                }
            }
        }
        sum
    }
}

/// A weight from a capture may be anything. Bounded, so that sums stay finite.
fn usable(weight: f64) -> f64 {
    if weight.is_finite() { weight.clamp(0.0, 1e18) } else { 0.0 }
}

/// One row for each state, process name and chain of functions.
fn collect(recording: &Recording, shares: &Shares) -> Vec<StackTime> {
    let mut labels = Interner::default();
    let chains: Vec<Chain> =
        recording.stacks.iter().map(|stack| chain(recording, stack, &mut labels)).collect();
    let mut sums: HashMap<(u32, &str, &Chain), (f64, u64)> = HashMap::new();
    for (sample, ns) in recording.samples.iter().zip(&shares.ns) {
        let thread = &recording.threads[sample.thread as usize];
        let comm = recording.processes[thread.process as usize].comm.as_str();
        let sum = sums.entry((sample.state, comm, &chains[sample.stack as usize])).or_default();
        sum.0 += ns;
        sum.1 += sample.count as u64;
    }
    let row = |((state, comm, chain), (ns, samples)): ((u32, &str, &Chain), _)| StackTime {
        state,
        comm: comm.to_owned(),
        frames: chain.functions.iter().map(|&label| labels.names[label as usize].clone()).collect(),
        kernel_frames: chain.kernel_frames,
        ns,
        samples,
    };
    sums.into_iter().map(row).collect()
}

/// A stack as functions, outermost first.
#[derive(PartialEq, Eq, Hash)]
struct Chain {
    /// Of an [`Interner`].
    functions: Vec<u32>,
    kernel_frames: usize,
}

fn chain(recording: &Recording, stack: &Stack, labels: &mut Interner) -> Chain {
    let mut functions = Vec::new();
    match stack.end {
        StackEnd::Complete | StackEnd::NoUserStack => {}
        StackEnd::Cut => functions.push(labels.intern("[cut]".to_owned())),
        StackEnd::Broken(_) => functions.push(labels.intern("[broken]".to_owned())),
    }
    let mut push = |frames: &[u32]| {
        for &frame in frames.iter().rev() {
            let names = functions_at(recording, frame);
            functions.extend(names.into_iter().rev().map(|name| labels.intern(name)));
        }
        functions.len()
    };
    let user = push(&stack.user);
    let kernel_frames = push(&stack.kernel) - user;
    Chain { functions, kernel_frames }
}

/// Each text once.
#[derive(Default)]
struct Interner {
    ids: HashMap<String, u32>,
    names: Vec<String>,
}

impl Interner {
    fn intern(&mut self, text: String) -> u32 {
        if let Some(&id) = self.ids.get(&text) {
            return id;
        }
        let id = self.names.len() as u32;
        self.names.push(text.clone());
        self.ids.insert(text, id);
        id
    }
}

/// What stands for a frame: its functions, innermost (inlined) first, or else its place in brackets.
fn functions_at(recording: &Recording, frame: u32) -> Vec<String> {
    let names = recording.names.get(frame as usize).map_or(&[][..], Vec::as_slice);
    if !names.is_empty() {
        return names.iter().map(|name| name.function.clone()).collect();
    }
    vec![match recording.frames[frame as usize] {
        Frame::Kernel { address } => format!("[kernel {address:#x}]"),
        Frame::Unmapped { address, .. } => format!("[unmapped {address:#x}]"),
        Frame::User { module, file_offset } => {
            let path = &recording.modules[module as usize].path;
            let file = path.rsplit('/').next().unwrap_or(path);
            format!("[{file}+{file_offset:#x}]")
        }
    }]
}

fn unknown_in(recording: &Recording, shares: &Shares) -> Vec<FunctionTime> {
    let unknown = |code: u32| group(code) == Group::Unknown;
    let mut sums: HashMap<String, f64> = HashMap::new();
    for (sample, ns) in recording.samples.iter().zip(&shares.ns).filter(|(sample, _)| unknown(sample.state)) {
        let stack = &recording.stacks[sample.stack as usize];
        let kernel = stack.kernel.iter().flat_map(|&frame| functions_at(recording, frame));
        let function = kernel.into_iter().find(|function| !is_plumbing(function));
        *sums.entry(function.unwrap_or_else(|| "[no kernel stack]".to_owned())).or_default() += ns;
    }
    let not_sampled = shares.not_sampled_ns(recording, unknown);
    if not_sampled > 0.0 {
        sums.insert("[not sampled]".to_owned(), not_sampled);
    }
    let mut rows: Vec<_> = sums.into_iter().map(|(function, ns)| FunctionTime { function, ns }).collect();
    rows.sort_by(|a, b| b.ns.total_cmp(&a.ns).then_with(|| a.function.cmp(&b.function)));
    rows
}

/// Whether a kernel function only passes on a wait that its caller asked for.
fn is_plumbing(function: &str) -> bool {
    const EXACT: &[&str] =
        &["__cond_resched", "_cond_resched", "context_switch", "__switch_to", "__switch_to_asm"];
    const PREFIXES: &[&str] =
        &["schedule", "__schedule", "io_schedule", "preempt_schedule", "finish_task_switch"];
    EXACT.contains(&function) || PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::example;

    fn rows(stacks: &[StackTime]) -> Vec<(u64, String)> {
        stacks
            .iter()
            .map(|s| (s.ns.round() as u64 / 1_000_000, format!("{}: {}", s.comm, s.frames.join(";"))))
            .collect()
    }

    #[test]
    fn time_on_the_cpu_is_shared_by_weight_and_summed_over_threads() {
        // Thread 812: 4 s by 300 : 100; thread 813: 1 s, all with the first stack.
        let expected =
            [(4_000, "db: main;execute;scan;hash".to_owned()), (1_000, "db: main;[db+0x5010]".to_owned())];
        assert_eq!(rows(&Stacks::of(&example()).on_cpu), expected);
    }

    #[test]
    fn idle_waits_come_last() {
        let expected = [
            (3_000, "db: main;execute;flush;jbd2_log_wait_commit;io_schedule_timeout;schedule".to_owned()),
            (2_500, "evil\x1b[31m: [broken];inet_recv\x1b[31mmsg;schedule".to_owned()),
            (1_000, "db: [cut];flush;odd_driver_wait;schedule".to_owned()),
            (1_900, "db: main;execute;schedule".to_owned()),
        ];
        assert_eq!(rows(&Stacks::of(&example()).off_cpu), expected);
    }

    #[test]
    fn what_no_sample_saw_stands_apart() {
        let stacks = Stacks::of(&example());
        // On the CPU: thread 900. Off: run queue 1.0, disk_write 1.0, futex_wait 7.0.
        assert_eq!((stacks.on_cpu_not_sampled_ns, stacks.off_cpu_not_sampled_ns), (2.5e9, 9.0e9));
    }

    #[test]
    fn unknown_time_is_told_by_the_first_kernel_function_that_is_no_plumbing() {
        let expected = [FunctionTime { function: "odd_driver_wait".into(), ns: 1e9 }];
        assert_eq!(Stacks::of(&example()).unknown_in, expected);
    }

    #[test]
    fn unknown_time_that_no_sample_saw_is_told_too() {
        let mut recording = example();
        recording.samples.retain(|sample| sample.state != state::UNKNOWN);
        let expected = [FunctionTime { function: "[not sampled]".into(), ns: 1e9 }];
        assert_eq!(Stacks::of(&recording).unknown_in, expected);
    }

    #[test]
    fn the_kernel_function_of_a_stack_is_the_one_that_waits() {
        let stacks = Stacks::of(&example());
        assert_eq!(stacks.off_cpu[0].kernel_function(), Some("jbd2_log_wait_commit"));
        assert_eq!(stacks.on_cpu[0].kernel_function(), None);
    }

    #[test]
    fn weights_that_are_no_numbers_share_nothing() {
        let mut recording = example();
        for (sample, weight) in recording.samples.iter_mut().zip([f64::NAN, f64::INFINITY, -1.0]) {
            sample.weight = weight;
        }
        // The stacks of threads 812 and 813 on the CPU have no usable weight: 5 s join the 2.5 s of thread 900.
        assert_eq!(Stacks::of(&recording).on_cpu_not_sampled_ns.round() as u64, 7_500_000_000);
    }

    #[test]
    fn plumbing_is_what_every_wait_has() {
        for function in
            ["schedule", "__schedule", "schedule_timeout", "io_schedule_timeout", "preempt_schedule_irq"]
        {
            assert!(is_plumbing(function), "{function}");
        }
        assert!(!is_plumbing("futex_wait_queue"));
    }
}
