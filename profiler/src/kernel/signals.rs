//! Signals of the calling thread: held back where one would make the kernel give up its work.

use std::{io, mem::MaybeUninit};

/// While it lives, signals wait: none is lost, and a second one of a kind is the same as one. SIGKILL and SIGSTOP do not wait.
///
/// The kernel gives up the check of a program as soon as a signal is there (`EAGAIN` in `do_check`). A Ctrl-C would cost another
/// check, and a storm of signals would end the start.
pub struct Held {
    before: libc::sigset_t,
}

impl Held {
    /// # Errors
    /// The kernel's: there is none that it documents for these arguments.
    pub fn all() -> io::Result<Self> {
        Ok(Self { before: hold_all()? })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: reads a set that the kernel has written. It is not refused, and what could be done if it were?
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Until the thread ends. Returns what was held back before.
pub fn hold_all() -> io::Result<libc::sigset_t> {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the first call makes the set that the second one reads; that one writes the other before it returns 0.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        match libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) {
            0 => Ok(before.assume_init()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}
