//! Classes of system calls: what a thread that blocks in one waits for.
//!
//! Userspace fills the map `SYSCALL_CLASSES` (index: number of the call) for its architecture, so the kernel object
//! knows no numbers.

/// Slots of the table: system-call numbers of x86_64 and aarch64 end well below.
pub const SLOTS: u32 = 512;

macro_rules! classes {
    ($($code:literal $constant:ident $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: u8 = $code;)*
    };
}

classes! {
    0 OTHER "No class: blocked time is `unknown`.";
    1 READ "Reads from the descriptor in the first argument.";
    2 WRITE "Writes to the descriptor in the first argument.";
    3 CONNECT "Connects the socket in the first argument.";
    4 ACCEPT "Accepts on the socket in the first argument.";
    5 FSYNC "Waits for what was written to the descriptor in the first argument to reach the device.";
    6 FILE "Works on a path or on a file's metadata.";
    7 FILE_LOCK "Waits for a lock on a file.";
    8 FUTEX "`futex`: the operation is the second argument, the value the third, the timeout the fourth.";
    9 FUTEX_WAITV "`futex_waitv`: the timeout is the fourth argument.";
    10 POLL "Waits for any of several descriptors.";
    11 IO_URING "`io_uring_enter`.";
    12 AIO "`io_getevents`.";
    13 SLEEP "Sleeps for a time.";
    14 CHILD_WAIT "Waits for a child; also `vfork`, `fork` and `clone`.";
    15 SIGNAL_WAIT "Waits for a signal.";
    16 MEMORY_MAP "Changes the address space.";
    17 SYSV_IPC "System V or POSIX message queue or semaphore.";
    18 EXIT "Ends the thread or the process.";
    19 EXEC "Runs a new image.";
    20 FCNTL "`fcntl`: a file lock if the second argument is `F_SETLKW` or `F_OFD_SETLKW`.";
    21 SENDFILE "Reads from the file in the second argument and writes to the descriptor in the first.";
    22 IOCTL "`ioctl` on the descriptor in the first argument.";
    23 SYNC "Waits for what was written to more than one file, or by way of memory, to reach the device.";
}
