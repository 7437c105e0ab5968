//! The two ways out of the kernel programs: the ring for what was seen, [`count`] for what was lost. Samples and
//! final accounts do not fit on a program's stack: they are built in the ring itself (`probes/oncpu.rs`, `probes/ledger.rs`), large
//! samples in maps.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_ringbuf_output};
use profiler_common::{
    sample::{FIXED_BYTES, LARGE_ROOM, MOST_STACK_BYTES, SampleRecord},
    stat::Stat,
};

use crate::maps::{EVENTS, STATS};

/// No wake-up an event: userspace empties the ring at each tick.
pub const NO_WAKEUP: u64 = BPF_RB_NO_WAKEUP as u64;

/// Adds one to a per-CPU counter.
#[inline(always)]
pub fn count(stat: Stat) {
    if let Some(slot) = STATS.get_ptr_mut(stat as u32) {
        // SAFETY: non-null by `if let`; per CPU, so no other CPU writes it. A program nested on this CPU (an NMI inside
        // a tracepoint) can cost one count; that is accepted.
        unsafe { *slot += 1 };
    }
}

/// Sends a small record, or counts the loss.
#[inline(always)]
pub fn emit<T: Copy + 'static>(event: T, lost: Stat) {
    match EVENTS.reserve::<T>(0) {
        Some(mut entry) => {
            entry.write(event);
            entry.submit(NO_WAKEUP);
        }
        None => count(lost),
    }
}

/// Sends the part of a sample that is filled, or counts the loss. Returns whether it was sent.
///
/// # Safety
/// `sample` points to a whole record.
#[inline(always)]
pub unsafe fn emit_sample(sample: *mut SampleRecord<LARGE_ROOM>, sent: Stat, lost: Stat) -> bool {
    // SAFETY: by the caller's word; the length is bounded right here, where the verifier can see it.
    unsafe {
        let mut stack_bytes = (*sample).header.stack_bytes as usize;
        if stack_bytes > MOST_STACK_BYTES as usize {
            stack_bytes = MOST_STACK_BYTES as usize;
        }
        let bytes = (FIXED_BYTES + stack_bytes) as u64;
        let ring = (&raw const EVENTS).cast_mut().cast();
        let is_sent = bpf_ringbuf_output(ring, sample.cast(), bytes, NO_WAKEUP) == 0;
        count(if is_sent { sent } else { lost });
        is_sent
    }
}
