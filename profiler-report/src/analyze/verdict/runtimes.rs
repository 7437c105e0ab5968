//! Runtimes whose tasks wait for each other without a thread that waits: what is blocked in them cannot be seen from outside.

use crate::analyze::stacks::label::frame_labels;
use crate::recording::{FrameId, Span};

/// By the file of a module: the Java machine, whose monitors and locks all wait in the same condition variable.
const BY_FILE: &[(&str, &str)] = &[("libjvm.so", "Java threads waiting for a monitor")];
/// By the beginning of a function's name.
const BY_FUNCTION: &[(&str, &str)] = &[
    ("runtime.futexsleep", "goroutines waiting for each other"),
    ("runtime.netpoll", "goroutines waiting for each other"),
    ("runtime.epollwait", "goroutines waiting for each other"),
    ("tokio::runtime::", "tokio tasks waiting for each other"),
];

/// What cannot be distinguished from waiting for work in this recording, if there is anything.
pub fn hidden_waits(recording: &Span) -> Option<&'static str> {
    let of_file = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or_default();
        BY_FILE.iter().find(|(name, _)| file == *name).map(|(_, what)| *what)
    };
    let of_function = |frame: FrameId| {
        frame_labels(recording, frame).into_iter().find_map(|label| {
            let known = BY_FUNCTION.iter().find(|(beginning, _)| label.text.starts_with(beginning));
            known.map(|(_, what)| *what)
        })
    };
    let frames = recording.stacks.iter().flat_map(|stack| &stack.user);
    let by_file = recording.modules.iter().find_map(|module| of_file(&module.path));
    by_file.or_else(|| frames.copied().find_map(of_function))
}
