//! Why a thread is blocked: from facts of the moment at which it blocks to a state of the ledger. Pure.
//!
//! The order of decision is that of docs/states.md.

use profiler_common::{state, syscall};

/// Stopped by a signal or a tracer (`__TASK_STOPPED | __TASK_TRACED`), or frozen (`TASK_FROZEN`, Linux 6.1). State
/// bits are masked, never compared: a futex wait is `TASK_INTERRUPTIBLE | TASK_FREEZABLE`.
const STOPPED_BITS: u32 = 0x4 | 0x8 | 0x8000;
/// `TASK_UNINTERRUPTIBLE`, and with it `TASK_NOLOAD`, which makes it a rest.
const UNINTERRUPTIBLE: u32 = 0x2;
const UNINTERRUPTIBLE_OR_NOLOAD: u32 = UNINTERRUPTIBLE | 0x400;
/// `PF_EXITING`.
const PF_EXITING: u32 = 0x4;
const KERNEL_THREAD_BITS: u32 = crate::task::PF_KTHREAD | crate::task::PF_IO_WORKER;

/// What a descriptor refers to. The codes are dense, see [`FileKind::from_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FileKind {
    Regular,
    Block,
    CharacterDevice,
    Pipe,
    InternetSocket,
    UnixSocket,
    OtherSocket,
    Eventfd,
    Timerfd,
    Signalfd,
    Epoll,
    IoUring,
    Notification,
    Unknown,
}

impl FileKind {
    /// The kind with this code.
    #[inline(always)]
    pub fn from_code(code: u32) -> Self {
        if code > Self::Unknown as u32 {
            return Self::Unknown;
        }
        // SAFETY: `repr(u32)`, and without explicit codes they are 0 up to that of the last one.
        unsafe { core::mem::transmute(code) }
    }
}

/// What can be known of a wait. Each fact costs a read of kernel memory, so it is asked only when it decides.
pub trait WaitFacts {
    /// State bits with which the thread left the CPU.
    fn task_state(&self) -> u32;
    /// `PF_*` bits.
    fn task_flags(&self) -> u32;
    /// Frozen by its cgroup (version 2), which leaves no mark in the state.
    fn is_frozen(&self) -> bool;
    /// The kernel says that it waits for a device.
    fn in_iowait(&self) -> bool;
    /// Class of the system call that it is in; none outside of one.
    fn syscall_class(&self) -> Option<u8>;
    /// Argument of the system call.
    fn argument(&self, index: u32) -> u64;
    /// What a descriptor of the thread refers to.
    fn file_kind(&self, descriptor: i32) -> FileKind;
}

/// The state of a thread that has just blocked: a code of [`state`].
#[inline(always)]
pub fn classify(wait: &impl WaitFacts) -> u32 {
    if wait.task_state() & STOPPED_BITS != 0 {
        return state::STOPPED;
    }
    let flags = wait.task_flags();
    if flags & KERNEL_THREAD_BITS != 0 {
        return if wait.in_iowait() { state::KERNEL_IO } else { without_a_call(wait, flags) };
    }
    if flags & PF_EXITING != 0 {
        return state::EXIT;
    }
    match wait.syscall_class() {
        // The freezer's mark is also set by a parent that waits for its `vfork` child (`wait_for_vfork_done`,
        // kernel/fork.c), so in such a call it says nothing.
        class if class != Some(syscall::CHILD_WAIT) && wait.is_frozen() => state::STOPPED,
        None => if_iowait(wait, state::PAGE_FAULT_IO, state::PAGE_FAULT),
        Some(class) => in_syscall(wait, class),
    }
}

/// io_uring's workers wait for work interruptibly (`io_wq_worker`, io_uring/io-wq.c). What they wait for otherwise is in the call
/// that they carry out for somebody: for a file, as what waits for sockets is not given to them.
#[inline(always)]
fn without_a_call(wait: &impl WaitFacts, flags: u32) -> u32 {
    if flags & crate::task::PF_IO_WORKER != 0
        && wait.task_state() & UNINTERRUPTIBLE_OR_NOLOAD == UNINTERRUPTIBLE
    {
        state::FILE_WAIT
    } else {
        state::KERNEL_THREAD
    }
}

#[inline(always)]
fn in_syscall(wait: &impl WaitFacts, class: u8) -> u32 {
    match class {
        syscall::READ => on_file(wait, state::DISK_READ, state::NET_RECV),
        // `sendfile` reads the file in its second argument: the device can only be that one's.
        syscall::SENDFILE if wait.in_iowait() => state::DISK_READ,
        syscall::WRITE | syscall::SENDFILE => on_file(wait, state::DISK_WRITE, state::NET_SEND),
        syscall::FUTEX => futex(wait),
        syscall::POLL => not_for_a_device(wait, state::POLL),
        syscall::SLEEP => not_for_a_device(wait, state::TIMER),
        syscall::CHILD_WAIT => not_for_a_device(wait, state::CHILD_WAIT),
        syscall::SIGNAL_WAIT => not_for_a_device(wait, state::SIGNAL_WAIT),
        syscall::FUTEX_WAITV => {
            not_for_a_device(wait, if wait.argument(3) == 0 { state::FUTEX_WAIT } else { state::FUTEX_TIMED })
        }
        syscall::CONNECT => on_socket(wait, state::NET_CONNECT),
        syscall::ACCEPT => state::ACCEPT,
        syscall::FSYNC | syscall::SYNC => state::FSYNC,
        syscall::FILE => if_iowait(wait, state::DISK_OTHER, state::FILE_WAIT),
        syscall::FILE_LOCK => if_iowait(wait, state::DISK_OTHER, state::FILE_LOCK),
        syscall::FCNTL => fcntl(wait),
        syscall::IOCTL => ioctl(wait),
        // io_uring marks its waits as iowait whatever they are for (Linux 6.5), so the mark says nothing here.
        syscall::IO_URING => state::IO_URING,
        syscall::AIO => state::AIO,
        syscall::MEMORY_MAP => if_iowait(wait, state::PAGE_FAULT_IO, state::MEMORY_MAP),
        syscall::SYSV_IPC => state::SYSV_IPC,
        syscall::EXIT => state::EXIT,
        syscall::EXEC => state::EXEC,
        _ => if_iowait(wait, state::DISK_OTHER, state::UNKNOWN),
    }
}

#[inline(always)]
fn if_iowait(wait: &impl WaitFacts, yes: u32, no: u32) -> u32 {
    if wait.in_iowait() { yes } else { no }
}

/// A call that itself waits for no device can still fault on a page of its arguments.
#[inline(always)]
fn not_for_a_device(wait: &impl WaitFacts, state: u32) -> u32 {
    if_iowait(wait, state::PAGE_FAULT_IO, state)
}

#[inline(always)]
fn on_file(wait: &impl WaitFacts, disk: u32, net: u32) -> u32 {
    let kind = wait.file_kind(wait.argument(0) as i32);
    if wait.in_iowait() {
        return match kind {
            FileKind::Regular | FileKind::Block | FileKind::Unknown => disk,
            _ => state::PAGE_FAULT_IO,
        };
    }
    match kind {
        FileKind::Regular | FileKind::Block => state::FILE_WAIT,
        FileKind::CharacterDevice => state::TTY,
        FileKind::Pipe => state::PIPE,
        FileKind::InternetSocket => net,
        FileKind::UnixSocket => state::UNIX_SOCKET,
        FileKind::OtherSocket => state::OTHER_SOCKET,
        FileKind::Eventfd => state::EVENTFD,
        FileKind::Timerfd => state::TIMER,
        FileKind::Signalfd => state::SIGNAL_WAIT,
        FileKind::Epoll => state::POLL,
        FileKind::IoUring => state::IO_URING,
        FileKind::Notification => state::NOTIFY,
        FileKind::Unknown => state::UNKNOWN,
    }
}

#[inline(always)]
fn on_socket(wait: &impl WaitFacts, net: u32) -> u32 {
    match wait.file_kind(wait.argument(0) as i32) {
        FileKind::InternetSocket => net,
        FileKind::UnixSocket => state::UNIX_SOCKET,
        FileKind::OtherSocket => state::OTHER_SOCKET,
        _ => state::UNKNOWN,
    }
}

/// Operations of `futex(2)`, without the flags `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME`.
mod futex_op {
    pub const FLAGS: u64 = 128 | 256;
    pub const WAIT: u64 = 0;
    pub const LOCK_PI: u64 = 6;
    pub const WAIT_BITSET: u64 = 9;
    pub const WAIT_REQUEUE_PI: u64 = 11;
    pub const LOCK_PI2: u64 = 13;
}

/// The value that glibc's `lll_lock_wait`, Rust's `std::sync::Mutex` and Go's `lock2` store in a contended lock.
const CONTENDED: u32 = 2;

#[inline(always)]
fn futex(wait: &impl WaitFacts) -> u32 {
    let has_timeout = wait.argument(3) != 0;
    let state = match wait.argument(1) & 0xffff_ffff & !futex_op::FLAGS {
        futex_op::LOCK_PI | futex_op::LOCK_PI2 => state::FUTEX_LOCK,
        futex_op::WAIT | futex_op::WAIT_BITSET | futex_op::WAIT_REQUEUE_PI if has_timeout => {
            state::FUTEX_TIMED
        }
        futex_op::WAIT | futex_op::WAIT_BITSET if wait.argument(2) as u32 == CONTENDED => state::FUTEX_LOCK,
        futex_op::WAIT | futex_op::WAIT_BITSET | futex_op::WAIT_REQUEUE_PI => state::FUTEX_WAIT,
        _ => state::UNKNOWN,
    };
    not_for_a_device(wait, state)
}

/// `F_SETLKW` and `F_OFD_SETLKW`, the same on x86_64 and aarch64 (include/uapi/asm-generic/fcntl.h).
#[inline(always)]
fn fcntl(wait: &impl WaitFacts) -> u32 {
    let for_lock = matches!(wait.argument(1) as u32, 7 | 38);
    if_iowait(wait, state::DISK_OTHER, if for_lock { state::FILE_LOCK } else { state::UNKNOWN })
}

/// What an `ioctl` waits for is the driver's secret; of a character device at least whose it is.
#[inline(always)]
fn ioctl(wait: &impl WaitFacts) -> u32 {
    if wait.in_iowait() {
        return state::DISK_OTHER;
    }
    match wait.file_kind(wait.argument(0) as i32) {
        FileKind::CharacterDevice => state::TTY,
        _ => state::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    struct Facts {
        task_state: u32,
        flags: u32,
        frozen: bool,
        iowait: bool,
        class: Option<u8>,
        arguments: [u64; 4],
        kind: FileKind,
    }

    /// An interruptible wait in a system call of the given class.
    fn in_call(class: u8) -> Facts {
        Facts {
            task_state: 0x2001,
            flags: 0,
            frozen: false,
            iowait: false,
            class: Some(class),
            arguments: [0; 4],
            kind: FileKind::Unknown,
        }
    }

    impl WaitFacts for Facts {
        fn task_state(&self) -> u32 {
            self.task_state
        }
        fn task_flags(&self) -> u32 {
            self.flags
        }
        fn is_frozen(&self) -> bool {
            self.frozen
        }
        fn in_iowait(&self) -> bool {
            self.iowait
        }
        fn syscall_class(&self) -> Option<u8> {
            self.class
        }
        fn argument(&self, index: u32) -> u64 {
            self.arguments[index as usize]
        }
        fn file_kind(&self, _descriptor: i32) -> FileKind {
            self.kind
        }
    }

    #[track_caller]
    fn check(facts: Facts, expected: u32) {
        assert_eq!(classify(&facts), expected);
    }

    #[test]
    fn stop_and_freezer_come_before_the_system_call() {
        check(Facts { task_state: 0x4, ..in_call(syscall::POLL) }, state::STOPPED);
        check(Facts { task_state: 0x108, ..in_call(syscall::POLL) }, state::STOPPED);
        check(Facts { task_state: 0x8000, ..in_call(syscall::SLEEP) }, state::STOPPED);
        check(Facts { frozen: true, ..in_call(syscall::SLEEP) }, state::STOPPED);
        check(Facts { frozen: true, class: None, ..in_call(0) }, state::STOPPED);
    }

    #[test]
    fn a_parent_that_waits_for_its_vfork_child_bears_the_freezers_mark_and_is_not_stopped() {
        check(Facts { frozen: true, ..in_call(syscall::CHILD_WAIT) }, state::CHILD_WAIT);
    }

    #[test]
    fn noload_kernel_threads_wait_for_work_and_not_for_a_disk() {
        let idle = Facts { task_state: 0x402, flags: crate::task::PF_KTHREAD, ..in_call(syscall::READ) };
        check(idle, state::KERNEL_THREAD);
        check(Facts { iowait: true, ..idle }, state::KERNEL_IO);
    }

    #[test]
    fn zeroed_registers_of_an_io_worker_are_not_a_read() {
        check(Facts { flags: crate::task::PF_IO_WORKER, ..in_call(syscall::READ) }, state::KERNEL_THREAD);
    }

    #[test]
    fn an_io_worker_that_cannot_be_interrupted_waits_in_somebodys_call() {
        let worker =
            |task_state| Facts { task_state, flags: crate::task::PF_IO_WORKER, ..in_call(syscall::READ) };
        check(worker(0x2), state::FILE_WAIT);
        check(worker(0x102), state::FILE_WAIT);
        check(worker(0x402), state::KERNEL_THREAD);
        check(worker(0x1), state::KERNEL_THREAD);
        check(Facts { iowait: true, ..worker(0x2) }, state::KERNEL_IO);
    }

    #[test]
    fn outside_a_system_call_it_is_a_page_fault() {
        check(Facts { class: None, iowait: true, ..in_call(0) }, state::PAGE_FAULT_IO);
        check(Facts { class: None, ..in_call(0) }, state::PAGE_FAULT);
    }

    #[test]
    fn a_read_is_told_apart_by_what_the_descriptor_is() {
        let read = in_call(syscall::READ);
        check(Facts { iowait: true, kind: FileKind::Regular, ..read }, state::DISK_READ);
        check(Facts { iowait: true, kind: FileKind::Block, ..read }, state::DISK_READ);
        check(Facts { kind: FileKind::Regular, ..read }, state::FILE_WAIT);
        check(Facts { kind: FileKind::Pipe, ..read }, state::PIPE);
        check(Facts { kind: FileKind::InternetSocket, ..read }, state::NET_RECV);
        check(Facts { kind: FileKind::UnixSocket, ..read }, state::UNIX_SOCKET);
        check(Facts { kind: FileKind::Timerfd, ..read }, state::TIMER);
        check(Facts { iowait: true, kind: FileKind::Pipe, ..read }, state::PAGE_FAULT_IO);
        check(read, state::UNKNOWN);
    }

    #[test]
    fn a_kind_is_found_by_its_code() {
        for kind in [FileKind::Regular, FileKind::Pipe, FileKind::IoUring, FileKind::Unknown] {
            assert_eq!(FileKind::from_code(kind as u32), kind);
        }
        assert_eq!(FileKind::from_code(999), FileKind::Unknown);
    }

    #[test]
    fn a_write_to_a_socket_is_a_send() {
        check(Facts { kind: FileKind::InternetSocket, ..in_call(syscall::WRITE) }, state::NET_SEND);
    }

    #[test]
    fn sendfile_waits_for_the_file_or_for_the_socket() {
        let sendfile = Facts { kind: FileKind::InternetSocket, ..in_call(syscall::SENDFILE) };
        check(Facts { iowait: true, ..sendfile }, state::DISK_READ);
        check(sendfile, state::NET_SEND);
    }

    #[test]
    fn an_ioctl_is_known_by_its_device() {
        check(Facts { kind: FileKind::CharacterDevice, ..in_call(syscall::IOCTL) }, state::TTY);
        check(Facts { kind: FileKind::InternetSocket, ..in_call(syscall::IOCTL) }, state::UNKNOWN);
    }

    #[test]
    fn futex_flags_do_not_hide_the_operation() {
        let futex = |op: u64, value: u64, timeout: u64| Facts {
            arguments: [0x1000, op, value, timeout],
            ..in_call(syscall::FUTEX)
        };
        check(futex(128, 2, 0), state::FUTEX_LOCK);
        check(futex(9 | 128, 2, 0), state::FUTEX_LOCK);
        check(futex(9 | 128 | 256, 0, 0), state::FUTEX_WAIT);
        check(futex(9 | 128 | 256, 0, 0x7fff), state::FUTEX_TIMED);
        check(futex(128, 2, 0x7fff), state::FUTEX_TIMED);
        check(futex(6 | 128, 0, 0x7fff), state::FUTEX_LOCK);
        check(futex(1 | 128, 1, 0), state::UNKNOWN);
    }

    #[test]
    fn iowait_in_a_poll_is_a_fault_on_its_arguments() {
        check(Facts { iowait: true, ..in_call(syscall::POLL) }, state::PAGE_FAULT_IO);
    }

    #[test]
    fn iowait_says_nothing_in_io_uring() {
        check(Facts { iowait: true, ..in_call(syscall::IO_URING) }, state::IO_URING);
    }

    #[test]
    fn only_a_blocking_lock_command_of_fcntl_is_a_lock() {
        check(Facts { arguments: [3, 7, 0, 0], ..in_call(syscall::FCNTL) }, state::FILE_LOCK);
        check(Facts { arguments: [3, 3, 0, 0], ..in_call(syscall::FCNTL) }, state::UNKNOWN);
    }
}
