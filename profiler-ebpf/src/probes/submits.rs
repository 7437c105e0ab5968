//! Where in a program are requests to block devices submitted?

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use profiler_common::{
    block_io, event_kind,
    sample::{DEFAULT_STACK_BYTES, SMALL_ROOM, SampleRecord, SubmittedRequest},
    stat::Stat,
    state,
};

use super::ledger::Account;
use crate::{
    emit::{NO_WAKEUP, count},
    maps::{self, EVENTS, SUBMIT_WINDOW},
    request::Request,
    stack::{self, UserMemory},
    task::Task,
};

/// Stacks of submitters that are taken on a CPU in so much time, whatever the disks do.
const SUBMIT_WINDOW_NS: u64 = 10_000_000;
const MOST_SUBMITS_A_WINDOW: u32 = 2;

/// The stack of a recorded thread that submits a request, of one in so many.
///
/// # Safety
/// `context` is that of the program, `new` the slot of the request.
#[inline(always)]
pub unsafe fn sample_submitter(
    context: *mut c_void,
    request: Request,
    new: *const block_io::Request,
) -> Option<()> {
    // SAFETY: by the caller's word.
    let new = unsafe { &*new };
    let threshold = maps::submit_threshold();
    if new.submitter != block_io::submitter::MEMBER || threshold == 0 {
        return None;
    }
    // SAFETY: takes no argument.
    if threshold != u32::MAX && unsafe { bpf_get_prandom_u32() } > threshold {
        return None;
    }
    let window = SUBMIT_WINDOW.get_ptr_mut(0)?;
    // SAFETY: non-null pointer to this CPU's own value.
    unsafe {
        if new.arrived_ns.saturating_sub((*window).since_ns) > SUBMIT_WINDOW_NS {
            (*window).since_ns = new.arrived_ns;
            (*window).taken = 0;
        }
        if (*window).taken >= MOST_SUBMITS_A_WINDOW {
            count(Stat::SubmitsOverLimit);
            return None;
        }
        (*window).taken += 1;
    }
    let Some(mut entry) = EVENTS.reserve::<SampleRecord<SMALL_ROOM>>(0) else {
        count(Stat::SubmitsDropped);
        return None;
    };
    let (sample, task) = (entry.as_mut_ptr(), Task::current());
    // SAFETY: the reserved entry is a whole record.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).kind = event_kind::SUBMIT_SAMPLE;
        (*header).tid = new.tid;
        (*header).ns_tgid = Account::of(task, new.tid).map_or(0, |account| (*account.record()).ns_tgid);
        (*header).state = state::ON_CPU;
        (*header).at_ns = new.arrived_ns;
        (*header).threshold = threshold;
        let (device, operation, bytes) = (new.device, new.operation, request.remaining_bytes());
        (*header).own = SubmittedRequest { device, operation, bytes }.own();
        (*header).lock = 0;
        stack::read_user_part(sample, task, UserMemory::Current, DEFAULT_STACK_BYTES);
        stack::read_kernel_part(sample, context);
    }
    entry.submit(NO_WAKEUP);
    count(Stat::Submits);
    Some(())
}
