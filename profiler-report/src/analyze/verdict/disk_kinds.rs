//! What waits for disks were for where the state does not tell: asynchronous calls, workers of io_uring, and calls that are neither reads
//! nor writes. The requests that ended them tell; where none did, the recorded threads' requests.

use std::collections::HashMap;

use profiler_common::block_io::{ended_by, operation};
use profiler_common::state;

use crate::recording::{DiskWait, Span};

/// What a wait for a disk was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    /// Discards, too.
    Write,
    /// Until what is written is on the device.
    Sync,
}

/// By the operation of a request.
pub fn kind_of(code: u32) -> Kind {
    match code {
        operation::READ => Kind::Read,
        operation::WRITE_THROUGH | operation::FLUSH | operation::DEVICE_FLUSH => Kind::Sync,
        _ => Kind::Write,
    }
}

/// By the request that has ended it, if one has.
pub fn kind_of_wait(wait: &DiskWait) -> Option<Kind> {
    matches!(wait.ended_by, ended_by::OWN_REQUEST | ended_by::OTHERS_REQUEST).then(|| kind_of(wait.operation))
}

/// Shares of reads, writes and syncs.
type Parts = [f64; 3];

/// What the waits of each state were for.
pub struct DiskKinds {
    by_state: HashMap<u32, Parts>,
    /// Of all requests of the recorded threads, by time.
    of_requests: Parts,
    workers_wait: bool,
    completed_by_kernel_threads: bool,
    /// Of io_uring's waits, the share that was for a disk.
    pub uring_by_disk: f64,
}

impl DiskKinds {
    pub fn of(recording: &Span) -> Self {
        let mut sums: HashMap<u32, [u64; 3]> = HashMap::new();
        for wait in &recording.block_io.waits {
            if let Some(kind) = kind_of_wait(wait) {
                let sum = &mut sums.entry(wait.state).or_default()[kind as usize];
                *sum = sum.saturating_add(wait.blocked_ns);
            }
        }
        let by_state: HashMap<u32, Parts> =
            sums.into_iter().filter_map(|(code, sums)| Some((code, shares(sums)?))).collect();
        let mut kinds = Self {
            workers_wait: by_state.contains_key(&state::KERNEL_IO),
            by_state,
            of_requests: of_requests(recording),
            completed_by_kernel_threads: is_completed_by_kernel_threads(recording),
            uring_by_disk: 0.0,
        };
        kinds.uring_by_disk = kinds.by_disk_of(recording);
        kinds
    }

    fn by_disk_of(&self, recording: &Span) -> f64 {
        let (mut all, mut by_disk) = (0_u64, 0_u64);
        for wait in recording.block_io.waits.iter().filter(|wait| wait.state == state::IO_URING) {
            all = all.saturating_add(wait.blocked_ns);
            // An interrupt may be that of a network card or of a timer.
            if wait.ended_by != ended_by::INTERRUPT && self.is_ended_by_disk(wait) {
                by_disk = by_disk.saturating_add(wait.blocked_ns);
            }
        }
        if all == 0 { 0.0 } else { by_disk as f64 / all as f64 }
    }

    /// Whether a request has ended a wait, or what stands for one: its interrupt, a worker of io_uring that waits for disks itself, a
    /// thread of the kernel that completes asynchronous requests.
    pub fn is_ended_by_disk(&self, wait: &DiskWait) -> bool {
        match wait.ended_by {
            ended_by::OWN_REQUEST | ended_by::OTHERS_REQUEST | ended_by::INTERRUPT => true,
            ended_by::THREAD => {
                wait.state == state::IO_URING && self.workers_wait && wait.by.starts_with("iou-wrk-")
            }
            ended_by::KERNEL_THREAD => is_asynchronous(wait) && self.completed_by_kernel_threads,
            _ => false,
        }
    }

    /// Which part of the waits in a state was for this.
    pub fn share(&self, code: u32, kind: Kind) -> f64 {
        // Who waits for a ring waits for its workers, or for requests that the kernel completes in a thread of its own.
        let workers = || self.by_state.get(&state::KERNEL_IO).filter(|_| code == state::IO_URING);
        let parts = self.by_state.get(&code).or_else(workers).unwrap_or(&self.of_requests);
        parts[kind as usize]
    }

    /// Whether a wait was for this.
    pub fn is_for(&self, wait: &DiskWait, kind: Kind) -> bool {
        let by_call = match wait.state {
            state::DISK_READ | state::PAGE_FAULT_IO | state::EXEC => Kind::Read,
            state::DISK_WRITE | state::FILE_WAIT => Kind::Write,
            state::FSYNC => Kind::Sync,
            code => return kind_of_wait(wait).map_or(self.share(code, kind) > 0.5, |found| found == kind),
        };
        by_call == kind
    }

    /// Its part of a time in a state.
    pub fn of_ns(&self, ns: u64, code: u32, kind: Kind) -> u64 {
        (ns as f64 * self.share(code, kind)) as u64
    }
}

fn shares(sums: [u64; 3]) -> Option<Parts> {
    let all = sums.iter().fold(0_u64, |sum, ns| sum.saturating_add(*ns));
    (all > 0).then(|| sums.map(|ns| ns as f64 / all as f64))
}

/// Of the recorded threads' requests; where there are none, of what the kernel counted at the disks; else reads.
fn of_requests(recording: &Span) -> Parts {
    let mut sums = [0_u64; 3];
    for requests in recording.block_io.requests.iter().filter(|requests| requests.of_target) {
        let sum = &mut sums[kind_of(requests.operation) as usize];
        *sum = sum.saturating_add(requests.total_ns);
    }
    let mut counted = [0_u64; 3];
    for counters in recording.block_io.devices.iter().filter_map(|device| device.counters) {
        let more = [counters.reads, counters.writes.saturating_add(counters.discards), counters.flushes];
        for (sum, more) in counted.iter_mut().zip(more) {
            *sum = sum.saturating_add(more);
        }
    }
    shares(sums).or_else(|| shares(counted)).unwrap_or([1.0, 0.0, 0.0])
}

/// Whether threads of the kernel end the waits for asynchronous requests: what is left to do after some of them (a direct write) is not
/// done in the interrupt. There are about as many requests as such waits then.
fn is_completed_by_kernel_threads(recording: &Span) -> bool {
    let io = &recording.block_io;
    let own = io.requests.iter().filter(|requests| requests.of_target);
    let own = own.fold(0_u64, |sum, requests| sum.saturating_add(requests.count));
    let waits =
        io.waits.iter().filter(|wait| is_asynchronous(wait) && wait.ended_by == ended_by::KERNEL_THREAD);
    let waits = waits.fold(0_u64, |sum, wait| sum.saturating_add(wait.count));
    own.saturating_mul(2) >= waits
}

/// Of calls that wait for requests that were submitted before. The kernel does not count them as pressure.
pub fn is_asynchronous(wait: &DiskWait) -> bool {
    matches!(wait.state, state::AIO | state::IO_URING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{BlockIo, Device, DiskCounters, Requests};

    fn wait(code: u32, ended_by: u32, operation: u32, blocked_ns: u64) -> DiskWait {
        DiskWait { state: code, ended_by, operation, blocked_ns, count: 10, ..DiskWait::default() }
    }

    fn kinds(block_io: BlockIo) -> DiskKinds {
        DiskKinds::of(&Span { block_io, ..Span::default() })
    }

    #[track_caller]
    fn check(kinds: &DiskKinds, code: u32, expected: Parts) {
        let found = [Kind::Read, Kind::Write, Kind::Sync].map(|kind| kinds.share(code, kind));
        assert!(
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9),
            "{found:?}"
        );
    }

    #[test]
    fn what_ends_a_wait_tells_what_it_was_for() {
        let waits = vec![
            wait(state::AIO, ended_by::OWN_REQUEST, operation::WRITE, 30),
            wait(state::AIO, ended_by::OTHERS_REQUEST, operation::READ, 10),
            wait(state::AIO, ended_by::THREAD, operation::READ, 1000),
            wait(state::DISK_OTHER, ended_by::OWN_REQUEST, operation::DISCARD, 5),
            wait(state::KERNEL_IO, ended_by::OWN_REQUEST, operation::FLUSH, 5),
        ];
        let kinds = kinds(BlockIo { waits, ..BlockIo::default() });
        check(&kinds, state::AIO, [0.25, 0.75, 0.0]);
        check(&kinds, state::DISK_OTHER, [0.0, 1.0, 0.0]);
        check(&kinds, state::IO_URING, [0.0, 0.0, 1.0]);
    }

    #[test]
    fn without_one_the_own_requests_tell_and_then_the_kernels_counts() {
        let counters = DiskCounters { reads: 1, writes: 2, discards: 1, ..DiskCounters::default() };
        let mut io = BlockIo {
            devices: vec![Device { counters: Some(counters), ..Device::default() }],
            requests: vec![Requests { operation: operation::READ, total_ns: 9, ..Requests::default() }],
            ..BlockIo::default()
        };
        check(&kinds(io.clone()), state::AIO, [0.25, 0.75, 0.0]);
        io.requests[0].of_target = true;
        check(&kinds(io), state::AIO, [1.0, 0.0, 0.0]);
        check(&kinds(BlockIo::default()), state::AIO, [1.0, 0.0, 0.0]);
    }

    /// A ring of sockets is waited for as often, but not for a disk.
    #[test]
    fn a_ring_is_waited_for_because_of_a_disk_if_requests_workers_or_completions_say_so() {
        let ring = |by| wait(state::IO_URING, by, operation::READ, 10);
        let by = |name: &str| DiskWait { by: name.into(), ..ring(ended_by::THREAD) };
        let percent = |waits: Vec<DiskWait>, count| {
            let own = Requests { of_target: true, count, ..Requests::default() };
            kinds(BlockIo { waits, requests: vec![own], ..BlockIo::default() }).uring_by_disk * 100.0
        };
        let check = |found: f64, expected: u32| assert_eq!(found.round() as u32, expected);
        let worker = wait(state::KERNEL_IO, ended_by::OWN_REQUEST, operation::WRITE, 1);
        check(percent(vec![ring(ended_by::OWN_REQUEST), ring(ended_by::INTERRUPT)], 0), 50);
        check(percent(vec![by("iou-wrk-7"), by("client"), worker.clone()], 0), 50);
        check(percent(vec![by("iou-wrk-7")], 0), 0);
        check(percent(vec![ring(ended_by::KERNEL_THREAD)], 5), 100);
        check(percent(vec![ring(ended_by::KERNEL_THREAD)], 4), 0);
    }
}
