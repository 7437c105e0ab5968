//! A file whose every access takes a known time, served by this process through FUSE. A block device made of it is a disk of known
//! delay, on any kernel that has FUSE and loop devices, and needs no module of its own as the kernel's delaying devices do.
//!
//! In: a size and a delay. Out: an open file, which nobody else can open: its file system is mounted for the moment of opening alone.
//! Reads, writes and flushes are done one after the other, and each takes the delay.
//!
//! The messages are those of include/uapi/linux/fuse.h; a message is a header and a struct, in the machine's own byte order.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::running::run_before_others;

/// The name of the only file.
const NAME: &str = "disk";
const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Largest piece that the kernel is to send or ask for at once.
const PIECE: usize = 1 << 20;
const PAGE: usize = 4096;
const IN_HEADER: usize = 40;
const WRITE_HEADER: usize = 40;

// Operations.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

/// Each read and write is to come to us: none may be answered from the page cache.
const FOPEN_DIRECT_IO: u32 = 1;
const FUSE_BIG_WRITES: u32 = 1 << 5;
const FUSE_MAX_PAGES: u32 = 1 << 22;
/// The version whose structs are used here.
const VERSION: (u32, u32) = (7, 31);

/// How long each access takes; it can be changed at any time.
#[derive(Clone, Debug, Default)]
pub struct Delay(Arc<AtomicU64>);

impl Delay {
    pub fn set(&self, delay: Duration) {
        self.0.store(delay.as_nanos() as u64, Relaxed);
    }

    fn wait(&self) {
        match self.0.load(Relaxed) {
            0 => {}
            ns => thread::sleep(Duration::from_nanos(ns)),
        }
    }
}

/// Opens a file of zeros in memory. `folder` must be empty; it is used for a moment.
pub fn slow_file(folder: &Path, bytes: usize, delay: Delay) -> Result<File> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").context(
        "there is no FUSE, which the disk of known delay is made of\n  try: modprobe fuse, or in a container: --device /dev/fuse",
    )?;
    mount(&device, folder)?;
    thread::Builder::new().name("slow-file".into()).spawn(move || serve(device, vec![0; bytes], &delay))?;
    let file = OpenOptions::new().read(true).write(true).open(folder.join(NAME));
    unmount(folder)?;
    file.context("cannot open the slow file")
}

fn mount(device: &File, folder: &Path) -> Result<()> {
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let [source, kind, options] = ["profiler-tests", "fuse", &options].map(c_string);
    let place = c_string(&folder.to_string_lossy());
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: four strings that live through the call.
    let result = unsafe {
        libc::mount(source.as_ptr(), place.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("cannot mount FUSE") }
}

/// What is open stays.
fn unmount(folder: &Path) -> Result<()> {
    let place = c_string(&folder.to_string_lossy());
    // SAFETY: a string that lives through the call.
    let result = unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("cannot unmount FUSE") }
}

fn c_string(text: &str) -> std::ffi::CString {
    std::ffi::CString::new(text).expect("a path of our own has no zero in it")
}

/// Answers until the last who has the file open closes it.
fn serve(mut device: File, mut content: Vec<u8>, delay: &Delay) {
    run_before_others();
    let mut buffer = vec![0; PIECE + 2 * PAGE];
    loop {
        match device.read(&mut buffer) {
            Ok(length) => answer(&mut device, &buffer[..length], &mut content, delay),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT | libc::EAGAIN)) => {
            }
            // ENODEV: the file system is gone.
            Err(_) => return,
        }
    }
}

fn answer(device: &mut File, request: &[u8], content: &mut [u8], delay: &Delay) {
    let (operation, unique, node) = (u32_at(request, 4), u64_at(request, 8), u64_at(request, 16));
    let body = &request[IN_HEADER..];
    let reply = match operation {
        FORGET | BATCH_FORGET | INTERRUPT => return,
        INIT => Ok(init(body)),
        LOOKUP if node == ROOT && body == [NAME.as_bytes(), &[0]].concat() => Ok(entry(content.len())),
        LOOKUP => Err(libc::ENOENT),
        // Valid for 60 s.
        GETATTR => Ok([&words(&[60, 0]), &attributes(node, content.len())[..]].concat()),
        OPEN => Ok(words(&[0, FOPEN_DIRECT_IO.into()])),
        READ => {
            delay.wait();
            Ok(content[part(body, content.len())].to_vec())
        }
        WRITE => {
            delay.wait();
            let place = part(body, content.len());
            let length = place.len();
            content[place].copy_from_slice(&body[WRITE_HEADER..][..length]);
            Ok(words(&[length as u64]))
        }
        FSYNC => {
            delay.wait();
            Ok(Vec::new())
        }
        FLUSH | RELEASE | DESTROY => Ok(Vec::new()),
        _ => Err(libc::ENOSYS),
    };
    let (error, reply) = reply.map_or_else(|error| (-error, Vec::new()), |reply| (0, reply));
    let length = 16 + reply.len() as u32;
    let header = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes()].concat();
    // It fails where the request was interrupted meanwhile: then nobody waits for the answer.
    let _ = device.write(&[header, reply].concat());
}

/// `fuse_init_out`.
fn init(body: &[u8]) -> Vec<u8> {
    let (minor, offered) = (u32_at(body, 4), u32_at(body, 12));
    let flags = offered & (FUSE_BIG_WRITES | FUSE_MAX_PAGES);
    let mut reply = Vec::new();
    for word in [VERSION.0, VERSION.1.min(minor), 0, flags] {
        reply.extend(word.to_ne_bytes());
    }
    // max_background and congestion_threshold, the kernel's own; then max_write, and time_gran.
    reply.extend([0; 4]);
    reply.extend((PIECE as u32).to_ne_bytes());
    reply.extend(1_u32.to_ne_bytes());
    reply.extend(((PIECE / PAGE) as u16).to_ne_bytes());
    reply.resize(64, 0);
    reply
}

/// `fuse_entry_out` of the file.
fn entry(bytes: usize) -> Vec<u8> {
    [&words(&[FILE, 0, 60, 60, 0]), &attributes(FILE, bytes)[..]].concat()
}

/// `fuse_attr`.
fn attributes(node: u64, bytes: usize) -> Vec<u8> {
    let (mode, size) =
        if node == ROOT { (libc::S_IFDIR | 0o700, 0) } else { (libc::S_IFREG | 0o600, bytes as u64) };
    let mut attributes = words(&[node, size, size / 512, 0, 0, 0]);
    // Three times their nanoseconds, mode, links, owner, group, device, block size, flags.
    for word in [0, 0, 0, mode, 1, 0, 0, 0, PAGE as u32, 0] {
        attributes.extend(word.to_ne_bytes());
    }
    attributes
}

/// The part of the file that `fuse_read_in` or `fuse_write_in` names: both begin with a handle, an offset and a size.
fn part(body: &[u8], bytes: usize) -> std::ops::Range<usize> {
    let begin = (u64_at(body, 8) as usize).min(bytes);
    begin..(begin + u32_at(body, 16) as usize).min(bytes)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_as_long_as_the_kernel_wants_them() {
        assert_eq!(init(&[0; 64]).len(), 64);
        assert_eq!(entry(4096).len(), 128);
        assert_eq!(attributes(FILE, 4096).len(), 88);
    }

    #[test]
    fn a_part_ends_with_the_file() {
        let body = |offset: u64, size: u64| words(&[0, offset, size]);
        assert_eq!(part(&body(4096, 4096), 16384), 4096..8192);
        assert_eq!(part(&body(12288, 8192), 16384), 12288..16384);
        assert_eq!(part(&body(99999, 1), 16384), 16384..16384);
    }
}
