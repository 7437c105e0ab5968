//! The flamegraph: stacks with the ledger's exact time as their width.
//!
//! In: a recording, whose samples only say how a thread's time in one state is shared out. Out: [`Flame`], paths from
//! the root with nanoseconds of thread time. Does not escape, colour or draw; see [`crate::report`].
//!
//! A path is: process, thread, state, user functions from the thread's first one on, kernel functions. The widths of
//! the wall view add up to the threads' elapsed time, because time that no sample hit and the ledger's residual have
//! frames of their own. The one exception: where the states of a thread exceed its elapsed time (clocks of two CPUs),
//! its width is the sum of its states.

mod crowd;

use std::collections::HashMap;

use profiler_common::state::{self, Group};

use self::crowd::Owner;
use crate::analyze::stacks::label::{frame_labels, group_name, kernel_frames, missing_root};
use crate::analyze::stacks::shares::Shares;
use crate::recording::{Span, Stack, StackId, ThreadSum};

/// Which of the threads' time is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Wall,
    /// Only time on a CPU.
    Cpu,
    /// All but time on a CPU.
    OffCpu,
}

/// Stacks with the time that they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flame {
    pub view: View,
    /// Each frame once.
    pub frames: Vec<FlameFrame>,
    /// Each path once, in the order of the frames' texts.
    pub stacks: Vec<FlameStack>,
}

/// One box of the flamegraph, without its width.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlameFrame {
    /// Hostile text.
    pub text: String,
    pub kind: Kind,
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A process or a thread.
    Owner,
    /// A state of the ledger.
    State(Group),
    /// Code, in a state of this group.
    Code(Group, Layer),
    /// A remark in place of code: what is missing, and why.
    Missing(Group),
    /// Time of a thread that the ledger cannot account for.
    Residual,
}

/// Where code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    User,
    Kernel,
    Inlined,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameStack {
    /// Indices into [`Flame::frames`], root first.
    pub path: Vec<u32>,
    /// Thread time.
    pub ns: u64,
}

impl View {
    /// The view's name on the command line and in file headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Cpu => "cpu",
            Self::OffCpu => "offcpu",
        }
    }

    fn shows(self, state: u32) -> bool {
        match self {
            Self::Wall => true,
            Self::Cpu => state == state::ON_CPU,
            Self::OffCpu => state != state::ON_CPU,
        }
    }

    fn shows_residual(self) -> bool {
        self != Self::Cpu
    }
}

impl FlameFrame {
    /// The mark that flamegraph tools put behind a function's name.
    pub fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Code(_, Layer::Kernel) => "_[k]",
            Kind::Code(_, Layer::Inlined) => "_[i]",
            _ => "",
        }
    }
}

impl Flame {
    /// Builds one view of a recording that is valid ([`crate::recording::Recording::validate`]).
    pub fn new(recording: &Span, view: View) -> Self {
        let owners = crowd::owners(recording);
        let shares = Shares::of(recording);
        let mut builder =
            Builder { recording, view, frames: Vec::new(), ids: HashMap::new(), totals: HashMap::new() };
        let owner = |owner: &Owner| {
            [&owner.process, &owner.thread].map(|text| builder.frame(text.clone(), Kind::Owner))
        };
        let roots: Vec<[u32; 2]> = owners.iter().map(owner).collect();
        for (sample, &ns) in recording.samples.iter().zip(&shares.ns) {
            if ns > 0 && view.shows(sample.state) {
                builder.add_stack(roots[sample.thread as usize], sample.state, sample.stack, ns);
            }
        }
        for row in shares.not_sampled.iter().filter(|row| view.shows(row.state)) {
            builder.add_not_sampled(roots[row.thread as usize], row.state, row.ns);
        }
        if view.shows_residual() {
            for (thread, &root) in recording.threads.iter().zip(&roots) {
                builder.add_residual(root, thread);
            }
        }
        builder.finish()
    }

    /// Thread time of all paths.
    pub fn total_ns(&self) -> u64 {
        self.stacks.iter().fold(0, |total, stack| total.saturating_add(stack.ns))
    }

    /// The paths with whole microseconds, which add up to the whole microseconds of [`Self::total_ns`]. Each is off by
    /// less than one; paths that come to none are left out.
    pub fn microseconds(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let mut before_ns = 0u64;
        self.stacks.iter().filter_map(move |stack| {
            let after_ns = before_ns.saturating_add(stack.ns);
            let microseconds = after_ns / 1000 - before_ns / 1000;
            before_ns = after_ns;
            (microseconds > 0).then_some((stack.path.as_slice(), microseconds))
        })
    }
}

struct Builder<'a> {
    recording: &'a Span,
    view: View,
    frames: Vec<FlameFrame>,
    ids: HashMap<FlameFrame, u32>,
    totals: HashMap<Vec<u32>, u64>,
}

impl Builder<'_> {
    /// Time of a thread in a state with a stack.
    fn add_stack(&mut self, root: [u32; 2], code: u32, stack: StackId, ns: u64) {
        let (mut path, group) = self.state_path(root, code);
        self.push_code(&mut path, stack, group);
        self.add(path, ns);
    }

    /// Time of a thread in a state that no sample saw.
    fn add_not_sampled(&mut self, root: [u32; 2], code: u32, ns: u64) {
        let (mut path, group) = self.state_path(root, code);
        path.push(self.frame("[not sampled]".to_owned(), Kind::Missing(group)));
        self.add(path, ns);
    }

    fn add_residual(&mut self, root: [u32; 2], thread: &ThreadSum) {
        let accounted_ns = thread.state_ns.iter().fold(0_u64, |sum, &ns| sum.saturating_add(ns));
        let residual_ns = thread.elapsed_ns.saturating_sub(accounted_ns);
        if residual_ns > 0 {
            let residual = self.frame("[residual]".to_owned(), Kind::Residual);
            self.add(vec![root[0], root[1], residual], residual_ns);
        }
    }

    /// The path down to the state's frame.
    fn state_path(&mut self, root: [u32; 2], code: u32) -> (Vec<u32>, Group) {
        let (text, group) = state_label(code);
        let state = self.frame(text, Kind::State(group));
        (vec![root[0], root[1], state], group)
    }

    /// Appends a stack, from its root to its leaf.
    fn push_code(&mut self, path: &mut Vec<u32>, stack: StackId, group: Group) {
        let recording = self.recording;
        let stack: &Stack = &recording.stacks[stack as usize];
        if let Some(text) = missing_root(stack.end) {
            path.push(self.frame(text, Kind::Missing(group)));
        }
        let kernel = kernel_frames(recording, stack);
        for &frame in stack.user.iter().rev().chain(kernel.iter().rev()) {
            for label in frame_labels(recording, frame).into_iter().rev() {
                let layer = match label {
                    _ if label.inlined => Layer::Inlined,
                    _ if label.kernel => Layer::Kernel,
                    _ => Layer::User,
                };
                path.push(self.frame(label.text.into_owned(), Kind::Code(group, layer)));
            }
        }
    }

    fn add(&mut self, path: Vec<u32>, ns: u64) {
        let total = self.totals.entry(path).or_default();
        *total = total.saturating_add(ns);
    }

    fn frame(&mut self, text: String, kind: Kind) -> u32 {
        let frame = FlameFrame { text, kind };
        if let Some(&id) = self.ids.get(&frame) {
            return id;
        }
        let id = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.ids.insert(frame, id);
        id
    }

    fn finish(self) -> Flame {
        let frames = self.frames;
        let mut stacks: Vec<FlameStack> =
            self.totals.into_iter().map(|(path, ns)| FlameStack { path, ns }).collect();
        stacks.sort_by(|a, b| {
            texts(&frames, &a.path).cmp(texts(&frames, &b.path)).then_with(|| a.path.cmp(&b.path))
        });
        Flame { view: self.view, frames, stacks }
    }
}

fn texts<'a>(frames: &'a [FlameFrame], path: &'a [u32]) -> impl Iterator<Item = &'a str> {
    path.iter().map(|&id| frames[id as usize].text.as_str())
}

/// The name of a state with its group, where that says more.
fn state_label(code: u32) -> (String, Group) {
    match state::by_code(code) {
        None => (format!("state {code}"), Group::Unknown),
        Some(state) if matches!(state.group, Group::Cpu | Group::Unknown) => {
            (state.name.to_owned(), state.group)
        }
        Some(state) => (format!("{} ({})", state.name, group_name(state.group)), state.group),
    }
}

#[cfg(test)]
pub(crate) mod tests;
