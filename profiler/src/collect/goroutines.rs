//! Stacks of Go programs that continue on another stack.
//!
//! In: how each sample's stack ended, and the other stacks that the kernel programs send. Out: changes for
//! the kernel's map `GO_PROCESSES`, and to each sample the stack on which its own continues. The first such
//! stack of a process tells where to look; it ends itself where it leaves the thread's.

use std::collections::{HashMap, HashSet};

use profiler_common::{
    go::GoOffsets,
    sample::{SampleHeader, other_stack},
};

use crate::{
    decode,
    unwind::{OtherStack, OtherStacks},
};

/// Processes that are kept: as many as `GO_PROCESSES` has entries.
const MOST_PROCESSES: usize = 1024;

/// A change of the kernel's map: where to look from now on, or no longer.
pub type Change = (u32, Option<GoOffsets>);

/// The programs in which such stacks were met, and the other stack that came last.
#[derive(Default)]
pub struct Goroutines {
    processes: HashSet<u32>,
    changes: Vec<Change>,
    /// By thread and kind: records of several CPUs come mixed.
    stacks: HashMap<(u32, u32), Kept>,
}

#[derive(Default)]
struct Kept {
    at_ns: u64,
    sp: u64,
    fp: u64,
    bytes: Vec<u8>,
}

/// Stacks that are kept, the last of each thread. Between a stack and its sample there are at most the records of other CPUs.
const MOST_STACKS: usize = 512;

impl Goroutines {
    /// Takes in how a stack ended: where the goroutine would be found on whose stack it continues.
    pub fn saw(&mut self, tgid: u32, offsets: Option<GoOffsets>) {
        if let Some(offsets) = offsets
            && self.processes.len() < MOST_PROCESSES
            && self.processes.insert(tgid)
        {
            self.changes.push((tgid, Some(offsets)));
        }
    }

    /// The process has ended, or runs another program.
    pub fn ended(&mut self, tgid: u32) {
        if self.processes.remove(&tgid) {
            self.changes.push((tgid, None));
        }
    }

    /// What has changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Keeps a stack of this kind for the sample that follows.
    pub fn keep(&mut self, kind: u32, other: &decode::Sample) {
        let key = (other.header.tid, kind);
        if self.stacks.len() >= MOST_STACKS && !self.stacks.contains_key(&key) {
            self.stacks.clear();
        }
        let kept = self.stacks.entry(key).or_default();
        (kept.at_ns, kept.sp, kept.fp) = (other.header.at_ns, other.header.sp, other.header.fp);
        kept.bytes.clear();
        kept.bytes.extend_from_slice(other.stack);
    }

    /// The stacks that belong to a sample.
    pub fn stacks_of(&self, sample: &SampleHeader) -> OtherStacks<'_> {
        let of_kind = |kind| {
            let kept = self.stacks.get(&(sample.tid, kind)).filter(|kept| kept.at_ns == sample.at_ns)?;
            Some(OtherStack { sp: kept.sp, fp: kept.fp, bytes: &kept.bytes })
        };
        OtherStacks { goroutine: of_kind(other_stack::GOROUTINE), vdso: of_kind(other_stack::VDSO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSETS: GoOffsets =
        GoOffsets { tls: -8, g_m: 48, m_curg: 192, sched_sp: 56, sched_bp: 104, m_vdso_sp: 0 };

    #[test]
    fn a_process_is_looked_at_from_its_first_such_stack_to_its_end() {
        let mut goroutines = Goroutines::default();
        goroutines.saw(7, None);
        goroutines.saw(7, Some(OFFSETS));
        goroutines.saw(7, Some(OFFSETS));
        goroutines.ended(7);
        goroutines.ended(8);
        assert_eq!(goroutines.take_changes(), [(7, Some(OFFSETS)), (7, None)]);
        assert_eq!(goroutines.take_changes(), []);
    }

    fn sample(tid: u32, at_ns: u64) -> SampleHeader {
        SampleHeader {
            kind: 0,
            tid,
            ns_tgid: tid,
            state: 0,
            at_ns,
            ip: 0,
            sp: 0x1000 + at_ns,
            fp: 0,
            lr: 0,
            kernel_bytes: 0,
            stack_bytes: 0,
            threshold: 0,
            own: [0; 3],
            lock: 0,
        }
    }

    #[test]
    fn a_stack_belongs_to_the_sample_of_its_thread_and_moment() {
        let mut goroutines = Goroutines::default();
        let mut keep = |tid, at_ns, kind, stack| {
            let header = sample(tid, at_ns);
            goroutines.keep(kind, &decode::Sample { header, wait: None, kernel: vec![], stack });
        };
        keep(7, 1, other_stack::GOROUTINE, b"long ago");
        keep(7, 1, other_stack::VDSO, b"long ago");
        keep(7, 2, other_stack::GOROUTINE, b"now");
        keep(8, 2, other_stack::VDSO, b"another's");
        let found = goroutines.stacks_of(&sample(7, 2));
        assert_eq!(found.goroutine.map(|stack| (stack.sp, stack.bytes)), Some((0x1002, &b"now"[..])));
        assert!(found.vdso.is_none());
        let found = goroutines.stacks_of(&sample(7, 3));
        assert!(found.goroutine.is_none() && found.vdso.is_none());
        assert_eq!(
            goroutines.stacks_of(&sample(8, 2)).vdso.map(|stack| stack.bytes),
            Some(&b"another's"[..])
        );
    }
}
