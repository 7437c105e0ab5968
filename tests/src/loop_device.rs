//! A block device of one's own, made of a file: nobody else sends it requests.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::running::wait_until;

// include/uapi/linux/loop.h
const LOOP_SET_FD: libc::Ioctl = 0x4C00;
const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_CTL_REMOVE: libc::Ioctl = 0x4C81;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;

/// A loop device; detached when it is dropped.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    name: String,
    /// Files of its queue with what was in them before they were changed: the next who uses the device would find the changes.
    changed: Mutex<Vec<(PathBuf, String)>>,
}

/// What `/sys/block/NAME/stat` has counted (Documentation/block/stat.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
}

impl LoopDevice {
    /// Makes a device of a file of `bytes` bytes.
    pub fn new(file: &Path, bytes: u64) -> Result<Self> {
        let backing = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(file)?;
        backing.set_len(bytes)?;
        Self::of(&backing).with_context(|| format!("cannot make a block device of {}", file.display()))
    }

    /// Makes a device of a file that is there. There may be several of one.
    pub fn of(backing: &File) -> Result<Self> {
        let control =
            OpenOptions::new().read(true).write(true).open("/dev/loop-control").context("no loop devices")?;
        // SAFETY: the call takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        ensure!(number >= 0, "no free loop device: {}", io::Error::last_os_error());
        let name = format!("loop{number}");
        let device = OpenOptions::new().read(true).write(true).open(format!("/dev/{name}"))?;
        // SAFETY: the call takes a descriptor.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, backing.as_raw_fd()) };
        ensure!(result == 0, "/dev/{name}: {}", io::Error::last_os_error());
        Ok(Self { device, name, changed: Mutex::default() })
    }

    /// As in `/sys/block`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device's file.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Lets so many requests be under way at once, most of them in the queue of a scheduler: the driver itself takes 128.
    pub fn deepen(&self, requests: u32) -> Result<()> {
        self.change("scheduler", "mq-deadline").context("no scheduler mq-deadline")?;
        // Each read is to stay a request of its own.
        self.change("nomerges", "2")?;
        self.change("nr_requests", &requests.to_string())
    }

    /// Lets no request have more than 4 KiB.
    pub fn take_single_blocks(&self) -> Result<()> {
        self.change("max_sectors_kb", "4")
    }

    fn change(&self, setting: &str, value: &str) -> Result<()> {
        let path = PathBuf::from(format!("/sys/block/{}/queue/{setting}", self.name));
        let before = fs::read_to_string(&path)?;
        fs::write(&path, value)?;
        // Of several words the one in brackets is set.
        let word = before.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
        let before = word.unwrap_or(&before).trim().to_owned();
        self.changed.lock().expect("nobody panics with it").push((path, before));
        Ok(())
    }

    /// Takes the device away altogether, as one that is unplugged.
    pub fn remove(self) -> Result<()> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let number: libc::c_int = self.name.trim_start_matches("loop").parse()?;
        drop(self);
        // Its last descriptor is closed, but somebody else may just have a look at it.
        let is_gone = || {
            // SAFETY: the call takes a number.
            unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_REMOVE, number) >= 0 }
        };
        wait_until("the device's end", Duration::from_secs(5), is_gone)
    }

    /// The kernel's own counters.
    pub fn counted(&self) -> Result<Counted> {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.name))?;
        let numbers: Vec<u64> = text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(numbers.len() >= 7, "cut: {text}");
        let [reads, _, sectors_read, _, writes, _, sectors_written] = numbers[..7] else { unreachable!() };
        Ok(Counted { reads, read_bytes: 512 * sectors_read, writes, written_bytes: 512 * sectors_written })
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        for (path, before) in self.changed.get_mut().expect("nobody panics with it").drain(..).rev() {
            // A device that is gone has no settings.
            let _ = fs::write(path, before);
        }
        // SAFETY: the call takes no argument. A device that is still open elsewhere is detached when it is closed.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD, 0) };
    }
}
