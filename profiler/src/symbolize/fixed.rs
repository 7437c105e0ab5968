//! The test double: a symbolizer that knows what it was told.

use std::collections::HashMap;

use super::Symbolizer;
use profiler_report::recording::{Frame, ModuleId, Name, ProcessId};

/// Names by frame.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    names: HashMap<Frame, Vec<Name>>,
}

impl Fixed {
    /// Adds the functions at one frame, innermost first; all but the last are inlined.
    #[must_use]
    pub fn with(mut self, frame: Frame, functions: &[&str]) -> Self {
        let last = functions.len().saturating_sub(1);
        let names = functions.iter().enumerate().map(|(index, function)| Name {
            function: (*function).to_owned(),
            inlined: index < last,
            ..Name::default()
        });
        self.names.insert(frame, names.collect());
        self
    }

    fn look_up(&self, frames: impl Iterator<Item = Frame>) -> Vec<Vec<Name>> {
        frames.map(|frame| self.names.get(&frame).cloned().unwrap_or_default()).collect()
    }
}

impl Symbolizer for Fixed {
    fn kernel(&mut self, addresses: &[u64]) -> Vec<Vec<Name>> {
        self.look_up(addresses.iter().map(|&address| Frame::Kernel { address }))
    }

    fn module(&mut self, module: ModuleId, file_offsets: &[u64]) -> Vec<Vec<Name>> {
        self.look_up(file_offsets.iter().map(|&file_offset| Frame::User { module, file_offset }))
    }

    fn process(&mut self, process: ProcessId, addresses: &[u64]) -> Vec<Vec<Name>> {
        self.look_up(addresses.iter().map(|&address| Frame::Unmapped { process, address }))
    }
}
