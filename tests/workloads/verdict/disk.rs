//! What waits for disks.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types};
use profiler_tests::workload::{AlignedBlock, Scatter, check, make_file, thread_named};

use super::Threads;

const BLOCK: usize = AlignedBlock::BYTES;
/// 64 MiB a thread.
const BLOCKS: u64 = 16_384;
/// Writes after which a file starts again from the front.
const WRITES: u64 = 2048;

/// Reads or writes of 4 KiB at random places, past the page cache.
pub fn direct(directory: &Path, threads: usize, writes: bool) -> Threads {
    (0..threads)
        .map(|index| {
            let path = directory.join(format!("direct-{index}"));
            make_file(&path, BLOCKS as usize * BLOCK);
            let file = OpenOptions::new().read(true).write(writes).custom_flags(libc::O_DIRECT).open(&path);
            let file = file.expect("the file opens");
            fs::remove_file(&path).expect("it is ours");
            thread_named(&format!("direct-{index}"), move || {
                let (mut block, mut places) = (AlignedBlock::new(), Scatter::new());
                loop {
                    let place = places.below(BLOCKS) * BLOCK as u64;
                    if writes {
                        file.write_all_at(block.bytes(), place).expect("written");
                    } else {
                        file.read_exact_at(block.bytes(), place).expect("read");
                    }
                }
            })
        })
        .collect()
}

/// Appends and syncs through io_uring, one after the other, in a worker that the kernel gives the thread: a new thread, and with it a new
/// worker, every half second, so that workers are born while somebody looks.
pub fn ring_sync(directory: &Path) -> Threads {
    let mut file = unnamed(directory, "ring", 0);
    vec![thread_named("rings", move || {
        loop {
            thread::scope(|scope| {
                scope.spawn(|| sync_by_ring(&mut file, Duration::from_millis(500)));
            });
        }
    })]
}

fn sync_by_ring(file: &mut File, length: Duration) {
    let mut ring = IoUring::new(4).expect("the kernel has io_uring");
    let started = Instant::now();
    for number in (0..).take_while(|_| started.elapsed() < length) {
        append(file, number, &[0; BLOCK]);
        let sync = opcode::Fsync::new(types::Fd(file.as_raw_fd())).build();
        // SAFETY: it names no memory, and the file is open until the completion.
        unsafe { ring.submission().push(&sync) }.expect("there is room for one");
        ring.submit_and_wait(1).expect("completed");
        assert_eq!(ring.completion().next().map(|done| done.result()), Some(0), "fsync by io_uring");
    }
}

fn unnamed(directory: &Path, name: &str, flags: i32) -> File {
    let path = directory.join(name);
    let file = OpenOptions::new().create(true).truncate(true).write(true).custom_flags(flags).open(&path);
    let file = file.expect("the file opens");
    fs::remove_file(&path).expect("it is ours");
    file
}

fn append(file: &mut File, number: u64, bytes: &[u8]) {
    if number.is_multiple_of(WRITES) {
        file.rewind().expect("a file has a beginning");
    }
    file.write_all(bytes).expect("written");
}

/// Threads that each append and wait until it is on the device.
pub fn fsync(directory: &Path, threads: usize) -> Threads {
    (0..threads)
        .map(|index| {
            let mut file = unnamed(directory, &format!("fsync-{index}"), 0);
            thread_named(&format!("fsync-{index}"), move || {
                for number in 0.. {
                    append(&mut file, number, &[7; 4096]);
                    file.sync_data().expect("on the device");
                }
            })
        })
        .collect()
}

/// One that asks for that with each write (`O_DSYNC`).
pub fn synchronous_write(directory: &Path) -> Threads {
    let mut file = unnamed(directory, "synchronous", libc::O_DSYNC);
    vec![thread_named("dsync", move || {
        for number in 0.. {
            append(&mut file, number, &[7; 4096]);
        }
    })]
}

/// Dirties pages faster than a disk takes them.
pub fn dirty(directory: &Path) -> Threads {
    /// 512 MiB of 1 MiB each.
    const PIECES: u64 = 512;
    let mut file = unnamed(directory, "dirty", 0);
    vec![thread_named("dirty", move || {
        let piece = vec![7; 1 << 20];
        for number in 0_u64.. {
            if number.is_multiple_of(PIECES) {
                file.rewind().expect("a file has a beginning");
            }
            file.write_all(&piece).expect("written");
        }
    })]
}

/// Touches the pages of a mapped file in a circle: in a control group that has not room for all of them, each has to be read again.
pub fn read_again(directory: &Path) -> Threads {
    const PAGE: usize = 4096;
    let path = directory.join("again");
    let bytes = BLOCKS as usize * BLOCK;
    make_file(&path, bytes);
    let file = File::open(&path).expect("the file opens");
    fs::remove_file(&path).expect("it is ours");
    vec![thread_named("again", move || {
        // Pages belong to the group that its reader is in, so it is given time to get there.
        thread::sleep(Duration::from_millis(700));
        // SAFETY: a new private mapping at a place of the kernel's choice, read inside its bounds; nobody cuts the file short.
        unsafe {
            let map =
                libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
            assert!(map != libc::MAP_FAILED, "mmap failed");
            check(libc::madvise(map, bytes, libc::MADV_RANDOM));
            loop {
                for page in 0..bytes / PAGE {
                    std::hint::black_box(map.cast::<u8>().add(page * PAGE).read_volatile());
                }
            }
        }
    })]
}
