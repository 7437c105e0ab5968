//! Locks that the recorded threads waited for, who held them, and who ended which waits.

use serde::{Deserialize, Serialize};

use super::sum::{Keyed, Sum, add_number, add_rows};
use super::{ModuleId, ProcessId, StackId, ThreadId};

/// Index into [`Locks::locks`].
pub type LockId = u32;

/// Everything about locks and the ends of waits in a [`super::Span`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locks {
    /// Whether ends of waits and holders of locks were looked at. If not, all is empty.
    pub followed: bool,
    /// Whether the kernel reports contention for its own locks.
    pub kernel_followed: bool,
    pub locks: Vec<Lock>,
    pub kernel_waits: Vec<KernelWaits>,
    pub held: Vec<Held>,
    pub wakes: Vec<Wake>,
    pub releases: Vec<Release>,
    /// Waits for locks that were open at the end: what a deadlock is seen by.
    pub open: Vec<OpenWait>,
}

/// What was seen of locks and of the ends of waits in one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockRows {
    pub kernel_waits: Vec<KernelWaits>,
    pub held: Vec<Held>,
    pub wakes: Vec<Wake>,
    pub releases: Vec<Release>,
    /// Waits for locks that were open at the window's end.
    pub open: Vec<OpenWait>,
}

impl Sum for LockRows {
    fn add(&mut self, later: &Self) {
        add_rows(&mut self.kernel_waits, &later.kernel_waits);
        add_rows(&mut self.held, &later.held);
        add_rows(&mut self.wakes, &later.wakes);
        add_rows(&mut self.releases, &later.releases);
        self.open.clone_from(&later.open);
    }
}

impl LockRows {
    /// Rows of all tables together.
    pub fn len(&self) -> usize {
        self.kernel_waits.len() + self.held.len() + self.wakes.len() + self.releases.len() + self.open.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// Of a lock in a process's memory; none of the kernel's.
    pub process: Option<ProcessId>,
    /// Of the futex's word, or in the kernel; 0 for all locks of the kernel that there was no room for.
    pub address: u64,
    /// Of a lock of the kernel: bits of `profiler_common::lock::contention`; else 0.
    pub kind: u32,
    pub place: Place,
    /// Name of the variable that it lies in, or of the kernel's lock; empty if it is not known. Filled after the recording.
    pub name: String,
}

/// Where in a process's memory something lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// The process was gone, or the address lies in no mapping.
    #[default]
    Unknown,
    /// In the heap that `brk` makes.
    Heap,
    /// In other memory without a file: `malloc`'s larger part, thread stacks, what a runtime manages itself.
    Anonymous,
    /// On the stack of the process's first thread.
    Stack,
    /// In the data of a program or library: so far behind where the file's beginning is mapped.
    Module { module: ModuleId, offset: u64 },
    /// In another file or in shared memory.
    Shared,
    /// In the kernel.
    Kernel,
}

/// Waits of recorded threads for one lock of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelWaits {
    pub lock: LockId,
    /// Bits of `profiler_common::lock::contention`: how it was asked for, and whether the threads spun.
    pub kind: u32,
    pub count: u64,
    pub waited_ns: u64,
    /// The longest wait that was seen to be the longest so far; 0 in a window with none.
    pub longest_ns: u64,
}

/// Ticks at which a thread waited for a lock that another one held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    pub waiter: ThreadId,
    pub lock: LockId,
    pub owner: Party,
    /// State of the owner, if it is recorded: `profiler_common::state` code.
    pub owner_state: Option<u32>,
    pub ticks: u64,
}

/// Some thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Party {
    /// Not known.
    #[default]
    Nobody,
    /// A recorded one.
    Thread(ThreadId),
    /// Another one, by its process in the initial PID namespace and its name.
    Stranger { tgid: u32, comm: String, kernel: bool },
}

/// Waits of a thread that were ended in the same way. Sampled: each stands for as much time as lay since the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wake {
    pub waiter: ThreadId,
    /// `profiler_common::state` code.
    pub state: u32,
    /// Of a futex.
    pub lock: Option<LockId>,
    /// Who was on the CPU.
    pub waker: Party,
    /// It was in user mode when an interrupt came, or idle: it has nothing to do with the wait.
    pub interrupted: bool,
    /// Kernel frames of how it came to wake.
    pub stack: StackId,
    /// Of a wait on an internet socket.
    pub peer: Option<Peer>,
    /// Time of waits that these stand for, and an estimate of how many they were.
    pub weight_ns: u64,
    pub waits: f64,
    /// Wakes really reported.
    pub count: u32,
    /// What a recorded waker did during those waits: (state, time), scaled to `weight_ns`; the part that it does not remember is
    /// missing.
    pub meanwhile: Vec<(u32, u64)>,
}

/// The other end of an internet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    pub address: std::net::IpAddr,
    pub port: u16,
    /// The socket's own.
    pub local_port: u16,
}

/// Stacks with which a thread gave up a lock for which another one waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    pub lock: LockId,
    pub holder: ThreadId,
    pub stack: StackId,
    /// Time of waits that ended with it.
    pub weight_ns: u64,
}

/// A wait for a lock that was open at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenWait {
    pub waiter: ThreadId,
    pub lock: LockId,
    pub owner: Party,
    pub since_ns: u64,
}

impl Sum for KernelWaits {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.count, later.count);
        add_number(&mut self.waited_ns, later.waited_ns);
        self.longest_ns = self.longest_ns.max(later.longest_ns);
    }
}

impl Keyed for KernelWaits {
    type Key = (LockId, u32);

    fn key(&self) -> Self::Key {
        (self.lock, self.kind)
    }
}

impl Sum for Held {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.ticks, later.ticks);
    }
}

impl Keyed for Held {
    type Key = (ThreadId, LockId, Party, Option<u32>);

    fn key(&self) -> Self::Key {
        (self.waiter, self.lock, self.owner.clone(), self.owner_state)
    }
}

impl Sum for Wake {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.weight_ns, later.weight_ns);
        self.waits += later.waits;
        self.count = self.count.saturating_add(later.count);
        for &(state, ns) in &later.meanwhile {
            match self.meanwhile.binary_search_by_key(&state, |&(known, _)| known) {
                Ok(at) => add_number(&mut self.meanwhile[at].1, ns),
                Err(at) => self.meanwhile.insert(at, (state, ns)),
            }
        }
    }
}

/// What distinguishes one kind of end of a wait from another.
pub type WakeKey = (ThreadId, u32, Option<LockId>, Party, bool, StackId, Option<Peer>);

impl Keyed for Wake {
    type Key = WakeKey;

    fn key(&self) -> Self::Key {
        (self.waiter, self.state, self.lock, self.waker.clone(), self.interrupted, self.stack, self.peer)
    }
}

impl Sum for Release {
    fn add(&mut self, later: &Self) {
        add_number(&mut self.weight_ns, later.weight_ns);
    }
}

impl Keyed for Release {
    type Key = (LockId, ThreadId, StackId);

    fn key(&self) -> Self::Key {
        (self.lock, self.holder, self.stack)
    }
}
