//! The report's part about locks and the ends of waits.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{Seconds, StateJson, seconds};
use crate::analyze::{Edge, Ender, FutexKind, FutexRow, Holder, KernelLockRow, Report};
use crate::recording::{LockId, Party, Place, Span, ThreadId};

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LocksJson<'a> {
    /// False with `--locks off`.
    followed: bool,
    /// False where the kernel does not report contention (before 5.19).
    kernel_followed: bool,
    /// Futexes that were waited for.
    futexes: Vec<FutexJson<'a>>,
    /// Locks of the kernel: exact counts and times.
    kernel: Vec<KernelLockJson<'a>>,
    /// Threads that wait in a circle.
    deadlocks: Vec<DeadlockJson<'a>>,
    /// Who ended whose waits, by sampled time.
    wakers: Vec<EdgeJson<'a>>,
    /// Starting from the longest waits, what the thread that ended them waited for.
    chains: Vec<ChainJson<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct LockJson<'a> {
    /// Of a lock in a process's memory; null for one of the kernel.
    tgid: Option<u32>,
    address: u64,
    /// Of the variable that it is in, or of the kernel's lock; null where that is not known.
    name: Option<&'a str>,
    /// Where it is.
    place: PlaceJson,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct FutexJson<'a> {
    lock: LockJson<'a>,
    /// By the functions that wait, or by the futex's value.
    #[serde(with = "FutexKindJson")]
    kind: FutexKind,
    /// Somebody holds it, so that waiting for it is lost time.
    is_lock: bool,
    /// The ledger's, shared out over samples.
    seconds: Seconds,
    /// Estimated from the sampled ends of waits.
    waits: f64,
    waiters: Vec<ThreadNameJson<'a>>,
    holder: HolderJson<'a>,
    /// Functions of the program with the most time, innermost first.
    waited_in: &'a [String],
    /// Functions of the program with the most time, innermost first.
    released_in: &'a [String],
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct KernelLockJson<'a> {
    lock: LockJson<'a>,
    kind: &'static str,
    waits: u64,
    /// Waited asleep.
    slept_seconds: Seconds,
    /// Waited spinning.
    spun_seconds: Seconds,
    longest_seconds: Seconds,
    holder: HolderJson<'a>,
    waited_in: Option<&'a str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct HolderJson<'a> {
    how: HowJson,
    /// Share of the waits for which a holder is known.
    known_ratio: f64,
    /// Holders by their share of those, the largest first.
    parties: Vec<PartyJson<'a>>,
    /// What they did while others waited; empty where that is not known.
    meanwhile: Vec<MeanwhileJson>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct PartyJson<'a> {
    /// Null if it was not recorded.
    thread: Option<ThreadNameJson<'a>>,
    /// Of a process that was not recorded.
    tgid: Option<u32>,
    comm: &'a str,
    ratio: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct MeanwhileJson {
    state: StateJson,
    ratio: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ThreadNameJson<'a> {
    /// In the profiler's PID namespace.
    tid: u32,
    comm: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct DeadlockJson<'a> {
    /// The thread of each step waits for a lock that the thread of the next one holds.
    steps: Vec<DeadlockStepJson<'a>>,
    /// Until the end of the recording.
    seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct DeadlockStepJson<'a> {
    thread: ThreadNameJson<'a>,
    waits_for: LockJson<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct EdgeJson<'a> {
    waiter: ThreadNameJson<'a>,
    state: StateJson,
    lock: Option<LockJson<'a>>,
    ended_by: EnderJson,
    /// Recorded thread that ended the wait.
    thread: Option<ThreadNameJson<'a>>,
    /// Process that ended it and was not recorded.
    tgid: Option<u32>,
    /// Name of the process or kernel thread that ended it.
    by: Option<&'a str>,
    seconds: Seconds,
    waits: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ChainJson<'a> {
    steps: Vec<EdgeJson<'a>>,
    /// It came back to a thread that is in it.
    in_circle: bool,
}

/// Where a lock is.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum PlaceJson {
    Unknown,
    Heap,
    Anonymous,
    Stack,
    Module,
    Shared,
    Kernel,
}

/// What is waited for.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(remote = "FutexKind", rename_all = "snake_case")]
enum FutexKindJson {
    Mutex,
    ReadWriteLock,
    InterpreterLock,
    ConditionVariable,
    Semaphore,
    Join,
    Park,
    #[serde(rename = "futex")]
    Other,
}

/// How a holder is known: by the lock's own word, or by who ended the waits.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum HowJson {
    Observed,
    Inferred,
    Unknown,
}

/// What ended a wait.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
enum EnderJson {
    Thread,
    Process,
    KernelThread,
    Timer,
    Network,
    Disk,
    Interrupt,
}

impl<'a> LocksJson<'a> {
    pub fn of(report: &'a Report<'_>) -> Self {
        let recording = report.recording;
        Self {
            followed: recording.locks.followed,
            kernel_followed: recording.locks.kernel_followed,
            futexes: report.locks.futexes.iter().map(|row| FutexJson::of(recording, row)).collect(),
            kernel: report.locks.kernel.iter().map(|row| KernelLockJson::of(recording, row)).collect(),
            deadlocks: report
                .locks
                .deadlocks
                .iter()
                .map(|deadlock| DeadlockJson {
                    steps: deadlock
                        .steps
                        .iter()
                        .map(|&(thread, lock)| DeadlockStepJson {
                            thread: ThreadNameJson::of(recording, thread),
                            waits_for: LockJson::of(recording, lock),
                        })
                        .collect(),
                    seconds: seconds(recording.meta.ended_at_ns.saturating_sub(deadlock.since_ns)),
                })
                .collect(),
            wakers: report.wakers.edges.iter().map(|edge| EdgeJson::of(recording, edge)).collect(),
            chains: report
                .wakers
                .chains
                .iter()
                .map(|chain| ChainJson {
                    steps: chain.steps.iter().map(|edge| EdgeJson::of(recording, edge)).collect(),
                    in_circle: chain.in_circle,
                })
                .collect(),
        }
    }
}

impl<'a> LockJson<'a> {
    fn of(recording: &'a Span, lock: LockId) -> Self {
        let lock = &recording.locks.locks[lock as usize];
        Self {
            tgid: lock.process.map(|process| recording.processes[process as usize].tgid),
            address: lock.address,
            name: Some(lock.name.as_str()).filter(|name| !name.is_empty()),
            place: match lock.place {
                Place::Unknown => PlaceJson::Unknown,
                Place::Heap => PlaceJson::Heap,
                Place::Anonymous => PlaceJson::Anonymous,
                Place::Stack => PlaceJson::Stack,
                Place::Module { .. } => PlaceJson::Module,
                Place::Shared => PlaceJson::Shared,
                Place::Kernel => PlaceJson::Kernel,
            },
        }
    }
}

impl<'a> FutexJson<'a> {
    fn of(recording: &'a Span, row: &'a FutexRow) -> Self {
        Self {
            lock: LockJson::of(recording, row.lock),
            kind: row.kind,
            is_lock: row.is_lock(),
            seconds: seconds(row.waited_ns),
            waits: row.waits,
            waiters: row.waiters.iter().map(|&thread| ThreadNameJson::of(recording, thread)).collect(),
            holder: HolderJson::of(recording, &row.holder),
            waited_in: &row.waited_in,
            released_in: &row.released_in,
        }
    }
}

impl<'a> KernelLockJson<'a> {
    fn of(recording: &'a Span, row: &'a KernelLockRow) -> Self {
        Self {
            lock: LockJson::of(recording, row.lock),
            kind: row.kind,
            waits: row.count,
            slept_seconds: seconds(row.slept_ns),
            spun_seconds: seconds(row.spun_ns),
            longest_seconds: seconds(row.longest_ns),
            holder: HolderJson::of(recording, &row.holder),
            waited_in: row.waited_in.as_deref(),
        }
    }
}

impl<'a> HolderJson<'a> {
    fn of(recording: &'a Span, holder: &'a Holder) -> Self {
        let party = |(party, ratio): &'a (Party, f64)| match party {
            Party::Thread(thread) => {
                let thread = ThreadNameJson::of(recording, *thread);
                PartyJson { tgid: None, comm: thread.comm, thread: Some(thread), ratio: *ratio }
            }
            Party::Stranger { tgid, comm, .. } => {
                PartyJson { thread: None, tgid: Some(*tgid), comm, ratio: *ratio }
            }
            Party::Nobody => PartyJson { thread: None, tgid: None, comm: "", ratio: *ratio },
        };
        let how = if holder.parties.is_empty() {
            HowJson::Unknown
        } else if holder.observed {
            HowJson::Observed
        } else {
            HowJson::Inferred
        };
        Self {
            how,
            known_ratio: holder.known_ratio,
            parties: holder.parties.iter().map(party).collect(),
            meanwhile: holder
                .meanwhile
                .iter()
                .map(|&(code, ratio)| MeanwhileJson { state: StateJson::of(code), ratio })
                .collect(),
        }
    }
}

impl<'a> ThreadNameJson<'a> {
    fn of(recording: &'a Span, thread: ThreadId) -> Self {
        let row = &recording.threads[thread as usize];
        Self { tid: row.tid, comm: &row.comm }
    }
}

impl<'a> EdgeJson<'a> {
    fn of(recording: &'a Span, edge: &'a Edge) -> Self {
        let (ended_by, thread, tgid, by) = match &edge.ender {
            Ender::Thread(thread) => {
                (EnderJson::Thread, Some(ThreadNameJson::of(recording, *thread)), None, None)
            }
            Ender::Process { tgid, comm } => (EnderJson::Process, None, Some(*tgid), Some(comm.as_str())),
            Ender::KernelThread(name) => (EnderJson::KernelThread, None, None, Some(name.as_str())),
            Ender::Timer => (EnderJson::Timer, None, None, None),
            Ender::Network => (EnderJson::Network, None, None, None),
            Ender::Disk => (EnderJson::Disk, None, None, None),
            Ender::Interrupt => (EnderJson::Interrupt, None, None, None),
        };
        Self {
            waiter: ThreadNameJson::of(recording, edge.waiter),
            state: StateJson::of(edge.state),
            lock: edge.lock.map(|lock| LockJson::of(recording, lock)),
            ended_by,
            thread,
            tgid,
            by,
            seconds: seconds(edge.waited_ns),
            waits: edge.waits,
        }
    }
}
