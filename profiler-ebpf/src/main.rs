//! Entry points of the kernel programs: the list of what is attached. Each is named after its hook.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    // The programs run in the kernel. Built for the host, this file only type-checks them.
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

mod entry {
    use aya_ebpf::{
        macros::{btf_tracepoint, perf_event},
        programs::{BtfTracePointContext, PerfEventContext},
    };
    use profiler_ebpf::{
        probes::{ledger, offcpu, oncpu, process, seed},
        task::{self, Task},
    };

    /// Linux 5.18 and later, where the tracepoint itself says in which state the previous task leaves.
    #[btf_tracepoint(function = "sched_switch")]
    pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
        let (preempt, prev, next): (u32, *const u8, *const u8) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
        ledger::on_switch(preempt & 1 != 0, Task::new(prev), Task::new(next), ctx.arg(3));
        0
    }

    /// Before Linux 5.18: the state is read from the task, and may already be that of its wake-up.
    #[btf_tracepoint(function = "sched_switch")]
    pub fn sched_switch_without_state(ctx: BtfTracePointContext) -> i32 {
        let (preempt, prev, next): (u32, *const u8, *const u8) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
        let prev = Task::new(prev);
        ledger::on_switch(preempt & 1 != 0, prev, Task::new(next), prev.state());
        0
    }

    #[btf_tracepoint(function = "sched_waking")]
    pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
        let _ = ledger::on_waking(Task::new(ctx.arg(0)));
        0
    }

    #[btf_tracepoint(function = "sched_process_fork")]
    pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
        let _ = process::on_fork(Task::new(ctx.arg(0)), Task::new(ctx.arg(1)));
        0
    }

    #[btf_tracepoint(function = "sched_process_exec")]
    pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
        let _ = process::on_exec(Task::new(ctx.arg(0)), ctx.arg(1));
        0
    }

    #[perf_event]
    pub fn on_cpu_tick(ctx: PerfEventContext) -> u32 {
        let _ = oncpu::on_tick(&ctx);
        0
    }

    /// Opens the accounts of threads that are already there. aya-ebpf 0.2 has no macro for iterators.
    #[unsafe(link_section = "iter/task")]
    #[unsafe(no_mangle)]
    pub extern "C" fn seed_threads(ctx: *const task::IteratorContext) -> i32 {
        // SAFETY: the kernel passes a valid context to each run of the program.
        let _ = unsafe { task::iterated(ctx) }.and_then(seed::on_task);
        0
    }

    /// Takes the stacks of threads that are off the CPU. Sleepable: it may have to fault in a page of a stack.
    #[unsafe(link_section = "iter.s/task")]
    #[unsafe(no_mangle)]
    pub extern "C" fn sample_off_cpu(ctx: *const task::IteratorContext) -> i32 {
        // SAFETY: as above.
        let _ = unsafe { task::iterated(ctx) }.and_then(offcpu::on_task);
        0
    }
}
