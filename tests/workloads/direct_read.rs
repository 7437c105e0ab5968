//! `direct_read DIRECTORY [SECONDS]`: reads 4 KiB at random places of a file past the page cache, so that each read waits
//! for the device.
//!
//! At the end it prints how long its reads took by its own clock, and how often it gave up the CPU during them and since
//! it was started: it also waits for the disk while it makes the file.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use profiler_tests::workload::{AlignedBlock, Scatter, make_file, number, ready, text, usage};

const BLOCK: usize = AlignedBlock::BYTES;
const BLOCKS: u64 = 16_384; // 64 MiB

fn main() -> io::Result<()> {
    let path = Path::new(&text(1)).join("direct_read.data");
    let length = Duration::from_secs_f64(number(2, 120.0));
    make_file(&path, BLOCKS as usize * BLOCK);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path)?;
    fs::remove_file(&path)?;
    let mut block = AlignedBlock::new();
    let mut places = Scatter::new();
    ready();

    let before = usage();
    let (started, mut reads, mut in_reads) = (Instant::now(), 0, Duration::ZERO);
    while started.elapsed() < length {
        let place = places.below(BLOCKS) * BLOCK as u64;
        let read_started = Instant::now();
        file.read_exact_at(block.bytes(), place)?;
        in_reads += read_started.elapsed();
        reads += 1;
    }
    let after = usage();
    println!(
        "{{\"reads\": {reads}, \"read_seconds\": {}, \"voluntary_switches\": {}, \"all_voluntary_switches\": {}}}",
        in_reads.as_secs_f64(),
        after.voluntary_switches - before.voluntary_switches,
        after.voluntary_switches
    );
    Ok(())
}
