//! Spans as recordings with windows, for tests.

use proptest::prelude::*;

use super::{any_span, example};
use crate::recording::{
    BlockIoRows, DiskUse, Followed, LockRows, Recording, Span, ThreadTimes, TimeInState, Window,
};

/// A recording of one window, which has all that a span has.
pub fn one_window(span: &Span) -> Recording {
    let times = |(thread, row): (u32, &crate::recording::ThreadSum)| {
        let states = (0_u32..).zip(&row.state_ns).filter(|&(_, &ns)| ns > 0);
        let states = states.map(|(state, &ns)| {
            let count = row.state_count.get(state as usize).copied().unwrap_or(0);
            TimeInState { state, ns, count }
        });
        ThreadTimes {
            thread,
            elapsed_ns: row.elapsed_ns,
            preemptions: row.preemptions,
            states: states.collect(),
        }
    };
    let disks = (0_u32..).zip(&span.block_io.devices).filter_map(|(disk, device)| {
        let in_flight_ns = span.elapsed_ns() / 4;
        device.counters.map(|counters| DiskUse { disk, counters, in_flight_ns })
    });
    let (block_io, locks) = (&span.block_io, &span.locks);
    let window = Window {
        from_ns: span.meta.started_at_ns,
        to_ns: span.meta.ended_at_ns,
        ledger: (0_u32..).zip(&span.threads).map(times).collect(),
        samples: span.samples.clone(),
        wait_times: span.wait_times.clone(),
        block_io: BlockIoRows {
            disks: disks.collect(),
            requests: block_io.requests.clone(),
            shares: block_io.shares.clone(),
            waits: block_io.waits.clone(),
            files: block_io.files.clone(),
            submitters: block_io.submitters.clone(),
        },
        locks: LockRows {
            kernel_waits: locks.kernel_waits.clone(),
            held: locks.held.clone(),
            wakes: locks.wakes.clone(),
            releases: locks.releases.clone(),
            open: locks.open.clone(),
        },
        machine: span.machine.clone(),
        quality: span.quality.clone(),
        cost: span.cost.clone(),
    };
    Recording {
        meta: span.meta.clone(),
        followed: Followed {
            block_io: block_io.followed,
            locks: locks.followed,
            kernel_locks: locks.kernel_followed,
        },
        processes: span.processes.clone(),
        threads: span.threads.iter().map(|row| row.thread.clone()).collect(),
        modules: span.modules.clone(),
        frames: span.frames.clone(),
        names: span.names.clone(),
        stacks: span.stacks.clone(),
        locks: locks.locks.clone(),
        disks: block_io.devices.iter().map(|device| device.disk.clone()).collect(),
        windows: vec![window],
        skipped: span.skipped.clone(),
        debuginfod: span.debuginfod,
        budget: span.budget.clone(),
    }
}

/// The example in two windows: the first 4 s, in which nothing but the thread 813 is seen, and the rest.
pub fn example_recording() -> Recording {
    let mut recording = one_window(&example());
    let middle_ns = recording.meta.started_at_ns + 4_000_000_000;
    let rest = &mut recording.windows[0];
    rest.from_ns = middle_ns;
    let mut first = Window { from_ns: recording.meta.started_at_ns, to_ns: middle_ns, ..Window::default() };
    // 4 s of its 7 s of futex_wait.
    let log = &mut rest.ledger[1];
    let state = profiler_common::state::FUTEX_WAIT;
    let wait = log.states.iter_mut().find(|time| time.state == state).expect("it waits");
    wait.ns -= 4_000_000_000;
    wait.count -= 3;
    log.elapsed_ns -= 4_000_000_000;
    let states = vec![TimeInState { state, ns: 4_000_000_000, count: 3 }];
    first.ledger.push(ThreadTimes { thread: 1, elapsed_ns: 4_000_000_000, preemptions: 0, states });
    // The other two have their whole lives in the second window, as far as it has room.
    recording.windows.insert(0, first);
    recording
}

/// Any span as a recording of up to three windows, whose rows are any parts of its rows.
pub fn any_recording() -> impl Strategy<Value = Recording> {
    (any_span(), proptest::collection::vec(any::<u32>(), 0..3)).prop_map(|(span, cuts)| {
        let mut recording = one_window(&span);
        for cut in cuts {
            let Some(mut last) = recording.windows.pop() else { break };
            let mut first = Window { from_ns: last.from_ns, to_ns: last.from_ns, ..Window::default() };
            last.from_ns = first.to_ns;
            let at = |rows: usize| cut as usize % (rows + 1);
            first.ledger = last.ledger.split_off(at(last.ledger.len()));
            first.samples = last.samples.split_off(at(last.samples.len()));
            first.block_io.requests = last.block_io.requests.split_off(at(last.block_io.requests.len()));
            first.locks.wakes = last.locks.wakes.split_off(at(last.locks.wakes.len()));
            recording.windows.extend([first, last]);
        }
        recording
    })
}
