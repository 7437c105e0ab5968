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
        EbpfContext as _,
        macros::{btf_tracepoint, perf_event},
        programs::{BtfTracePointContext, PerfEventContext},
    };
    use profiler_ebpf::{
        probes::{block_io, ledger, locks, offcpu, oncpu, process, seed},
        request::Request,
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
        // SAFETY: the context is the one that the kernel gave to this program.
        let _ = unsafe { ledger::on_waking(ctx.as_ptr(), Task::new(ctx.arg(0))) };
        0
    }

    /// Not `sched_process_fork`, which does not tell of the workers that io_uring gives a process (`create_io_thread` calls
    /// `copy_process` without `kernel_clone`, <https://github.com/torvalds/linux/blob/v6.18/kernel/fork.c>). This one stands at the
    /// end of `copy_process`, in the task that creates, before the new one can run.
    #[btf_tracepoint(function = "task_newtask")]
    pub fn task_newtask(ctx: BtfTracePointContext) -> i32 {
        let _ = process::on_fork(Task::current(), Task::new(ctx.arg(0)));
        0
    }

    #[btf_tracepoint(function = "sched_process_exec")]
    pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
        let _ = process::on_exec(Task::new(ctx.arg(0)), ctx.arg(1));
        0
    }

    /// Linux 6.5 and later.
    #[btf_tracepoint(function = "block_io_start")]
    pub fn block_io_start(ctx: BtfTracePointContext) -> i32 {
        // SAFETY: the program's own context.
        let _ = unsafe { block_io::on_start(ctx.as_ptr(), Request::new(ctx.arg(0))) };
        0
    }

    /// Before Linux 6.5, which has no `block_io_start`.
    #[btf_tracepoint(function = "block_rq_insert")]
    pub fn block_rq_insert(ctx: BtfTracePointContext) -> i32 {
        // SAFETY: the program's own context.
        let _ = unsafe { block_io::on_insert(ctx.as_ptr(), Request::new(ctx.arg(0))) };
        0
    }

    /// Before Linux 5.11 the request is the second argument.
    #[btf_tracepoint(function = "block_rq_insert")]
    pub fn block_rq_insert_with_queue(ctx: BtfTracePointContext) -> i32 {
        // SAFETY: the program's own context.
        let _ = unsafe { block_io::on_insert(ctx.as_ptr(), Request::new(ctx.arg(1))) };
        0
    }

    #[btf_tracepoint(function = "block_rq_issue")]
    pub fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
        // SAFETY: the program's own context.
        let _ = unsafe { block_io::on_issue(ctx.as_ptr(), Request::new(ctx.arg(0))) };
        0
    }

    /// Before Linux 5.11 the request is the second argument.
    #[btf_tracepoint(function = "block_rq_issue")]
    pub fn block_rq_issue_with_queue(ctx: BtfTracePointContext) -> i32 {
        // SAFETY: the program's own context.
        let _ = unsafe { block_io::on_issue(ctx.as_ptr(), Request::new(ctx.arg(1))) };
        0
    }

    #[btf_tracepoint(function = "block_rq_requeue")]
    pub fn block_rq_requeue(ctx: BtfTracePointContext) -> i32 {
        let _ = block_io::on_requeue(Request::new(ctx.arg(0)));
        0
    }

    /// Before Linux 5.11 the request is the second argument.
    #[btf_tracepoint(function = "block_rq_requeue")]
    pub fn block_rq_requeue_with_queue(ctx: BtfTracePointContext) -> i32 {
        let _ = block_io::on_requeue(Request::new(ctx.arg(1)));
        0
    }

    #[btf_tracepoint(function = "block_rq_complete")]
    pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
        // An errno before Linux 5.16, a `blk_status_t` of one byte since: the low byte of either tells a failure.
        let (status, bytes): (u8, u32) = (ctx.arg(1), ctx.arg(2));
        let _ = block_io::on_complete(Request::new(ctx.arg(0)), status != 0, bytes);
        0
    }

    /// Linux 5.19 and later.
    #[btf_tracepoint(function = "contention_begin")]
    pub fn contention_begin(ctx: BtfTracePointContext) -> i32 {
        let lock: *const u8 = ctx.arg(0);
        let _ = locks::on_contention_begin(lock as u64, ctx.arg(1));
        0
    }

    #[btf_tracepoint(function = "contention_end")]
    pub fn contention_end(ctx: BtfTracePointContext) -> i32 {
        let lock: *const u8 = ctx.arg(0);
        let _ = locks::on_contention_end(lock as u64);
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
