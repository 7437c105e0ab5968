//! What ended a wait for a disk or a file?
//!
//! It is told at the wake-up: it follows from the completion of a request on the same CPU, a moment later, or from what the current
//! thread does.

use profiler_common::{
    block_io::{Completion, FileKey, FileSeen, WaitKey, Waits, ended_by},
    event_kind,
    ledger::COMM_BYTES,
    stat::Stat,
    state, syscall,
};

use super::ledger::Account;
use crate::{
    atomic::add,
    descriptor::file_of,
    emit::{count, emit},
    maps::{self, COMPLETIONS, DISK_WAITS, FILE_WAITS},
    task::{PF_KTHREAD, Task, current_comm},
};

/// From the completion to the wake-up that follows from it, the file system and the scheduler do their part, on the same CPU and
/// without a switch in between: some microseconds, and a hundred times that on an emulated CPU.
const AFTER_COMPLETION_NS: u64 = 1_000_000;

/// States whose waits may end with a completion, by code.
const FOR_DISKS: u64 = 1 << state::DISK_READ
    | 1 << state::DISK_WRITE
    | 1 << state::FSYNC
    | 1 << state::DISK_OTHER
    | 1 << state::FILE_WAIT
    | 1 << state::PAGE_FAULT_IO
    | 1 << state::IO_URING
    | 1 << state::AIO
    | 1 << state::EXEC
    | 1 << state::KERNEL_IO;

/// Whether a wait in this state is one for a disk or a file.
#[inline(always)]
pub fn may_wait_for_disk(code: u32) -> bool {
    // A mask, not a comparison: after one the verifiers of 6.1 and 5.10 follow ranges that contradict each other.
    FOR_DISKS >> (code & 63) & 1 != 0
}

/// A recorded thread's wait for a disk or a file is over: the current context wakes it.
#[inline(always)]
pub fn on_wait_over(account: Account, task: Task, was: u32, now: u64) {
    if maps::optional_stopped() {
        return;
    }
    // SAFETY: the pointer into the map is not null.
    let (since_ns, tid) = unsafe { ((*account.record()).since_ns, (*account.record()).tid) };
    let mut waits = Waits { count: 1, blocked_ns: now.saturating_sub(since_ns), queue_ns: 0, device_ns: 0 };
    let mut key = WaitKey { state: was, ended_by: 0, device: 0, operation: 0, comm: [0; COMM_BYTES] };
    match completion_before(now) {
        Some(completion) => {
            key.device = completion.device;
            key.operation = completion.operation;
            waits.queue_ns = completion.queue_ns;
            waits.device_ns = completion.device_ns;
            if completion.tid == tid {
                key.ended_by = ended_by::OWN_REQUEST;
            } else {
                key.ended_by = ended_by::OTHERS_REQUEST;
                key.comm = completion.comm;
            }
        }
        None => {
            key.ended_by = waker(&mut key.comm);
        }
    }
    add_waits(&key, waits);
    if let Some(file) = waited_for(task, was) {
        add_to_file(account, &file, waits);
    }
}

/// The completion from which what happens now follows, if there was one on this CPU.
#[inline(always)]
fn completion_before(now: u64) -> Option<Completion> {
    let last = COMPLETIONS.get_ptr_mut(0)?;
    // SAFETY: non-null pointer to this CPU's own value.
    unsafe {
        let follows = now.saturating_sub((*last).at_ns) <= AFTER_COMPLETION_NS
            && (*last).current == Task::current().tid();
        if follows { Some(*last) } else { None }
    }
}

/// Who wakes, if it was no completion.
#[inline(always)]
fn waker(comm: &mut [u8; COMM_BYTES]) -> u32 {
    let current = Task::current();
    if current.tid() == 0 || current.was_interrupted() {
        return ended_by::INTERRUPT;
    }
    *comm = current_comm();
    if current.flags() & PF_KTHREAD != 0 { ended_by::KERNEL_THREAD } else { ended_by::THREAD }
}

#[inline(always)]
fn add_waits(key: &WaitKey, waits: Waits) {
    let Some(known) = DISK_WAITS.get_ptr_mut(key) else {
        if DISK_WAITS.insert(key, waits, 1).is_err() {
            count(Stat::DiskWaitsFull);
        }
        return;
    };
    // SAFETY: non-null pointer into the map.
    unsafe { add_to(known, waits) };
}

#[inline(always)]
unsafe fn add_to(known: *mut Waits, waits: Waits) {
    // SAFETY: by the caller's word.
    unsafe {
        add(&raw mut (*known).count, waits.count);
        add(&raw mut (*known).blocked_ns, waits.blocked_ns);
        add(&raw mut (*known).queue_ns, waits.queue_ns);
        add(&raw mut (*known).device_ns, waits.device_ns);
    }
}

/// The file behind the descriptor of the call in which the thread waits.
struct WaitedFor {
    descriptor: i32,
    key: FileKey,
}

#[inline(always)]
fn waited_for(task: Task, was: u32) -> Option<WaitedFor> {
    // The registers of io_uring's workers are zeroed, which reads as a call on descriptor 0.
    if task.is_kernel_thread() {
        return None;
    }
    let registers = task.user_registers();
    let class = registers.syscall_class()?;
    let descriptor = match class {
        syscall::READ | syscall::WRITE | syscall::FSYNC => registers.argument(0) as i32,
        syscall::SENDFILE => registers.argument(1) as i32,
        _ => return None,
    };
    let (inode, file_system) = file_of(task, descriptor)?;
    Some(WaitedFor { descriptor, key: FileKey { inode, file_system, state: was } })
}

#[inline(always)]
fn add_to_file(account: Account, file: &WaitedFor, waits: Waits) {
    if let Some(known) = FILE_WAITS.get_ptr_mut(file.key) {
        // SAFETY: non-null pointer into the map.
        unsafe { add_to(known, waits) };
        return;
    }
    if FILE_WAITS.insert(file.key, waits, 1).is_err() {
        return count(Stat::FileWaitsFull);
    }
    let seen = FileSeen {
        kind: event_kind::FILE_SEEN,
        // SAFETY: the pointer into the map is not null.
        ns_tgid: unsafe { (*account.record()).ns_tgid },
        descriptor: file.descriptor,
        file_system: file.key.file_system,
        inode: file.key.inode,
    };
    emit(seen, Stat::FileNamesDropped);
}
