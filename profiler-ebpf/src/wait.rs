//! A thread at the moment at which it blocks: what [`classify`](crate::classify) asks about it.

use profiler_common::ledger::ThreadRecord;

use crate::{
    classify::{FileKind, WaitFacts},
    descriptor::file_kind,
    offset,
    task::{Task, UserRegisters},
};

/// For so long is it taken for granted what a descriptor refers to. Reading it takes three to six reads of kernel
/// memory (without the memory a switch over a pipe took 87 ns instead of 74); in a storm of short waits it is read once a
/// millisecond instead. A wait that lasts beyond that is looked at again before its end ([`FileMemory::is_doubtful`]), so
/// when a descriptor comes to mean something else, at most this much of a thread's time has the wrong reason.
const TRUSTED_NS: u64 = 1_000_000;

/// What a thread's account remembers of the descriptor that it last waited on.
#[derive(Clone, Copy)]
pub struct FileMemory {
    record: *mut ThreadRecord,
    now: u64,
}

impl FileMemory {
    /// That of an account, at a moment.
    ///
    /// # Safety
    /// `record` points to a whole writable record.
    #[inline(always)]
    pub unsafe fn new(record: *mut ThreadRecord, now: u64) -> Self {
        Self { record, now }
    }

    /// Whether the reason of the present wait rests on what was read before it began, and that is no longer trusted.
    #[inline(always)]
    pub fn is_doubtful(self) -> bool {
        // SAFETY: by the constructor's contract.
        let (read_at, since) = unsafe { ((*self.record).file_at_ns, (*self.record).since_ns) };
        read_at < since && self.now > read_at + TRUSTED_NS
    }

    #[inline(always)]
    fn recall(self, descriptor: i32) -> Option<FileKind> {
        // SAFETY: by the constructor's contract.
        unsafe {
            let is_same = (*self.record).file_descriptor == descriptor as u32;
            let is_young = self.now < (*self.record).file_at_ns + TRUSTED_NS;
            if is_same && is_young { Some(FileKind::from_code((*self.record).file_kind)) } else { None }
        }
    }

    #[inline(always)]
    fn remember(self, descriptor: i32, kind: FileKind) {
        // SAFETY: by the constructor's contract.
        unsafe {
            (*self.record).file_descriptor = descriptor as u32;
            (*self.record).file_kind = kind as u32;
            (*self.record).file_at_ns = self.now;
        }
    }
}

/// A thread at the moment at which it blocks, or later in the same wait.
pub struct Wait {
    task: Task,
    state: u32,
    registers: UserRegisters,
    memory: Option<FileMemory>,
}

impl Wait {
    /// `state`: the state bits with which the thread leaves the CPU. `memory`: of its account, to save reads.
    #[inline(always)]
    pub fn new(task: Task, state: u32, memory: Option<FileMemory>) -> Self {
        Self { task, state, registers: task.user_registers(), memory }
    }
}

impl WaitFacts for Wait {
    #[inline(always)]
    fn task_state(&self) -> u32 {
        self.state
    }

    #[inline(always)]
    fn task_flags(&self) -> u32 {
        self.task.flags()
    }

    #[inline(always)]
    fn is_frozen(&self) -> bool {
        self.task.bit(offset!(task_frozen_byte), offset!(task_frozen_bit))
    }

    #[inline(always)]
    fn in_iowait(&self) -> bool {
        self.task.bit(offset!(task_in_iowait_byte), offset!(task_in_iowait_bit))
    }

    #[inline(always)]
    fn syscall_class(&self) -> Option<u8> {
        self.registers.syscall_class()
    }

    #[inline(always)]
    fn argument(&self, index: u32) -> u64 {
        self.registers.argument(index)
    }

    #[inline(always)]
    fn file_kind(&self, descriptor: i32) -> FileKind {
        if let Some(kind) = self.memory.and_then(|memory| memory.recall(descriptor)) {
            return kind;
        }
        let kind = file_kind(self.task, descriptor).unwrap_or(FileKind::Unknown);
        if let Some(memory) = self.memory {
            memory.remember(descriptor, kind);
        }
        kind
    }
}
