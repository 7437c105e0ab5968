//! The report's part about locks and the ends of waits.

use serde::Serialize;

use super::seconds;
use crate::analyze::{Edge, Ender, FutexRow, Holder, KernelLockRow, Report, state_name};
use crate::recording::{LockId, Party, Place, Span, ThreadId};

#[derive(Serialize)]
pub struct LocksJson<'a> {
    followed: bool,
    kernel_followed: bool,
    futexes: Vec<FutexJson<'a>>,
    kernel: Vec<KernelJson<'a>>,
    deadlocks: Vec<DeadlockJson<'a>>,
    wakers: Vec<EdgeJson<'a>>,
    chains: Vec<ChainJson<'a>>,
}

#[derive(Serialize)]
struct LockJson<'a> {
    tgid: Option<u32>,
    address: u64,
    name: Option<&'a str>,
    place: &'static str,
}

#[derive(Serialize)]
struct FutexJson<'a> {
    lock: LockJson<'a>,
    kind: &'static str,
    is_lock: bool,
    seconds: f64,
    waits: f64,
    waiters: Vec<ThreadJson<'a>>,
    holder: HolderJson<'a>,
    waited_in: &'a [String],
    released_in: &'a [String],
}

#[derive(Serialize)]
struct KernelJson<'a> {
    lock: LockJson<'a>,
    kind: &'static str,
    waits: u64,
    slept_seconds: f64,
    spun_seconds: f64,
    longest_seconds: f64,
    holder: HolderJson<'a>,
    waited_in: Option<&'a str>,
}

#[derive(Serialize)]
struct HolderJson<'a> {
    how: &'static str,
    known_ratio: f64,
    parties: Vec<PartyJson<'a>>,
    meanwhile: Vec<MeanwhileJson>,
}

#[derive(Serialize)]
struct PartyJson<'a> {
    thread: Option<ThreadJson<'a>>,
    tgid: Option<u32>,
    comm: &'a str,
    ratio: f64,
}

#[derive(Serialize)]
struct MeanwhileJson {
    state: String,
    ratio: f64,
}

#[derive(Serialize)]
struct ThreadJson<'a> {
    tid: u32,
    comm: &'a str,
}

#[derive(Serialize)]
struct DeadlockJson<'a> {
    steps: Vec<StepJson<'a>>,
    seconds: f64,
}

#[derive(Serialize)]
struct StepJson<'a> {
    thread: ThreadJson<'a>,
    waits_for: LockJson<'a>,
}

#[derive(Serialize)]
struct EdgeJson<'a> {
    waiter: ThreadJson<'a>,
    state: String,
    lock: Option<LockJson<'a>>,
    ended_by: &'static str,
    thread: Option<ThreadJson<'a>>,
    tgid: Option<u32>,
    by: Option<&'a str>,
    seconds: f64,
    waits: f64,
}

#[derive(Serialize)]
struct ChainJson<'a> {
    steps: Vec<EdgeJson<'a>>,
    in_circle: bool,
}

impl<'a> LocksJson<'a> {
    pub fn of(report: &'a Report<'_>) -> Self {
        let recording = report.recording;
        Self {
            followed: recording.locks.followed,
            kernel_followed: recording.locks.kernel_followed,
            futexes: report.locks.futexes.iter().map(|row| FutexJson::of(recording, row)).collect(),
            kernel: report.locks.kernel.iter().map(|row| KernelJson::of(recording, row)).collect(),
            deadlocks: report
                .locks
                .deadlocks
                .iter()
                .map(|deadlock| DeadlockJson {
                    steps: deadlock
                        .steps
                        .iter()
                        .map(|&(thread, lock)| StepJson {
                            thread: ThreadJson::of(recording, thread),
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
                Place::Unknown => "unknown",
                Place::Heap => "heap",
                Place::Anonymous => "anonymous",
                Place::Stack => "stack",
                Place::Module { .. } => "module",
                Place::Shared => "shared",
                Place::Kernel => "kernel",
            },
        }
    }
}

impl<'a> FutexJson<'a> {
    fn of(recording: &'a Span, row: &'a FutexRow) -> Self {
        Self {
            lock: LockJson::of(recording, row.lock),
            kind: row.kind.name(),
            is_lock: row.is_lock(),
            seconds: seconds(row.waited_ns),
            waits: row.waits,
            waiters: row.waiters.iter().map(|&thread| ThreadJson::of(recording, thread)).collect(),
            holder: HolderJson::of(recording, &row.holder),
            waited_in: &row.waited_in,
            released_in: &row.released_in,
        }
    }
}

impl<'a> KernelJson<'a> {
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
                let thread = ThreadJson::of(recording, *thread);
                PartyJson { tgid: None, comm: thread.comm, thread: Some(thread), ratio: *ratio }
            }
            Party::Stranger { tgid, comm, .. } => {
                PartyJson { thread: None, tgid: Some(*tgid), comm, ratio: *ratio }
            }
            Party::Nobody => PartyJson { thread: None, tgid: None, comm: "", ratio: *ratio },
        };
        let how = if holder.parties.is_empty() {
            "unknown"
        } else if holder.observed {
            "observed"
        } else {
            "inferred"
        };
        Self {
            how,
            known_ratio: holder.known_ratio,
            parties: holder.parties.iter().map(party).collect(),
            meanwhile: holder
                .meanwhile
                .iter()
                .map(|&(code, ratio)| MeanwhileJson { state: state_name(code), ratio })
                .collect(),
        }
    }
}

impl<'a> ThreadJson<'a> {
    fn of(recording: &'a Span, thread: ThreadId) -> Self {
        let row = &recording.threads[thread as usize];
        Self { tid: row.tid, comm: &row.comm }
    }
}

impl<'a> EdgeJson<'a> {
    fn of(recording: &'a Span, edge: &'a Edge) -> Self {
        let (ended_by, thread, tgid, by) = match &edge.ender {
            Ender::Thread(thread) => ("thread", Some(ThreadJson::of(recording, *thread)), None, None),
            Ender::Process { tgid, comm } => ("process", None, Some(*tgid), Some(comm.as_str())),
            Ender::KernelThread(name) => ("kernel_thread", None, None, Some(name.as_str())),
            Ender::Timer => ("timer", None, None, None),
            Ender::Network => ("network", None, None, None),
            Ender::Disk => ("disk", None, None, None),
            Ender::Interrupt => ("interrupt", None, None, None),
        };
        Self {
            waiter: ThreadJson::of(recording, edge.waiter),
            state: state_name(edge.state),
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
