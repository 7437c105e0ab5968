//! `read_deep DEVICE DEPTH ROUNDS`: in each round so many reads of 4 KiB at random places of a block device, past the page cache, all
//! under way at once.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;

use profiler_tests::workload::{AlignedBlock, Scatter, number, ready, text};

/// Places that are read are within the device's first 32 MiB.
const BLOCKS: u64 = 8192;
/// `IOCB_CMD_PREAD` (include/uapi/linux/aio_abi.h).
const PREAD: u16 = 0;

/// `struct iocb` (include/uapi/linux/aio_abi.h), on machines of little endian.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    flags: u32,
    operation: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    event_flags: u32,
    event_descriptor: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    object: u64,
    result: i64,
    result_too: i64,
}

fn main() -> io::Result<()> {
    let device = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(text(1))?;
    let (depth, rounds) = (number(2, 64.0) as usize, number(3, 1.0) as usize);
    let mut context = 0_u64;
    // SAFETY: writes one number to a valid place.
    called(unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut context) })?;
    // All read into the same block: what is read is of no interest.
    let mut block = AlignedBlock::new();
    let mut places = Scatter::new();
    ready();
    for _ in 0..rounds {
        let mut iocbs: Vec<Iocb> = (0..depth)
            .map(|_| Iocb {
                operation: PREAD,
                descriptor: device.as_raw_fd() as u32,
                buffer: block.bytes().as_mut_ptr() as u64,
                bytes: AlignedBlock::BYTES as u64,
                offset: (places.below(BLOCKS) * AlignedBlock::BYTES as u64) as i64,
                ..Iocb::default()
            })
            .collect();
        let pointers: Vec<*mut Iocb> = iocbs.iter_mut().map(ptr::from_mut).collect();
        let mut submitted = 0;
        while submitted < depth {
            let rest = &pointers[submitted..];
            // SAFETY: the control blocks and the block outlive the reads, which are waited for below.
            let result = unsafe { libc::syscall(libc::SYS_io_submit, context, rest.len(), rest.as_ptr()) };
            submitted += called(result)? as usize;
        }
        let mut events = vec![IoEvent::default(); depth];
        let forever = ptr::null::<libc::timespec>();
        // SAFETY: there is room for as many events as may come.
        let result = unsafe {
            libc::syscall(libc::SYS_io_getevents, context, depth, depth, events.as_mut_ptr(), forever)
        };
        let are_whole = events.iter().all(|event| event.result == AlignedBlock::BYTES as i64);
        if called(result)? as usize != depth || !are_whole {
            return Err(io::Error::other("a read failed"));
        }
    }
    println!("{{\"reads\": {}}}", depth * rounds);
    Ok(())
}

fn called(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
