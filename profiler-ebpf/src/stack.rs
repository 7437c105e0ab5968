//! Fills a sample: registers, kernel frames, and a snapshot of the user stack.

use aya_ebpf::helpers::generated::{
    bpf_copy_from_user_task, bpf_get_stack, bpf_get_task_stack, bpf_probe_read_user,
};
use core::ffi::c_void;
use profiler_common::{
    event_kind,
    go::G_STACK_HI,
    ledger::ThreadRecord,
    sample::{KERNEL_FRAMES, LARGE_ROOM, PAGE_BYTES, SampleRecord, other_stack},
    stat::Stat,
};

use crate::{
    emit::{count, emit_sample},
    maps, offset,
    task::Task,
};

/// Bytes for kernel frames.
const KERNEL_BYTES: u32 = (KERNEL_FRAMES * 8) as u32;

/// Where a snapshot of a user stack is read from.
#[derive(Clone, Copy)]
pub enum UserMemory {
    /// The current task's; its pages must be present.
    Current,
    /// That of another task, from a sleepable program.
    Of(Task),
}

impl UserMemory {
    /// Reads `bytes` bytes, whole or not at all.
    #[inline(always)]
    fn read(self, to: *mut c_void, bytes: u32, from: u64) -> bool {
        // SAFETY: the verifier checks the destination, the helpers check the source.
        let result = unsafe {
            match self {
                Self::Current => bpf_probe_read_user(to, bytes, from as *const c_void),
                Self::Of(task) => bpf_copy_from_user_task(to, bytes, from as *const c_void, task.as_ptr(), 0),
            }
        };
        result == 0
    }

    /// Eight bytes.
    #[inline(always)]
    fn word(self, from: u64) -> Option<u64> {
        let mut word = 0_u64;
        if self.read((&raw mut word).cast(), 8, from) { Some(word) } else { None }
    }
}

/// Sets the registers and the snapshot of at most `wanted` bytes of the user stack; zero for a thread that has none.
///
/// # Safety
/// `sample` points to a whole writable record.
#[inline(always)]
pub unsafe fn read_user_part<const ROOM: usize>(
    sample: *mut SampleRecord<ROOM>,
    task: Task,
    memory: UserMemory,
    wanted: u32,
) {
    // SAFETY: by the caller's word.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).stack_bytes = 0;
        if task.is_kernel_thread() {
            let none = opaque(0) as u64;
            (*header).ip = none;
            (*header).sp = none;
            (*header).fp = none;
            (*header).lr = none;
            return;
        }
        let registers = task.user_registers();
        let sp = registers.read(offset!(regs_sp));
        (*header).ip = registers.read(offset!(regs_ip));
        (*header).sp = sp;
        (*header).fp = registers.read(offset!(regs_fp));
        (*header).lr = registers.read(offset!(regs_lr));
        let wanted = below_the_start(task, sp, wanted);
        let bytes = read_stack::<ROOM>((&raw mut (*sample).stack).cast(), sp, memory, wanted as usize);
        (*header).stack_bytes = bytes;
        if bytes == 0 {
            count(Stat::UserStackUnreadable);
        }
    }
}

/// If the thread runs on its own stack for a goroutine or for a call into the vDSO, sends a snapshot of the stack that it has
/// left, in front of the thread's sample.
///
/// # Safety
/// `sample` points to a whole writable record that nobody else uses, `record` to an account.
#[inline(always)]
pub unsafe fn send_other_stacks(
    sample: *mut SampleRecord<LARGE_ROOM>,
    record: *const ThreadRecord,
    task: Task,
    memory: UserMemory,
    at_ns: u64,
    wanted: u32,
) -> Option<()> {
    // SAFETY: by the caller's word.
    unsafe {
        let go = maps::go_process((*record).ns_tgid)?;
        let present = memory.word(task.fs_base()?.wrapping_add_signed(i64::from(go.tls)))?;
        let thread = memory.word(present + u64::from(go.g_m))?;
        let header = &raw mut (*sample).header;
        (*header).kind = event_kind::OTHER_STACK;
        (*header).tid = (*record).tid;
        (*header).ns_tgid = (*record).ns_tgid;
        (*header).at_ns = at_ns;
        (*header).kernel_bytes = 0;
        (*header).lock = 0;
        if go.m_vdso_sp != 0 {
            let after_return = memory.word(thread + u64::from(go.m_vdso_sp))?;
            if after_return != 0 {
                // The caller's frame pointer lies below the return address.
                (*header).fp = memory.word(after_return - 16)?;
                (*header).own = [other_stack::VDSO, 0, 0];
                send_up_to_end(sample, memory, present, after_return - 8, wanted);
            }
        }
        let goroutine = memory.word(thread + u64::from(go.m_curg))?;
        if goroutine == 0 || goroutine == present {
            return None;
        }
        (*header).fp = memory.word(goroutine + u64::from(go.sched_bp))?;
        (*header).own = [other_stack::GOROUTINE, 0, 0];
        let sp = memory.word(goroutine + u64::from(go.sched_sp))?;
        send_up_to_end(sample, memory, goroutine, sp, wanted)
    }
}

/// Sends a goroutine's stack from `sp` on.
///
/// # Safety
/// `sample` points to a whole writable record.
#[inline(always)]
unsafe fn send_up_to_end(
    sample: *mut SampleRecord<LARGE_ROOM>,
    memory: UserMemory,
    goroutine: u64,
    sp: u64,
    wanted: u32,
) -> Option<()> {
    let end = memory.word(goroutine + u64::from(G_STACK_HI))?;
    if sp == 0 || sp >= end {
        return None;
    }
    let wanted = if end - sp < u64::from(wanted) { (end - sp) as u32 } else { wanted };
    // SAFETY: by the caller's word.
    unsafe {
        let header = &raw mut (*sample).header;
        (*header).sp = sp;
        let bytes = read_stack::<LARGE_ROOM>((&raw mut (*sample).stack).cast(), sp, memory, wanted as usize);
        (*header).stack_bytes = bytes;
        emit_sample(sample, Stat::OtherStacks, Stat::OtherStacksDropped);
    }
    Some(())
}

/// Bytes that are read above the start of a stack: more than a first function, which has no caller, looks at.
const ABOVE_THE_START: u64 = 64;

/// How much of `wanted` lies below the start of the first thread's stack. Above it are strings, and soon the end of the
/// mapping, at which a read fails, which costs more than it is worth.
#[inline(always)]
fn below_the_start(task: Task, sp: u64, wanted: u32) -> u32 {
    let end = task.start_stack() + ABOVE_THE_START;
    if sp < end && end - sp < u64::from(wanted) { (end - sp) as u32 } else { wanted }
}

/// Copies the stack from `sp` upward, page by page, because a read that touches an unmapped page fails whole. The first
/// read ends at the page's end, the last one where the snapshot has its number of bytes, unless the stack ends before.
#[inline(always)]
unsafe fn read_stack<const ROOM: usize>(to: *mut u8, sp: u64, memory: UserMemory, wanted: usize) -> u32 {
    // SAFETY: the snapshot's place is not filled yet.
    let wanted = unsafe { unknown(wanted, to.cast()) };
    let first = PAGE_BYTES - (sp as usize & (PAGE_BYTES - 1));
    if !memory.read(to.cast(), first as u32, sp) {
        return 0;
    }
    let mut bytes = first;
    let mut page = 0;
    while page < ROOM / PAGE_BYTES - 1 {
        // Opaque to the compiler, which else knows the sum's bounds, drops the comparison for the verifier and counts down
        // from the end instead (seen on 6.18: "R1 unbounded memory access", at a pointer with a minimum of -4095).
        let offset = opaque(first + page * PAGE_BYTES);
        if offset > ROOM - PAGE_BYTES || offset >= wanted {
            break;
        }
        let length = if wanted - offset < PAGE_BYTES { wanted - offset } else { PAGE_BYTES };
        // The verifier of 6.1 does not compare two ranges, so it also follows the offsets beyond `wanted`, where the length would
        // be negative (seen with `--stack-bytes 16k`: "R2 min value is negative"). The mask changes no length that is a page at
        // the most; opaque, or the compiler would know that too and drop it.
        let length = opaque(length) & (2 * PAGE_BYTES - 1);
        // SAFETY: inside the snapshot by the check above.
        if !memory.read(unsafe { to.add(offset) }.cast(), length as u32, sp + offset as u64) {
            break;
        }
        bytes = offset + length;
        page += 1;
    }
    bytes as u32
}

/// The same value, of which the compiler knows nothing.
#[inline(always)]
pub fn opaque(value: usize) -> usize {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::read_volatile(&raw const value) }
}

/// The same number, of which the verifier knows nothing: it does not follow what lies in maps and in the ring.
///
/// What a comparison in a loop says of a number holds behind the loop as well, and whatever uses it there is checked anew for each
/// way out of the loop (`on_cpu_tick`: 211,000 instructions looked at instead of 26,000, and 0.2 s more to attach, on 6.18).
///
/// # Safety
/// `place` points to memory that nobody else uses.
#[inline(always)]
unsafe fn unknown(number: usize, place: *mut u32) -> usize {
    // SAFETY: by the caller's word.
    unsafe {
        place.write_volatile(number as u32);
        place.read_volatile() as usize
    }
}

/// Sets the kernel frames of the interrupted code. None if the interrupt came from user mode.
///
/// # Safety
/// `sample` points to a whole writable record, and `context` is that of a perf event program.
#[inline(always)]
pub unsafe fn read_kernel_part<const ROOM: usize>(sample: *mut SampleRecord<ROOM>, context: *mut c_void) {
    // SAFETY: by the caller's word.
    unsafe {
        let frames = (&raw mut (*sample).kernel).cast();
        let bytes = bpf_get_stack(context, frames, KERNEL_BYTES, 0) as i32;
        // -EFAULT is the answer for an interrupt from user mode: there are no kernel frames.
        (*sample).header.kernel_bytes = if bytes == -14 { 0 } else { kernel_bytes(bytes) };
    }
}

/// Sets the kernel frames of a task that is off the CPU.
///
/// # Safety
/// `sample` points to a whole writable record.
#[inline(always)]
pub unsafe fn read_task_kernel_part<const ROOM: usize>(sample: *mut SampleRecord<ROOM>, task: Task) {
    // SAFETY: by the caller's word.
    unsafe {
        let frames = (&raw mut (*sample).kernel).cast();
        let bytes = bpf_get_task_stack(task.as_ptr(), frames, KERNEL_BYTES, 0) as i32;
        (*sample).header.kernel_bytes = kernel_bytes(bytes);
    }
}

#[inline(always)]
fn kernel_bytes(result: i32) -> i32 {
    if result < 0 {
        count(Stat::KernelStackFailed);
    }
    result
}
