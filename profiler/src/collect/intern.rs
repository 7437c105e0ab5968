//! Stores each frame and each stack once.

use indexmap::IndexSet;

use crate::unwind::Location;
use profiler_report::recording::{Frame, FrameId, Method, ProcessId, Stack, StackEnd, StackId};

/// Distinct stacks that are kept. A stack of 40 frames takes about 250 bytes here: 32,768 make 8 MiB. More distinct ones
/// come from unbounded recursion or from code that is generated all the time.
const MOST_STACKS: usize = 32_768;
/// Frames of all kept stacks together, 4 bytes each, 16 MiB: 32,768 stacks of 128 frames. Deep recursion, which has a
/// stack of a thousand frames for each depth, meets this bound first.
const MOST_STACK_FRAMES: usize = 4 << 20;
/// Distinct frames that are kept: 24 bytes and as much for the index, 6 MiB.
const MOST_FRAMES: usize = 131_072;

/// All frames and stacks so far.
#[derive(Default)]
pub struct Stacks {
    frames: IndexSet<Frame>,
    stacks: IndexSet<Stack>,
    /// Frames of all of `stacks`.
    stack_frames: usize,
}

impl Stacks {
    /// The id of a stack; none if it is new and the tables are full.
    pub fn intern(
        &mut self,
        process: ProcessId,
        kernel: &[u64],
        user: &[Location],
        (end, method): (StackEnd, Method),
    ) -> Option<StackId> {
        let kernel = kernel
            .iter()
            .enumerate()
            .map(|(index, &address)| self.frame(Frame::Kernel { address: call_site(index, address) }))
            .collect::<Option<Vec<_>>>()?;
        let user = user
            .iter()
            .map(|&location| {
                self.frame(match location {
                    Location::File { image, file_offset } => Frame::User { module: image, file_offset },
                    Location::Unmapped { address } => Frame::Unmapped { process, address },
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let stack = Stack { kernel, user, end, method };
        let frames = stack.kernel.len() + stack.user.len();
        let is_full = self.stacks.len() >= MOST_STACKS || self.stack_frames + frames > MOST_STACK_FRAMES;
        if is_full && !self.stacks.contains(&stack) {
            return None;
        }
        let (id, is_new) = self.stacks.insert_full(stack);
        self.stack_frames += if is_new { frames } else { 0 };
        Some(id as StackId)
    }

    fn frame(&mut self, frame: Frame) -> Option<FrameId> {
        if self.frames.len() >= MOST_FRAMES && !self.frames.contains(&frame) {
            return None;
        }
        Some(self.frames.insert_full(frame).0 as FrameId)
    }

    /// The tables of a recording.
    pub fn into_tables(self) -> (Vec<Frame>, Vec<Stack>) {
        (self.frames.into_iter().collect(), self.stacks.into_iter().collect())
    }
}

/// All kernel frames but the innermost are return addresses; the call lies just before.
fn call_site(index: usize, address: u64) -> u64 {
    if index == 0 { address } else { address.saturating_sub(1) }
}
