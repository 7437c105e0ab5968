//! System calls that only ask.

use std::io;

use super::super::Answer;

/// bpf(2) with a command that no kernel knows: `EINVAL` from the kernel, or what a filter says.
pub fn bpf() -> Answer {
    in_child(|| {
        let attributes = [0_u64; 1];
        // SAFETY: the kernel reads at most the 8 bytes of `attributes`, and does nothing for a command that it does not know.
        unsafe { libc::syscall(libc::SYS_bpf, i32::MAX, attributes.as_ptr(), size_of_val(&attributes)) }
    })
}

/// perf_event_open(2) without attributes: `EFAULT` from the kernel, or what a filter says.
pub fn perf_event_open() -> Answer {
    in_child(|| {
        let nothing = std::ptr::null::<u8>();
        // SAFETY: the kernel refuses the null pointer, and opens nothing.
        unsafe { libc::syscall(libc::SYS_perf_event_open, nothing, 0, -1, -1, 0_u64) }
    })
}

/// Calls in a child: a filter may kill who calls.
fn in_child(call: impl FnOnce() -> libc::c_long) -> Answer {
    // SAFETY: the child makes system calls only, which are safe after a fork even where other threads ran, and ends by
    // `_exit`, which runs nothing of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let failed = call() < 0;
        let error = if failed { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
        // SAFETY: ends this process.
        unsafe { libc::_exit(error.min(255)) };
    }
    if child < 0 {
        return Answer::NotAsked;
    }
    let mut status = 0;
    loop {
        // SAFETY: writes one number to a valid place.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if ended == child {
            break;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Answer::NotAsked;
        }
    }
    if libc::WIFEXITED(status) { Answer::Error(libc::WEXITSTATUS(status)) } else { Answer::Killed }
}

/// `RLIMIT_MEMLOCK`; None is unlimited.
pub fn locked_memory() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one `rlimit` to a valid place.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0;
    (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_from_the_child_and_so_does_its_death() {
        let refuse = || {
            // SAFETY: no descriptor has this number, so nothing is closed.
            i64::from(unsafe { libc::close(-1) })
        };
        assert_eq!(in_child(refuse), Answer::Error(libc::EBADF));
        let die = || {
            // SAFETY: ends the child by a signal.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) }.into()
        };
        assert_eq!(in_child(die), Answer::Killed);
    }
}
