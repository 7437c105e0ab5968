//! The states of the ledger: where a thread can spend its time, each with a stable code.
//!
//! The order of decision is that of the module `classify` of the kernel crate. Codes index
//! [`crate::ledger::ThreadRecord::state_ns`]; they are part of the capture format and are never reused.

/// Slots in a thread's array of totals. Codes above the last one in use are free for later states.
pub const SLOTS: usize = 48;

macro_rules! states {
    ($($code:literal $constant:ident $name:literal $group:ident $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: u32 = $code;)*

        /// Each state that is in use, by code.
        pub const ALL: &[State] = &[$(State { code: $code, name: $name, group: Group::$group, meaning: $meaning },)*];
    };
}

/// What a state means to an operator, coarser than the state itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Executing.
    Cpu,
    /// Ready, and waiting for a CPU.
    RunQueue,
    /// Waiting for a disk or a file system.
    Disk,
    /// Waiting for a lock in user space.
    Lock,
    /// Waiting for the network.
    Net,
    /// Waiting for another process or thread on this machine.
    Ipc,
    /// Waiting for memory.
    Memory,
    /// Waiting for work or for time to pass.
    Idle,
    /// Waiting for something that the ledger cannot name.
    Unknown,
}

/// One state of the ledger.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Index into the totals.
    pub code: u32,
    /// Name in every output.
    pub name: &'static str,
    /// What it means to an operator.
    pub group: Group,
    /// One line for a person.
    pub meaning: &'static str,
}

states! {
    0 ON_CPU "on_cpu" Cpu "executing, in user or kernel mode";
    1 RUNQ_WAKE "runq_wake" RunQueue "ready after a wake-up, waiting for a CPU";
    2 RUNQ_PREEMPT "runq_preempt" RunQueue "ready after preemption or a yield, waiting for a CPU";
    3 STOPPED "stopped" Idle "stopped by a signal, traced, or frozen";
    4 DISK_READ "disk_read" Disk "read from a file or block device, waiting for the device";
    5 DISK_WRITE "disk_write" Disk "write to a file or block device, waiting for the device";
    6 FSYNC "fsync" Disk "fsync, fdatasync, sync or msync";
    7 DISK_OTHER "disk_other" Disk "another system call that waits for the device: open, stat, rename, ioctl";
    8 FILE_WAIT "file_wait" Disk "in a file's system call, but not for the device: a lock of the file system or throttling";
    9 FILE_LOCK "file_lock" Lock "flock or fcntl lock on a file";
    10 PAGE_FAULT_IO "page_fault_io" Disk "page fault that waits for the device";
    11 PAGE_FAULT "page_fault" Memory "page fault that waits for a lock or for memory";
    12 MEMORY_MAP "memory_map" Memory "mmap, munmap, mprotect, madvise, brk";
    13 FUTEX_LOCK "futex_lock" Lock "futex wait with the mark of a mutex: lock value 2 without a timeout, or a PI lock";
    14 FUTEX_WAIT "futex_wait" Idle "other futex wait without a timeout: condition variable, semaphore, join, park";
    15 FUTEX_TIMED "futex_timed" Idle "futex wait with a timeout";
    16 POLL "poll" Idle "epoll_wait, poll or select";
    17 IO_URING "io_uring" Idle "io_uring_enter, waiting for a completion";
    18 AIO "aio" Disk "io_getevents, waiting for a completion";
    19 NET_RECV "net_recv" Net "receive on an internet socket";
    20 NET_SEND "net_send" Net "send on an internet socket";
    21 NET_CONNECT "net_connect" Net "connect on an internet socket";
    22 ACCEPT "accept" Idle "accept: waiting for a client";
    23 UNIX_SOCKET "unix_socket" Ipc "unix socket";
    24 OTHER_SOCKET "other_socket" Ipc "netlink, vsock, packet or another kind of socket";
    25 PIPE "pipe" Ipc "pipe or FIFO";
    26 EVENTFD "eventfd" Ipc "eventfd";
    27 SYSV_IPC "sysv_ipc" Ipc "System V or POSIX message queue or semaphore";
    28 TIMER "timer" Idle "nanosleep, clock_nanosleep or a timerfd";
    29 CHILD_WAIT "child_wait" Idle "wait4, waitid or vfork: waiting for a child";
    30 SIGNAL_WAIT "signal_wait" Idle "pause, sigsuspend, sigtimedwait or a signalfd";
    31 TTY "tty" Idle "terminal or other character device";
    32 NOTIFY "notify" Idle "inotify, fanotify or another notification descriptor";
    33 KERNEL_THREAD "kernel_thread" Idle "kernel thread or io_uring worker, waiting for work";
    34 EXIT "exit" Ipc "exiting, waiting for its other threads or for its memory to be freed";
    35 UNKNOWN "unknown" Unknown "blocked for a reason that the ledger cannot name";
    36 EXEC "exec" Disk "execve, waiting for the device, a lock or its other threads";
    37 KERNEL_IO "kernel_io" Disk "kernel thread or io_uring worker, waiting for a device";
}

/// The state with this code, or none if the code is not in use.
pub fn by_code(code: u32) -> Option<&'static State> {
    ALL.get(code as usize).filter(|state| state.code == code)
}

/// Whether time in this state is time blocked: neither on a CPU nor ready for one.
pub const fn is_blocked(code: u32) -> bool {
    code > RUNQ_PREEMPT
}

const _: () = assert!(ALL.len() <= SLOTS, "a state code does not fit into the totals");
const _: () = {
    let mut index = 0;
    while index < ALL.len() {
        assert!(ALL[index].code as usize == index, "state codes are dense and in order");
        index += 1;
    }
};
