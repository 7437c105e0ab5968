//! Which code is waiting? Userspace runs this iterator over all tasks at the sampling rate.
//!
//! An interval of which the stack was already taken costs nothing more than a count: it gains weight.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use profiler_common::{
    event_kind,
    sample::{LARGE_ROOM, SampleRecord, SampledWait},
    stat::Stat,
    state,
};

use super::{
    ledger::{Account, now_ns},
    locks,
};
use crate::{
    config,
    emit::{count, emit_sample},
    maps,
    stack::{self, UserMemory},
    task::Task,
};

/// Looks at one task.
#[inline(always)]
pub fn on_task(task: Task) -> Option<()> {
    let account = Account::of(task, task.tid())?;
    let record = account.record();
    // SAFETY: the pointers into the maps are not null. The thread may run meanwhile on another CPU; that is checked again
    // after the stack was taken.
    unsafe {
        if (*record).state == state::ON_CPU {
            return None;
        }
        let pass = maps::pass()?;
        let counts = &raw mut (*pass).counts;
        if task.is_on_cpu() {
            // Still leaving it: without a pass to come it would not be found before the next change.
            (*counts).left_over += 1;
            return None;
        }
        (*counts).off_cpu += 1;
        let _ = locks::tell_holder(account, task, pass);
        let wait_seq = (*record).wait_seq;
        if (*record).sampled_seq == wait_seq {
            (*record).repeats += (*pass).weight_again;
            return None;
        }
        (*counts).left_over += 1;
        if (*record).state == state::RUNQ_PREEMPT && (*record).since_ns >= (*pass).tick_ns {
            return None;
        }
        (*counts).candidates += 1;
        if state::is_blocked((*record).state) {
            (*counts).new_waits += 1;
        }
        let threshold = (*pass).threshold;
        if bpf_get_prandom_u32() > threshold {
            return None;
        }
        if (*counts).captured >= config!(captures_per_pass) {
            (*counts).over_limit += 1;
            return None;
        }
        (*counts).captured += 1;
        account.settle(task, now_ns());
        let state_before = (*record).state;
        let sample = maps::scratch()?;
        let at_ns = now_ns();
        let wanted = config!(off_cpu_stack_bytes);
        stack::send_other_stacks(sample, record, task, UserMemory::Of(task), at_ns, wanted);
        fill(sample, task, account, (at_ns, threshold), wait_seq);
        if core::ptr::read_volatile(&raw const (*record).wait_seq) != wait_seq
            || core::ptr::read_volatile(&raw const (*record).state) == state::ON_CPU
        {
            count(Stat::OffCpuRaced);
            return None;
        }
        (*sample).header.state = state_before;
        emit_sample(sample, Stat::OffCpuSamples, Stat::OffCpuDropped).then(|| {
            (*counts).left_over -= 1;
            (*record).sampled_seq = wait_seq;
            // The sample itself counts once.
            (*record).repeats = (*pass).weight_new.saturating_sub(1);
        })
    }
}

/// # Safety
/// `sample` points to a whole writable record.
#[inline(always)]
unsafe fn fill(
    sample: *mut SampleRecord<LARGE_ROOM>,
    task: Task,
    account: Account,
    (at_ns, threshold): (u64, u32),
    seq: u32,
) {
    let record = account.record();
    // SAFETY: by the caller's word, and the account's pointer is not null.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).kind = event_kind::OFF_CPU_SAMPLE;
        (*header).tid = (*record).tid;
        (*header).ns_tgid = (*record).ns_tgid;
        (*header).at_ns = at_ns;
        (*header).threshold = threshold;
        let (repeated_seq, repeats) = ((*record).sampled_seq, (*record).repeats);
        (*header).own = SampledWait { seq, repeated_seq, repeats }.own();
        (*header).lock = locks::waited_for(record, task);
        stack::read_user_part(sample, task, UserMemory::Of(task), config!(off_cpu_stack_bytes));
        stack::read_task_kernel_part(sample, task);
    }
}
