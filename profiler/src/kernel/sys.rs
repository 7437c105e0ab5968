//! The system calls that aya has no function for: task iterators that are limited to a process, their
//! descriptors, and the reading of several entries of a map at once.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// Commands and constants of bpf(2) (include/uapi/linux/bpf.h).
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_TRACE_ITER: u32 = 28;

/// `union bpf_iter_link_info`, the `task` part.
#[repr(C)]
struct TaskIteratorInfo {
    tid: u32,
    pid: u32,
    pid_fd: u32,
    /// The union is 16 bytes on later kernels; a shorter one is accepted, a longer one only if the rest is zero.
    reserved: u32,
}

/// `union bpf_attr`, the `link_create` part.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    reserved: u32,
}

/// `union bpf_attr`, the `iter_create` part.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// `union bpf_attr`, the `batch` part. Addresses as numbers.
#[repr(C)]
pub struct LookupBatch {
    /// Where the last call ended; null at the start.
    pub in_batch: u64,
    pub out_batch: u64,
    pub keys: u64,
    pub values: u64,
    /// Entries that there is room for, and then those that were read.
    pub count: u32,
    pub map_fd: u32,
    pub elem_flags: u64,
    pub flags: u64,
}

/// Reads some entries of a map.
///
/// # Errors
/// The kernel's; `ENOENT` with the last of them, `ENOSPC` where there is too little room for one bucket of a hash.
pub fn lookup_batch(request: &mut LookupBatch) -> io::Result<()> {
    // SAFETY: `request` is the part of `union bpf_attr` that the command reads and writes, with its true size, and its
    // addresses are those of buffers that the caller holds.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut *request, size_of::<LookupBatch>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Links a task iterator program: to one process (Linux 6.1 and later), or to all tasks.
///
/// # Errors
/// The kernel's; `EINVAL` where iterators cannot be limited.
pub fn link_task_iterator(program: BorrowedFd, process: Option<u32>) -> io::Result<OwnedFd> {
    let info = TaskIteratorInfo { tid: 0, pid: process.unwrap_or(0), pid_fd: 0, reserved: 0 };
    let attr = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        iter_info: if process.is_some() { &raw const info as u64 } else { 0 },
        iter_info_len: if process.is_some() { size_of::<TaskIteratorInfo>() as u32 } else { 0 },
        reserved: 0,
    };
    bpf(BPF_LINK_CREATE, &attr)
}

/// A new pass of a linked iterator: reading the file to its end runs the program once for each task.
///
/// # Errors
/// The kernel's.
pub fn new_pass(link: BorrowedFd) -> io::Result<File> {
    bpf(BPF_ITER_CREATE, &IterCreate { link_fd: link.as_raw_fd() as u32, flags: 0 }).map(File::from)
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is the part of `union bpf_attr` that the command reads, with its true size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
