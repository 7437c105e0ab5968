//! Which system call waits for what, on this architecture.

use libc::c_long;
use profiler_common::syscall as class;

/// Calls that both x86_64 and aarch64 have.
const COMMON: &[(u8, &[c_long])] = &[
    (
        class::READ,
        &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_pread64,
            libc::SYS_preadv,
            libc::SYS_preadv2,
            libc::SYS_recvfrom,
            libc::SYS_recvmsg,
            libc::SYS_recvmmsg,
            libc::SYS_splice,
            libc::SYS_tee,
            libc::SYS_copy_file_range,
            libc::SYS_readahead,
        ],
    ),
    (
        class::WRITE,
        &[
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_pwrite64,
            libc::SYS_pwritev,
            libc::SYS_pwritev2,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
            libc::SYS_sendmmsg,
            libc::SYS_vmsplice,
        ],
    ),
    (class::CONNECT, &[libc::SYS_connect]),
    (class::ACCEPT, &[libc::SYS_accept, libc::SYS_accept4]),
    (class::FSYNC, &[libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range]),
    (class::SYNC, &[libc::SYS_sync, libc::SYS_syncfs, libc::SYS_msync]),
    (
        class::FILE,
        &[
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_close,
            libc::SYS_close_range,
            libc::SYS_fstat,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_getdents64,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_unlinkat,
            libc::SYS_mkdirat,
            libc::SYS_linkat,
            libc::SYS_symlinkat,
            libc::SYS_readlinkat,
            libc::SYS_truncate,
            libc::SYS_ftruncate,
            libc::SYS_fallocate,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            libc::SYS_fchown,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
            libc::SYS_getxattr,
            libc::SYS_setxattr,
            libc::SYS_lseek,
            libc::SYS_fadvise64,
            libc::SYS_chdir,
            libc::SYS_fchdir,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_getcwd,
        ],
    ),
    (class::FILE_LOCK, &[libc::SYS_flock]),
    (class::FCNTL, &[libc::SYS_fcntl]),
    (class::SENDFILE, &[libc::SYS_sendfile]),
    (class::IOCTL, &[libc::SYS_ioctl]),
    (class::FUTEX, &[libc::SYS_futex]),
    (class::FUTEX_WAITV, &[libc::SYS_futex_waitv]),
    (class::POLL, &[libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll, libc::SYS_pselect6]),
    (class::IO_URING, &[libc::SYS_io_uring_enter]),
    (class::AIO, &[libc::SYS_io_getevents]),
    (class::SLEEP, &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]),
    (class::CHILD_WAIT, &[libc::SYS_wait4, libc::SYS_waitid, libc::SYS_clone, libc::SYS_clone3]),
    (class::SIGNAL_WAIT, &[libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigsuspend]),
    (
        class::MEMORY_MAP,
        &[
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mprotect,
            libc::SYS_madvise,
            libc::SYS_brk,
            libc::SYS_mremap,
            libc::SYS_mlock,
            libc::SYS_mlock2,
            libc::SYS_mlockall,
            libc::SYS_munlock,
            libc::SYS_process_madvise,
        ],
    ),
    (
        class::SYSV_IPC,
        &[
            libc::SYS_semop,
            libc::SYS_semtimedop,
            libc::SYS_msgrcv,
            libc::SYS_msgsnd,
            libc::SYS_mq_timedreceive,
            libc::SYS_mq_timedsend,
        ],
    ),
    (class::EXIT, &[libc::SYS_exit, libc::SYS_exit_group]),
    (class::EXEC, &[libc::SYS_execve, libc::SYS_execveat]),
];

/// Calls that aarch64 was born without.
#[cfg(target_arch = "x86_64")]
const OLD: &[(u8, &[c_long])] = &[
    (
        class::FILE,
        &[
            libc::SYS_open,
            libc::SYS_creat,
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_access,
            libc::SYS_getdents,
            libc::SYS_rename,
            libc::SYS_unlink,
            libc::SYS_mkdir,
            libc::SYS_rmdir,
            libc::SYS_link,
            libc::SYS_symlink,
            libc::SYS_readlink,
            libc::SYS_chmod,
            libc::SYS_chown,
            libc::SYS_lchown,
        ],
    ),
    (class::POLL, &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_select]),
    (class::CHILD_WAIT, &[libc::SYS_fork, libc::SYS_vfork]),
    (class::SIGNAL_WAIT, &[libc::SYS_pause]),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(u8, &[c_long])] = &[];

/// Each system call that has a class, by number.
pub fn classes() -> impl Iterator<Item = (u32, u8)> {
    COMMON
        .iter()
        .chain(OLD)
        .flat_map(|(class, numbers)| numbers.iter().map(move |&number| (number as u32, *class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_fits_and_has_one_class() {
        let mut seen = std::collections::HashSet::new();
        for (number, _) in classes() {
            assert!(number < class::SLOTS, "{number} does not fit");
            assert!(seen.insert(number), "{number} has two classes");
        }
    }
}
