//! Bytes as a file, for readers that only take paths.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

const NAME: &CStr = c"module";

/// An unnamed file in memory that lives as long as this value.
pub struct MemoryFile(File);

impl MemoryFile {
    /// Copies the bytes into a new file.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        // SAFETY: `NAME` is a valid C string for the length of the call, which keeps no pointer to it.
        let fd = unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just returned `fd`, so it is open and nothing else owns it.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.write_all(bytes)?;
        Ok(Self(file))
    }

    /// A path under which this process can open the file.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_to_the_bytes() {
        let file = MemoryFile::new(b"vdso").expect("memfd");
        assert_eq!(std::fs::read(file.path()).expect("read"), b"vdso");
    }
}
