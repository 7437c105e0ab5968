//! How much is to be taken of the stacks of threads whose stacks were cut.
//!
//! In: how each sample's stack ended. Out: changes for the kernel's map `DEEP_STACKS`. A thread starts with the usual
//! number of bytes; each cut doubles it, up to the most that a sample can hold. If that is cut too, more would only cost
//! more: the thread goes back to the usual number and stays there.

use std::collections::HashMap;

use profiler_common::sample::MOST_STACK_BYTES;

use profiler_report::recording::StackEnd;

/// Threads that are kept: as many as `DEEP_STACKS` has entries. The stacks of others stay cut.
const MOST_THREADS: usize = 4096;

/// What a thread's stack is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// So many bytes are taken.
    Bytes(u32),
    /// Even the most was not enough.
    Hopeless,
}

/// A change of the kernel's map: this many bytes from now on, or the usual number again.
pub type Change = (u32, Option<u32>);

/// The threads whose stacks were cut.
#[derive(Default)]
pub struct Depths {
    by_tid: HashMap<u32, Depth>,
    changes: Vec<Change>,
}

impl Depths {
    /// Takes in one stack on the CPU: of how many bytes it was unwound, and how it ended.
    pub fn saw(&mut self, tid: u32, stack_bytes: u32, end: StackEnd) {
        let known = self.by_tid.get(&tid).copied();
        let is_full = self.by_tid.len() >= MOST_THREADS && known.is_none();
        if end != StackEnd::Cut || known == Some(Depth::Hopeless) || is_full {
            return;
        }
        // A sample that was taken before the last change says nothing about it.
        if let Some(Depth::Bytes(bytes)) = known
            && stack_bytes < bytes
        {
            return;
        }
        let more = stack_bytes.saturating_mul(2).next_power_of_two().min(MOST_STACK_BYTES);
        let depth = if more > stack_bytes { Depth::Bytes(more) } else { Depth::Hopeless };
        self.by_tid.insert(tid, depth);
        let bytes = match depth {
            Depth::Bytes(bytes) => Some(bytes),
            Depth::Hopeless => None,
        };
        self.changes.push((tid, bytes));
    }

    /// Another thread may have this id later.
    pub fn thread_ended(&mut self, tid: u32) {
        if let Some(Depth::Bytes(_)) = self.by_tid.remove(&tid) {
            self.changes.push((tid, None));
        }
    }

    /// What has changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u32 = 1024;

    #[track_caller]
    fn check(samples: &[(u32, StackEnd)], expected: &[Option<u32>]) {
        let mut depths = Depths::default();
        for &(stack_bytes, end) in samples {
            depths.saw(7, stack_bytes, end);
        }
        let changes: Vec<_> = depths.take_changes().into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_whole_stack_asks_for_nothing() {
        check(&[(16 * KIB, StackEnd::Complete)], &[]);
    }

    #[test]
    fn each_cut_doubles_what_is_taken() {
        let (cut, whole) = (StackEnd::Cut, StackEnd::Complete);
        check(&[(16 * KIB, cut), (32 * KIB, cut), (64 * KIB, whole)], &[Some(32 * KIB), Some(64 * KIB)]);
    }

    #[test]
    fn a_cut_from_before_the_change_is_no_new_one() {
        check(&[(16 * KIB, StackEnd::Cut), (16 * KIB, StackEnd::Cut)], &[Some(32 * KIB)]);
    }

    #[test]
    fn a_stack_that_is_cut_at_the_most_is_given_up() {
        let cuts = [16, 32, 64, 16, 16].map(|kib| (kib * KIB, StackEnd::Cut));
        check(&cuts, &[Some(32 * KIB), Some(64 * KIB), None]);
    }

    #[test]
    fn the_id_of_a_thread_that_has_ended_starts_anew() {
        let mut depths = Depths::default();
        depths.saw(7, 16 * KIB, StackEnd::Cut);
        depths.thread_ended(7);
        depths.saw(7, 16 * KIB, StackEnd::Cut);
        assert_eq!(depths.take_changes(), [(7, Some(32 * KIB)), (7, None), (7, Some(32 * KIB))]);
    }
}
