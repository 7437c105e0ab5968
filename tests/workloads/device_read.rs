//! `device_read DEVICE [READS]`: reads 4 KiB at random places of a block device, past the page cache, one after the other.
//!
//! At the end it tells how long a read took by its own clock: for devices whose delay is known.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use profiler_tests::workload::{AlignedBlock, Scatter, number, ready, text};

/// Places that are read are within the device's first 32 MiB.
const BLOCKS: u64 = 8192;

fn main() -> io::Result<()> {
    let device = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(text(1))?;
    let mut block = AlignedBlock::new();
    let mut places = Scatter::new();
    ready();
    let mut milliseconds = Vec::new();
    for _ in 0..number(2, 50.0) as usize {
        let place = places.below(BLOCKS) * AlignedBlock::BYTES as u64;
        let started = Instant::now();
        device.read_exact_at(block.bytes(), place)?;
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    let (reads, least) = (milliseconds.len(), milliseconds.first().copied().unwrap_or(0.0));
    let median = milliseconds.get(reads / 2).copied().unwrap_or(0.0);
    println!("{{\"reads\": {reads}, \"least_ms\": {least:.3}, \"median_ms\": {median:.3}}}");
    Ok(())
}
