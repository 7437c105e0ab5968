//! `write_deep BLOCKS DEVICE…`: a thread for each block device writes so many blocks of 4 KiB to it with one call, past the page cache.
//! A device that takes 4 KiB at a time then has so many requests under way at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;

use profiler_tests::workload::{AlignedBlock, number, ready};

fn main() -> io::Result<()> {
    let bytes = number(1, 1.0) as usize * AlignedBlock::BYTES;
    let open = |device| OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(device);
    let devices: Vec<File> = std::env::args().skip(2).map(open).collect::<io::Result<_>>()?;
    // Pages of zeroes, which begin where a page does.
    let pages = vec![0_u8; bytes + AlignedBlock::BYTES];
    let from = pages.as_ptr().align_offset(AlignedBlock::BYTES);
    let content = &pages[from..from + bytes];
    ready();
    thread::scope(|scope| {
        let write = |device| move || File::write_all_at(device, content, 0);
        let threads: Vec<_> = devices.iter().map(|device| scope.spawn(write(device))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    println!("{{\"writes\": {}}}", devices.len() * bytes / AlignedBlock::BYTES);
    Ok(())
}
