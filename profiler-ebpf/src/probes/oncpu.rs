//! Which code is on the CPU? A perf event fires at the sampling rate on each CPU.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_current_pid_tgid, programs::PerfEventContext};
use profiler_common::{
    event_kind,
    sample::{self, LARGE_ROOM, MEDIUM_ROOM, SMALL_ROOM, SampleRecord},
    stat::Stat,
    state,
};

use super::ledger::{Account, now_ns};
use crate::{
    config,
    emit::{NO_WAKEUP, count},
    maps::{self, EVENTS},
    stack::{self, UserMemory},
    task::Task,
};

/// Takes a sample if the interrupted thread is recorded.
#[inline(always)]
pub fn on_tick(ctx: &PerfEventContext) -> Option<()> {
    let tid = bpf_get_current_pid_tgid() as u32;
    if tid == 0 {
        return None;
    }
    let account = Account::under(tid)?;
    if maps::stopped() {
        return None;
    }
    // Constants of this run: the verifier keeps one of the three.
    match sample::room(config!(stack_bytes)) {
        SMALL_ROOM => take::<SMALL_ROOM>(ctx, tid, account),
        MEDIUM_ROOM => take::<MEDIUM_ROOM>(ctx, tid, account),
        _ => take::<LARGE_ROOM>(ctx, tid, account),
    }
}

#[inline(always)]
fn take<const ROOM: usize>(ctx: &PerfEventContext, tid: u32, account: Account) -> Option<()> {
    let Some(mut entry) = EVENTS.reserve::<SampleRecord<ROOM>>(0) else {
        count(Stat::OnCpuDropped);
        return None;
    };
    let sample = entry.as_mut_ptr();
    // SAFETY: the reserved entry is a whole record, and the account's pointer is not null.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).kind = event_kind::ON_CPU_SAMPLE;
        (*header).tid = tid;
        (*header).ns_tgid = (*account.record()).ns_tgid;
        (*header).state = state::ON_CPU;
        (*header).at_ns = now_ns();
        (*header).threshold = u32::MAX;
        (*header).wait_seq = 0;
        (*header).repeated_seq = 0;
        (*header).repeats = 0;
        stack::read_user_part(sample, Task::current(), UserMemory::Current);
        stack::read_kernel_part(sample, ctx.as_ptr());
    }
    entry.submit(NO_WAKEUP);
    count(Stat::OnCpuSamples);
    Some(())
}
