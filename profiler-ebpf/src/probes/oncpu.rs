//! Which code is on the CPU? A perf event fires at the sampling rate on each CPU.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_get_prandom_u32},
    programs::PerfEventContext,
};
use profiler_common::{
    event_kind,
    sample::{DEFAULT_STACK_BYTES, SMALL_ROOM, SampleRecord},
    stat::Stat,
    state,
};

use super::ledger::{Account, now_ns};
use crate::{
    config,
    emit::{NO_WAKEUP, count, emit_sample},
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
    let threshold = maps::on_cpu_threshold();
    // SAFETY: a helper without arguments.
    let is_taken = threshold == u32::MAX || (threshold != 0 && unsafe { bpf_get_prandom_u32() } <= threshold);
    if !is_taken {
        return None;
    }
    let usual = config!(stack_bytes);
    let deep = maps::deep_stack_bytes(tid);
    let at_ns = now_ns();
    if let Some(buffer) = maps::cpu_scratch() {
        let (task, wanted) = (Task::current(), deep.unwrap_or(usual));
        // SAFETY: the buffer is a whole record, and this CPU's own; the account's pointer is not null.
        unsafe {
            stack::send_other_stacks(buffer, account.record(), task, UserMemory::Current, at_ns, wanted);
        }
    }
    match deep {
        None if usual <= DEFAULT_STACK_BYTES => in_ring(ctx, account, at_ns, usual),
        deep => in_buffer(ctx, account, at_ns, deep.unwrap_or(usual)),
    }
}

/// A sample of the usual size, written where userspace reads it. Copied from a buffer it would take a fifth longer (13.2 µs
/// instead of 10.9 with postgres, in turn on one machine).
#[inline(always)]
fn in_ring(ctx: &PerfEventContext, account: Account, at_ns: u64, stack_bytes: u32) -> Option<()> {
    let Some(mut entry) = EVENTS.reserve::<SampleRecord<SMALL_ROOM>>(0) else {
        count(Stat::OnCpuDropped);
        return None;
    };
    // SAFETY: the reserved entry is a whole record.
    unsafe { fill(entry.as_mut_ptr(), ctx, account, at_ns, stack_bytes) };
    entry.submit(NO_WAKEUP);
    count(Stat::OnCpuSamples);
    Some(())
}

/// A sample of a thread that needs more, or of a size that was asked for. The ring reserves only sizes that are constants.
#[inline(always)]
fn in_buffer(ctx: &PerfEventContext, account: Account, at_ns: u64, stack_bytes: u32) -> Option<()> {
    let sample = maps::cpu_scratch()?;
    // SAFETY: the buffer is a whole record, and this CPU's own.
    unsafe {
        fill(sample, ctx, account, at_ns, stack_bytes);
        emit_sample(sample, Stat::OnCpuSamples, Stat::OnCpuDropped);
    }
    Some(())
}

/// # Safety
/// `sample` points to a whole writable record.
#[inline(always)]
unsafe fn fill<const ROOM: usize>(
    sample: *mut SampleRecord<ROOM>,
    ctx: &PerfEventContext,
    account: Account,
    at_ns: u64,
    stack_bytes: u32,
) {
    // SAFETY: by the caller's word, and the account's pointer is not null.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).kind = event_kind::ON_CPU_SAMPLE;
        (*header).tid = (*account.record()).tid;
        (*header).ns_tgid = (*account.record()).ns_tgid;
        (*header).state = state::ON_CPU;
        (*header).at_ns = at_ns;
        (*header).threshold = maps::on_cpu_threshold();
        // One by one: of a whole array of zeroes the compiler makes a call of `memset`.
        (*header).own[0] = 0;
        (*header).own[1] = 0;
        (*header).own[2] = 0;
        (*header).lock = (*account.record()).spin_lock;
        stack::read_user_part(sample, Task::current(), UserMemory::Current, stack_bytes);
        stack::read_kernel_part(sample, ctx.as_ptr());
    }
}
