//! Whether processes still live, without reading their files: a pidfd becomes readable when its process ends.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Processes to look after.
pub struct Lives(Vec<OwnedFd>);

impl Lives {
    /// Opens each that is there. One that has ended already is not looked after.
    ///
    /// # Errors
    /// The kernel refuses for another reason (more processes than descriptors, before 5.3).
    pub fn of(tgids: &[u32]) -> io::Result<Self> {
        let mut open = vec![];
        for &tgid in tgids {
            match pidfd(tgid) {
                Ok(fd) => open.push(fd),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(open))
    }

    /// Whether all have ended. A process ends when its last thread does, whether or not somebody has waited for it.
    pub fn are_over(&mut self) -> bool {
        let mut polled: Vec<libc::pollfd> = self
            .0
            .iter()
            .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: the pointer is valid for as many entries as are named; a time-out of 0 does not wait.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
        let mut ended = polled.iter().map(|entry| entry.revents != 0);
        self.0.retain(|_| !ended.next().unwrap_or(false));
        self.0.is_empty()
    }
}

fn pidfd(tgid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, tgid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_over_when_it_has_ended_though_nobody_waited_for_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut lives = Lives::of(&[std::process::id(), child.id()]).unwrap();
        assert!(!lives.are_over());
        let mut of_child = Lives::of(&[child.id()]).unwrap();
        assert!(!of_child.are_over());
        child.kill().unwrap();
        // The kill takes effect when the child runs next.
        for _ in 0..500 {
            if of_child.are_over() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(of_child.are_over());
        assert!(!lives.are_over());
        child.wait().unwrap();
    }

    #[test]
    fn nobody_is_over() {
        // The kernel's largest pid_max is 4,194,304.
        assert!(Lives::of(&[4_194_305]).is_ok_and(|mut lives| lives.are_over()));
    }
}
