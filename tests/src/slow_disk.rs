//! A directory on a disk whose delay is known, whatever the machine's own disk takes: what a test says of waits for a disk must not
//! depend on that.
//!
//! A file system on a loop device on a file of ours ([`crate::fuse`]), of which each request takes the delay. It has a cache that is
//! flushed, as disks do. In a guest of `cargo xtask vm`, the disk that the guest's plan has made: there are no loop devices, but
//! each request takes 1 ms too (set by `set_up_scratch` in `xtask/src/vm/plan.sh`).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::frozen::FrozenFiles;
use crate::fuse::{Delay, slow_file};
use crate::loop_device::LoopDevice;

/// What each request takes, at the least.
pub const DELAY: Duration = Duration::from_millis(1);

/// Room for what the workloads write; what is not written takes no memory.
const BYTES: usize = 1 << 30;

/// The directory; gone, with its disk, when this is dropped.
#[derive(Debug)]
pub struct SlowDisk {
    place: PathBuf,
    disk: Option<(FrozenFiles, Delay)>,
    // Removed once nothing is mounted in it.
    _folder: TempDir,
}

impl SlowDisk {
    /// `folder` is where its directory is to be: cargo's for temporary files.
    pub fn new(folder: &Path) -> Result<Self> {
        let folder = TempDir::new_in(folder)?;
        if env::var_os("PROFILER_TESTS_GUEST").is_some() {
            return Ok(Self { place: folder.path().to_owned(), disk: None, _folder: folder });
        }
        let delay = Delay::default();
        let place = folder.path().join("fuse");
        fs::create_dir(&place)?;
        let file = slow_file(&place, BYTES, delay.clone())?;
        let device = LoopDevice::of(&file).context("cannot make a block device of the slow file")?;
        let files = FrozenFiles::on(device, folder.path())?;
        // Until here nobody has to wait.
        delay.set(DELAY);
        Ok(Self { place: files.place().to_owned(), disk: Some((files, delay)), _folder: folder })
    }

    /// Where its files are.
    pub fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // What is still to be written is nobody's any more.
        if let Some((_, delay)) = &self.disk {
            delay.set(Duration::ZERO);
        }
    }
}
