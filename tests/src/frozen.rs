//! A file system of one's own that can be frozen: until it is thawed, nothing that is written to its files gets done.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::loop_device::LoopDevice;
use crate::running::run;

// include/uapi/linux/fs.h
const FIFREEZE: libc::Ioctl = 0xC004_5877_u32 as libc::Ioctl;
const FITHAW: libc::Ioctl = 0xC004_5878_u32 as libc::Ioctl;

/// Long enough for a tool that makes or mounts a few megabytes.
const SOON: Duration = Duration::from_secs(20);

/// A mounted ext4; thawed and unmounted when it is dropped.
#[derive(Debug)]
pub struct FrozenFiles {
    place: PathBuf,
    // Detached once nothing is mounted from it.
    _device: LoopDevice,
}

impl FrozenFiles {
    /// Makes a file system of so many bytes out of a file in `folder`, and mounts it there. Not frozen yet.
    pub fn new(folder: &Path, bytes: u64) -> Result<Self> {
        Self::on(LoopDevice::new(&folder.join("file-system"), bytes)?, folder)
    }

    /// Makes one on a device, and mounts it in `folder`.
    pub fn on(device: LoopDevice, folder: &Path) -> Result<Self> {
        let place = folder.join("mounted");
        fs::create_dir(&place)?;
        tool(Command::new("mke2fs").args(["-q", "-t", "ext4", "-E", "nodiscard"]).arg(device.path()))?;
        tool(Command::new("mount").arg(device.path()).arg(&place))?;
        Ok(Self { place, _device: device })
    }

    /// Where its files are.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Lets writers wait from now on.
    pub fn freeze(&self) -> Result<()> {
        self.set(FIFREEZE)
    }

    /// Lets writers go on.
    pub fn thaw(&self) -> Result<()> {
        self.set(FITHAW)
    }

    fn set(&self, what: libc::Ioctl) -> Result<()> {
        let folder = File::open(&self.place)?;
        // SAFETY: the call takes a number that it does not look at.
        let result = unsafe { libc::ioctl(folder.as_raw_fd(), what, 0) };
        ensure!(result == 0, "{}: {}", self.place.display(), io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for FrozenFiles {
    fn drop(&mut self) {
        // It is most often thawed already.
        let _ = self.thaw();
        // A device made of one of its files may still be about to go.
        let _ = tool(Command::new("umount").arg("--lazy").arg(&self.place));
    }
}

fn tool(command: &mut Command) -> Result<()> {
    let words = format!("{command:?}");
    let done = run(std::mem::replace(command, Command::new("true")), SOON).context(words.clone())?;
    ensure!(done.status.success(), "{words}: {}", done.stderr);
    Ok(())
}
