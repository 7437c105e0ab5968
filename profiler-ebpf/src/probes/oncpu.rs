//! Which code is on the CPU? A perf event fires at the sampling rate on each CPU.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_current_pid_tgid, programs::PerfEventContext};
use profiler_common::{event_kind, stat::Stat, state};

use super::ledger::{Account, now_ns};
use crate::{
    config,
    emit::emit_sample,
    maps,
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
    let sample = maps::cpu_scratch()?;
    // SAFETY: the buffer is a whole record, and the account's pointer is not null.
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
        let wanted = maps::deep_stack_bytes(tid).unwrap_or(config!(stack_bytes));
        stack::read_user_part(sample, Task::current(), UserMemory::Current, wanted);
        stack::read_kernel_part(sample, ctx.as_ptr());
        emit_sample(sample, Stat::OnCpuSamples, Stat::OnCpuDropped);
    }
    Some(())
}
