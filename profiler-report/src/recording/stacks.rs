//! Stacks, the frames that they are made of, the names of those, and the samples that met them.

use serde::{Deserialize, Serialize};

use super::sum::{Keyed, Sum};
use super::{FrameId, LockId, ModuleId, ProcessId, StackId, ThreadId};

/// One mapped file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Module {
    /// Path in the process's own mount namespace, or a name in brackets such as `[vdso]`.
    pub path: String,
    /// GNU build id; empty if the file has none.
    pub build_id: Vec<u8>,
}

/// One code address, made independent of where its module was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// Kernel address, of this boot.
    Kernel { address: u64 },
    /// Offset in a module's file.
    User { module: ModuleId, file_offset: u64 },
    /// Address of a process in no mapped file (JIT code, or a mapping that was gone before it could be read).
    Unmapped { process: ProcessId, address: u64 },
}

/// One function at a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Name {
    /// Demangled.
    pub function: String,
    /// Inlined into the next name.
    pub inlined: bool,
    /// Source file, empty if unknown.
    pub file: String,
    pub line: u32,
}

/// One stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    pub kernel: Vec<FrameId>,
    pub user: Vec<FrameId>,
    pub end: StackEnd,
    pub method: Method,
}

/// How the user part of a stack was unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// By unwind tables alone.
    Tables,
    /// At least one caller was found by the frame pointer or by what lay on the stack, where there was no table: a good
    /// guess where code keeps frame pointers.
    FramePointers,
    /// Not at all: a kernel thread's, or one of a process that was gone.
    None,
}

/// How the user part of a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackEnd {
    /// Reached the thread's first function.
    Complete,
    /// The snapshot of the stack was too short.
    Cut,
    /// Could not be unwound further.
    Broken(Broken),
    /// A kernel thread.
    NoUserStack,
}

/// Why a stack could not be unwound to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// The stack's memory could not be read.
    StackUnreadable,
    /// The address lies in no file that could be read.
    NoModule,
    /// The module has no usable unwind information there, and the frame pointer led nowhere.
    NoUnwindInfo,
    /// More frames than are kept.
    TooDeep,
    /// The process was gone before its mappings were read.
    ProcessGone,
    /// It continues on another stack: that of what a signal interrupted, or of the goroutine for which Go's
    /// runtime runs.
    OtherStack,
}

/// Samples of one thread in one state with one stack.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    pub thread: ThreadId,
    /// `profiler_common::state` code.
    pub state: u32,
    pub stack: StackId,
    /// The lock that the thread waited for, or on which it spun.
    pub lock: Option<LockId>,
    /// Ticks that these samples stand for. Says how the ledger's time in `state` is shared out, not a time itself.
    pub weight: f64,
    /// Stacks really taken.
    pub count: u32,
}

impl Sum for Sample {
    fn add(&mut self, later: &Self) {
        self.weight += later.weight;
        self.count = self.count.saturating_add(later.count);
    }
}

impl Keyed for Sample {
    type Key = (ThreadId, u32, StackId, Option<LockId>);

    fn key(&self) -> Self::Key {
        (self.thread, self.state, self.stack, self.lock)
    }
}
