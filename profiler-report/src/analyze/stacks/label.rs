//! What a frame is called in every output.
//!
//! In: a frame of a recording. Out: one label a function, innermost first; a frame without a name is its place in
//! brackets. Labels are still hostile text: each renderer escapes for its own format.

use std::borrow::Cow;
use std::fmt;

use profiler_common::state::Group;

use crate::recording::{Broken, Frame, FrameId, Span, Stack, StackEnd};

/// Functions that stand on top of a kernel stack only because the profiler, or another tracer, took it.
const TRACING: &[&str] =
    &["bpf_prog_", "bpf_trace_run", "bpf_trampoline_", "bpf_get_stack", "__bpf_get_stack", "__traceiter_"];

/// A line of source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Hostile text, as the debug information has it.
    pub file: String,
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One function of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLabel<'a> {
    /// Name of the function, or the frame's place in brackets.
    pub text: Cow<'a, str>,
    pub kernel: bool,
    /// Inlined into the next label.
    pub inlined: bool,
    /// Source file and line, as the debug information has them; the file is empty if it is not known.
    pub file: &'a str,
    pub line: u32,
}

impl FrameLabel<'_> {
    /// The line of source code.
    pub fn place(&self) -> Option<Place> {
        let known = !self.file.is_empty() && self.line > 0;
        known.then(|| Place { file: self.file.to_owned(), line: self.line })
    }
}

/// The labels of a frame of a valid recording, innermost function first; at least one.
pub fn frame_labels(recording: &Span, frame: FrameId) -> Vec<FrameLabel<'_>> {
    let kernel = matches!(recording.frames[frame as usize], Frame::Kernel { .. });
    match recording.names.get(frame as usize) {
        Some(names) if !names.is_empty() => names
            .iter()
            .map(|name| FrameLabel {
                text: Cow::Borrowed(&name.function),
                kernel,
                inlined: name.inlined,
                file: &name.file,
                line: name.line,
            })
            .collect(),
        _ => {
            let text = Cow::Owned(place(recording, frame));
            vec![FrameLabel { text, kernel, inlined: false, file: "", line: 0 }]
        }
    }
}

/// Where a frame without a name lies.
fn place(recording: &Span, frame: FrameId) -> String {
    match recording.frames[frame as usize] {
        Frame::Kernel { address } => format!("[kernel+{address:#x}]"),
        Frame::User { module, file_offset } => {
            let path = &recording.modules[module as usize].path;
            let name = path.rsplit('/').next().unwrap_or(path);
            let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
            format!("[{name}+{file_offset:#x}]")
        }
        Frame::Unmapped { address, .. } => format!("[unknown {address:#x}]"),
    }
}

/// The kernel frames of a stack, innermost first, without the tracing functions on top.
pub fn kernel_frames<'a>(recording: &Span, stack: &'a Stack) -> &'a [FrameId] {
    let traced = stack.kernel.iter().take_while(|&&frame| is_tracing(recording, frame)).count();
    &stack.kernel[traced..]
}

fn is_tracing(recording: &Span, frame: FrameId) -> bool {
    let outermost = recording.names.get(frame as usize).and_then(|names| names.last());
    outermost.is_some_and(|name| TRACING.iter().any(|prefix| name.function.starts_with(prefix)))
}

/// What a group of states is called in every output.
pub fn group_name(group: Group) -> &'static str {
    match group {
        Group::Cpu => "cpu",
        Group::RunQueue => "run queue",
        Group::Disk => "disk",
        Group::Lock => "lock",
        Group::Net => "net",
        Group::Ipc => "ipc",
        Group::Memory => "memory",
        Group::Idle => "idle",
        Group::Unknown => "unknown",
    }
}

/// What stands at the root of a user stack that does not reach its thread's first function.
pub fn missing_root(end: StackEnd) -> Option<String> {
    match end {
        StackEnd::Complete | StackEnd::NoUserStack => None,
        StackEnd::Cut => Some("[cut]".to_owned()),
        StackEnd::Broken(broken) => Some(format!("[broken: {}]", broken_reason(broken))),
    }
}

/// Why a user stack has no further frames towards its root.
pub fn broken_reason(broken: Broken) -> &'static str {
    match broken {
        Broken::StackUnreadable => "stack unreadable",
        Broken::NoModule => "no module",
        Broken::NoUnwindInfo => "no unwind table",
        Broken::TooDeep => "too deep",
        Broken::ProcessGone => "process gone",
        Broken::OtherStack => "continues on another stack",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Method, Module, Name};

    fn named(function: &str, inlined: bool) -> Name {
        Name { function: function.to_owned(), inlined, ..Name::default() }
    }

    #[track_caller]
    fn check(frame: Frame, names: Vec<Name>, expected: &[(&str, bool, bool)]) {
        let recording = Span {
            frames: vec![frame],
            names: vec![names],
            modules: vec![
                Module { path: "/usr/bin/postgres".to_owned(), ..Module::default() },
                Module { path: "[vdso]".to_owned(), ..Module::default() },
            ],
            ..Span::default()
        };
        let labels = frame_labels(&recording, 0);
        let seen: Vec<_> = labels.iter().map(|label| (&*label.text, label.kernel, label.inlined)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_file_offset_without_a_name_is_told_by_its_file() {
        check(Frame::User { module: 0, file_offset: 0x1f }, vec![], &[("[postgres+0x1f]", false, false)]);
    }

    #[test]
    fn the_brackets_of_a_pseudo_file_are_not_doubled() {
        check(Frame::User { module: 1, file_offset: 0x1f }, vec![], &[("[vdso+0x1f]", false, false)]);
    }

    #[test]
    fn a_kernel_address_without_a_name_is_told_by_its_address() {
        check(Frame::Kernel { address: 0xf0 }, vec![], &[("[kernel+0xf0]", true, false)]);
    }

    #[test]
    fn an_address_in_no_file_is_unknown() {
        check(Frame::Unmapped { process: 0, address: 0xf0 }, vec![], &[("[unknown 0xf0]", false, false)]);
    }

    #[test]
    fn inlined_functions_come_before_the_one_they_are_inlined_into() {
        let names = vec![named("inner", true), named("outer", false)];
        let expected = [("inner", false, true), ("outer", false, false)];
        check(Frame::User { module: 0, file_offset: 0x1f }, names, &expected);
    }

    #[test]
    fn a_recording_that_was_never_symbolized_has_places() {
        let recording = Span { frames: vec![Frame::Kernel { address: 1 }], ..Span::default() };
        assert_eq!(frame_labels(&recording, 0)[0].text, "[kernel+0x1]");
    }

    #[track_caller]
    fn check_kernel_frames(functions: &[&str], expected: &[FrameId]) {
        let kernel: Vec<FrameId> = (0..functions.len() as FrameId).collect();
        let recording = Span {
            frames: kernel.iter().map(|&frame| Frame::Kernel { address: frame.into() }).collect(),
            names: functions.iter().map(|function| vec![named(function, false)]).collect(),
            ..Span::default()
        };
        let stack = Stack { kernel, user: vec![], end: StackEnd::Complete, method: Method::None };
        assert_eq!(kernel_frames(&recording, &stack), expected);
    }

    #[test]
    fn tracing_functions_on_top_are_left_out() {
        let functions = [
            "bpf_prog_6deef7357e7b4530_sched_switch",
            "bpf_trace_run4",
            "__traceiter_sched_switch",
            "__schedule",
        ];
        check_kernel_frames(&functions, &[3]);
    }

    #[test]
    fn tracing_functions_further_down_are_kept() {
        check_kernel_frames(&["__schedule", "bpf_prog_6deef7357e7b4530_filter"], &[0, 1]);
    }

    #[test]
    fn a_stack_of_nothing_but_tracing_is_empty() {
        check_kernel_frames(&["bpf_get_stack", "bpf_prog_1_x"], &[]);
    }
}
