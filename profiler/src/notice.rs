//! One line on a terminal while something takes longer than a moment, so that nobody wonders whether anything happens.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::kernel::HeldSignals;

/// What takes less needs no word.
const PATIENCE: Duration = Duration::from_secs(1);

/// While it lives, the line is shown; then it is removed.
pub struct Notice(Option<(Sender<()>, JoinHandle<()>)>);

impl Notice {
    /// Shows the line after a second, if stderr is a terminal that can take it back and the user wants it.
    pub fn new(is_wanted: bool, line: &'static str) -> Self {
        if !is_wanted || !stderr_can_erase() {
            return Self(None);
        }
        let (end, ended) = channel();
        let show = move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // A terminal that went away is no reason to stop.
                let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
                let _ = ended.recv();
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
        };
        // It inherits that signals are held back, so that they find the thread that waits for them. Without it there is no
        // line.
        let _held = HeldSignals::all();
        let thread = thread::Builder::new().name("notice".to_owned()).spawn(show).ok();
        Self(thread.map(|thread| (end, thread)))
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

/// Whether stderr is a terminal that understands how to erase a line.
pub fn stderr_can_erase() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !is_dumb
}
