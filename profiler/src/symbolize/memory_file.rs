//! Bytes as a file, for readers that only take paths.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};

const NAME: &CStr = c"module";

/// Copies the bytes into a new file, which has no name and is in memory alone.
pub fn memory_file(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: `NAME` is a valid C string for the length of the call, which keeps no pointer to it.
    let fd = unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned `fd`, so it is open and nothing else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::descriptor_path;

    #[test]
    fn the_path_leads_to_the_bytes() {
        let file = memory_file(b"vdso").expect("memfd");
        assert_eq!(std::fs::read(descriptor_path(&file)).expect("read"), b"vdso");
    }
}
