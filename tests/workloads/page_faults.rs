//! `page_faults DIRECTORY [SECONDS]`: touches the pages of a mapped file in no order, after it has dropped them from the
//! page cache, so that the faults wait for the device.
//!
//! At the end it tells how many faults the kernel counted as such, and how often the thread gave up its CPU: for some pages it need
//! not wait, as they arrive before it does.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, ptr};

use profiler_tests::workload::{Scatter, check, make_file, number, ready, text, usage};

const PAGE: usize = 4096;
const PAGES: usize = 16_384; // 64 MiB
/// Touches before the pages are dropped again: a quarter of the pages, so that few are touched twice.
const TOUCHES: usize = PAGES / 4;

fn main() -> io::Result<()> {
    let path = Path::new(&text(1)).join("page_faults.data");
    let length = Duration::from_secs_f64(number(2, 120.0));
    make_file(&path, PAGES * PAGE);
    let file = File::open(&path)?;
    fs::remove_file(&path)?;
    let mut places = Scatter::new();
    ready();

    let before = usage();
    let started = Instant::now();
    while started.elapsed() < length {
        touch_some(&file, &mut places, started + length);
    }
    let after = usage();
    println!(
        "{{\"major_faults\": {}, \"voluntary_switches\": {}}}",
        after.major_faults - before.major_faults,
        after.voluntary_switches - before.voluntary_switches
    );
    Ok(())
}

/// Maps the file without a page in memory, touches some, and unmaps it.
fn touch_some(file: &File, places: &mut Scatter, end: Instant) {
    let bytes = PAGES * PAGE;
    // SAFETY: a new private mapping at a place of the kernel's choice; read inside its bounds, and only until it is
    // unmapped at the end. The file keeps its length: it has no name any more, and nobody else has it open.
    unsafe {
        check(-libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED));
        let map = libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
        assert!(map != libc::MAP_FAILED, "mmap failed: {}", io::Error::last_os_error());
        check(libc::madvise(map, bytes, libc::MADV_RANDOM));
        for _ in 0..TOUCHES {
            let page = map.cast::<u8>().add(places.below(PAGES as u64) as usize * PAGE);
            std::hint::black_box(page.read_volatile());
            if Instant::now() >= end {
                break;
            }
        }
        check(libc::munmap(map, bytes));
    }
}
