//! The two ways out of the kernel programs: the ring for what was seen, [`count`] for what was lost. Records that do not fit
//! on a program's stack are built in the ring itself, by `probes/oncpu.rs` and `probes/ledger.rs`.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_ringbuf_output};
use profiler_common::stat::Stat;

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

/// Sends the first `bytes` bytes at `data`, or counts the loss. Returns whether they were sent.
///
/// # Safety
/// `data` points to at least `bytes` readable bytes.
#[inline(always)]
pub unsafe fn emit_bytes(data: *const u8, bytes: u64, lost: Stat) -> bool {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the caller vouches for the bytes; the verifier checks it against the map's value size.
    let sent = unsafe { bpf_ringbuf_output(ring, data.cast_mut().cast(), bytes, NO_WAKEUP) } == 0;
    if !sent {
        count(lost);
    }
    sent
}
