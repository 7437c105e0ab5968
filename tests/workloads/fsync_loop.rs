//! `fsync_loop DIRECTORY [SECONDS]`: appends 4 KiB to a file and waits until they are on the device, again and again.
//!
//! At the end it tells how long its `fdatasync` calls took by its own clock.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use profiler_tests::workload::{number, ready, text};

/// Writes after which the file starts again from the front: it must not fill the disk.
const WRITES_IN_FILE: u64 = 1024;

fn main() -> io::Result<()> {
    let path = Path::new(&text(1)).join("fsync_loop.data");
    let length = Duration::from_secs_f64(number(2, 120.0));
    let mut file = File::create(&path)?;
    fs::remove_file(&path)?;
    ready();

    let (started, mut syncs, mut in_syncs) = (Instant::now(), 0, Duration::ZERO);
    while started.elapsed() < length {
        if syncs % WRITES_IN_FILE == 0 {
            file.rewind()?;
        }
        file.write_all(&[0; 4096])?;
        let sync_started = Instant::now();
        file.sync_data()?;
        in_syncs += sync_started.elapsed();
        syncs += 1;
    }
    println!("{{\"syncs\": {syncs}, \"sync_seconds\": {}}}", in_syncs.as_secs_f64());
    Ok(())
}
