//! The only reader of `task_struct` and of a thread's saved user registers. What its descriptors mean is `descriptor.rs`'s to read.
//!
//! Tasks come from BTF-typed arguments, so the verifier lets their fields be loaded directly, at offsets that are
//! constants in frozen read-only data (seen on 6.18; a helper call a field costs some 15 ns each). A load through a
//! stale pointer reads zero instead of faulting.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{
    bpf_probe_read_kernel,
    generated::{
        bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf,
        bpf_probe_read_kernel as probe_read_raw, bpf_task_pt_regs,
    },
};
use profiler_common::{ledger::COMM_BYTES, offsets::ABSENT, stat::Stat};

use crate::{config, emit::count, maps, offset};

/// Thread of the kernel (`PF_KTHREAD`, include/linux/sched.h).
pub const PF_KTHREAD: u32 = 0x0020_0000;
/// io_uring worker: born of a user thread, but without a user stack or registers (`PF_IO_WORKER`).
pub const PF_IO_WORKER: u32 = 0x10;

/// The name of the current thread.
#[inline(always)]
pub fn current_comm() -> [u8; COMM_BYTES] {
    let mut comm = MaybeUninit::<[u8; COMM_BYTES]>::uninit();
    // SAFETY: the helper fills all of it, with zeroes where it fails. Zeroing it before is what the compiler calls `memset` for.
    unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_BYTES as u32);
        comm.assume_init()
    }
}

/// Context of a program that iterates over tasks (`struct bpf_iter__task`).
#[repr(C)]
pub struct IteratorContext {
    meta: *const u8,
    task: *const u8,
}

/// The task of this run of an iterator program; none at the end of the iteration.
///
/// # Safety
/// `context` is the one that the kernel gave to the program.
#[inline(always)]
pub unsafe fn iterated(context: *const IteratorContext) -> Option<Task> {
    // SAFETY: by the caller's word.
    let task = unsafe { (*context).task };
    if task.is_null() { None } else { Some(Task::new(task)) }
}

/// A pointer to a `task_struct` that the verifier knows as one, except in the case of [`Task::current`].
#[derive(Clone, Copy)]
pub struct Task {
    pointer: *const u8,
    is_current: bool,
}

/// Loads a field through a pointer that the verifier knows by its BTF type.
#[inline(always)]
pub(crate) fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: `base` is typed by BTF, so the verifier checks the load and the kernel survives a bad address.
    // Volatile, so that LLVM does not merge two loads into one that crosses a field's border.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

/// Reads kernel memory behind an untyped pointer.
#[inline(always)]
pub fn probe<T: Copy>(base: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

impl Task {
    /// Wraps a task argument of a BTF tracepoint.
    #[inline(always)]
    pub fn new(pointer: *const u8) -> Self {
        Self { pointer, is_current: false }
    }

    /// The task that this program interrupts or runs for. Before Linux 5.11 (`bpf_get_current_task_btf`) the verifier takes
    /// it for a number (seen on 5.10: "invalid func unknown#158"), so its fields are read by a helper there.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helpers take nothing and always answer.
        let pointer = unsafe {
            if config!(has_current_task_btf) != 0 {
                bpf_get_current_task_btf().cast_const().cast()
            } else {
                bpf_get_current_task() as *const u8
            }
        };
        Self { pointer, is_current: true }
    }

    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        self.reach(self.pointer as u64, offset)
    }

    /// Reads from a struct to which a typed field of the task points.
    #[inline(always)]
    fn reach<T: Copy + Default>(self, base: u64, offset: u32) -> T {
        if self.is_current && config!(has_current_task_btf) == 0 {
            probe(base, offset).unwrap_or_default()
        } else {
            load(base as *const u8, offset)
        }
    }

    /// For helpers that take a task.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut aya_ebpf::bindings::task_struct {
        self.pointer.cast_mut().cast()
    }

    /// Tells this task from any other that is alive.
    #[inline(always)]
    pub fn identity(self) -> u64 {
        self.pointer as u64
    }

    /// Thread id in the initial PID namespace; 0 for the idle threads.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        self.field(offset!(task_pid))
    }

    /// Process id in the initial PID namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        self.field(offset!(task_tgid))
    }

    /// State bits. Before 5.14 the field is a `long`, of which these are the low half.
    #[inline(always)]
    pub fn state(self) -> u32 {
        self.field(offset!(task_state))
    }

    /// `PF_*` bits.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        self.field(offset!(task_flags))
    }

    /// Whether the thread belongs to the kernel and has no user stack.
    #[inline(always)]
    pub fn is_kernel_thread(self) -> bool {
        self.flags() & (PF_KTHREAD | PF_IO_WORKER) != 0
    }

    /// Whether a CPU executes it at this moment. The field is an `int`, and a single byte since 7.3 (seen there: "access beyond
    /// the end of member on_cpu"); it holds 0 or 1, which the first byte tells.
    #[inline(always)]
    pub fn is_on_cpu(self) -> bool {
        self.field::<u8>(offset!(task_on_cpu)) != 0
    }

    /// The thread's name.
    #[inline(always)]
    pub fn comm(self) -> [u8; COMM_BYTES] {
        let mut comm = MaybeUninit::uninit();
        // SAFETY: the helper fills all of it, with zeroes where it fails.
        unsafe {
            self.read_comm(comm.as_mut_ptr());
            comm.assume_init()
        }
    }

    /// Copies the thread's name.
    ///
    /// # Safety
    /// `to` points to `COMM_BYTES` writable bytes.
    #[inline(always)]
    pub unsafe fn read_comm(self, to: *mut [u8; COMM_BYTES]) {
        // SAFETY: the destination by the caller's word; the helper checks the source.
        unsafe {
            let from = self.pointer.add(offset!(task_comm) as usize);
            probe_read_raw(to.cast(), COMM_BYTES as u32, from.cast());
        }
    }

    /// Ids (thread, process) in the PID namespace that lies `level` below the initial one.
    #[inline(always)]
    pub fn ids_at_level(self, level: u32) -> (u32, u32) {
        if level == 0 {
            return (self.tid(), self.tgid());
        }
        let leader: u64 = self.field(offset!(task_group_leader));
        let leader_pid: u64 = probe(leader, offset!(task_thread_pid)).unwrap_or(0);
        let own_pid: u64 = self.field(offset!(task_thread_pid));
        (pid_number(own_pid, level), pid_number(leader_pid, level))
    }

    /// Depth of the task's own PID namespace below the initial one.
    #[inline(always)]
    pub fn ns_level(self) -> u32 {
        let pid: u64 = self.field(offset!(task_thread_pid));
        probe(pid, offset!(pid_level)).unwrap_or(0)
    }

    /// Thread id in the task's own PID namespace.
    #[inline(always)]
    pub fn own_tid(self) -> u32 {
        pid_number(self.field(offset!(task_thread_pid)), self.ns_level())
    }

    /// Address of its `mm_struct`; 0 for a task without memory of its own.
    #[inline(always)]
    pub fn memory(self) -> u64 {
        self.field(offset!(task_mm))
    }

    /// Address of its `sighand_struct`.
    #[inline(always)]
    pub fn sighand(self) -> u64 {
        if offset!(task_sighand) == ABSENT { 0 } else { self.field(offset!(task_sighand)) }
    }

    /// Where the stack of its process's first thread began: the number of arguments, above which lie their strings and the
    /// environment's. 0 for a task without memory of its own.
    #[inline(always)]
    pub fn start_stack(self) -> u64 {
        let memory: u64 = self.field(offset!(task_mm));
        if memory == 0 { 0 } else { self.reach(memory, offset!(mm_start_stack)) }
    }

    /// Base of the thread's own storage, as the kernel keeps it: the thread may have set it otherwise since it was last off
    /// the CPU. None on other architectures than x86_64.
    #[inline(always)]
    pub fn fs_base(self) -> Option<u64> {
        if offset!(task_fs_base) == ABSENT { None } else { Some(self.field(offset!(task_fs_base))) }
    }

    /// The registers with which the thread entered the kernel.
    #[inline(always)]
    pub fn user_registers(self) -> UserRegisters {
        if config!(has_task_pt_regs) != 0 {
            // SAFETY: the pointer is a task by BTF.
            return UserRegisters(unsafe { bpf_task_pt_regs(self.as_ptr()) } as *const u8);
        }
        let stack: u64 = self.field(offset!(task_stack));
        let top = stack + u64::from(config!(kernel_stack_bytes)) - u64::from(offset!(regs_bytes));
        UserRegisters(top as *const u8)
    }

    /// The id of its cgroup at a depth below the root, before Linux 6.1; 0, which is no cgroup's id, if it has none that deep.
    #[inline(always)]
    pub fn ancestor_cgroup(self, level: u32) -> u64 {
        let set: u64 = self.field(offset!(task_cgroups));
        let cgroup: u64 = self.reach(set, offset!(css_set_dfl_cgrp));
        if self.reach::<u32>(cgroup, offset!(cgroup_level)) < level {
            return 0;
        }
        // Not loaded directly: the verifier knows no array of numbers at the end of a struct.
        probe(cgroup, offset!(cgroup_ancestor_ids) + level * 8).unwrap_or(0)
    }

    /// Whether the current task was in user mode when the kernel was entered otherwise than by a system call: then it is an
    /// interrupt (or a fault) that goes on now. One that came while the task was in the kernel does not show here.
    #[inline(always)]
    pub fn was_interrupted(self) -> bool {
        !self.is_kernel_thread() && self.user_registers().syscall_class().is_none()
    }

    #[inline(always)]
    pub(crate) fn bit(self, byte_offset: u32, bit: u32) -> bool {
        byte_offset != ABSENT && self.field::<u8>(byte_offset) >> (bit & 7) & 1 != 0
    }
}

#[inline(always)]
fn pid_number(pid: u64, level: u32) -> u32 {
    let upid = offset!(pid_numbers) + level * offset!(upid_bytes);
    probe(pid, upid + offset!(upid_nr)).unwrap_or(0)
}

/// Saved user registers of a thread.
#[derive(Clone, Copy)]
pub struct UserRegisters(*const u8);

impl UserRegisters {
    /// One register, at an offset of [`profiler_common::offsets::Offsets`]; 0 for one that this architecture lacks.
    #[inline(always)]
    pub fn read(self, offset: u32) -> u64 {
        self.try_read(offset).unwrap_or(0)
    }

    #[inline(always)]
    fn try_read(self, offset: u32) -> Option<u64> {
        if offset == ABSENT {
            return Some(0);
        }
        if config!(has_task_pt_regs) != 0 { Some(load(self.0, offset)) } else { probe(self.0 as u64, offset) }
    }

    /// Class of the system call that the thread is in; none outside of one.
    #[inline(always)]
    pub fn syscall_class(self) -> Option<u8> {
        let Some(number) = self.try_read(offset!(regs_syscall)) else {
            count(Stat::RegistersUnreadable);
            return Some(profiler_common::syscall::OTHER);
        };
        let number = number as i32;
        if number < 0 {
            return None;
        }
        let (bits, is_32_bit) = MODE_32_BIT;
        let is_compat = offset!(regs_mode) != ABSENT && self.read(offset!(regs_mode)) & bits == is_32_bit;
        Some(if is_compat { profiler_common::syscall::OTHER } else { maps::syscall_class(number as u32) })
    }

    /// Argument of the system call.
    #[inline(always)]
    pub fn argument(self, index: u32) -> u64 {
        self.read(match index {
            0 => offset!(regs_arg0),
            1 => offset!(regs_arg1),
            2 => offset!(regs_arg2),
            _ => offset!(regs_arg3),
        })
    }
}

/// Which bits of the mode tell a 32-bit program, whose system calls have other numbers, and what they are for one: its
/// code segment (`__USER32_CS`), on aarch64 its execution state (`PSR_MODE32_BIT`).
const MODE_32_BIT: (u64, u64) = if cfg!(bpf_target_arch = "aarch64") { (0x10, 0x10) } else { (0xffff, 0x23) };
