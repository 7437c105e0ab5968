//! Reads whole hash maps: some dozen entries a system call (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6), where an iteration makes
//! two for each entry.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};
use aya::{Pod, maps::IterableMap as _};

use super::{
    btf::Btf,
    maps::Table,
    sys::{LookupBatch, lookup_batch},
};

/// Entries that are asked for at a time: 44 KiB of accounts.
const ENTRIES: usize = 64;
/// Too few for one bucket are refused, so more are asked for then. A bucket with as many would be no hash.
const MOST_ENTRIES: usize = 1 << 16;

/// Reads maps in batches, or entry by entry.
#[derive(Clone, Copy)]
pub struct MapReader {
    in_batches: bool,
}

impl MapReader {
    /// A batch holds a bucket's lock while it copies. Since 5.11 a program that wants the same bucket meanwhile, on the
    /// same CPU, is turned away (20b6cc34ea74); before, it
    /// waits for ever; a recording that read in batches hung in 5.10, perhaps by that. The
    /// fields by which it is turned away, until 6.15 and since then, tell such kernels.
    pub fn new(btf: &Btf) -> Self {
        let has_guard =
            btf.member("bpf_htab", "map_locked").is_some() || btf.size_of("rqspinlock_held").is_some();
        Self { in_batches: has_guard }
    }

    /// All entries. Like an iteration it may miss entries that are added meanwhile.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn entries<K: Pod, V: Pod>(self, table: &Table<K, V>) -> Result<Vec<(K, V)>> {
        // A bucket that is busy for too long is an error in a batch, and none for single entries.
        if let Some(entries) = self.in_batches.then(|| batches(table.map().fd().as_fd()).ok()).flatten() {
            return Ok(entries);
        }
        table.iter().collect::<Result<_, _>>().context("cannot read a map")
    }
}

fn batches<K: Pod, V: Pod>(map: BorrowedFd) -> io::Result<Vec<(K, V)>> {
    let mut all = vec![];
    let (mut keys, mut values): (Vec<K>, Vec<V>) = (Vec::with_capacity(ENTRIES), Vec::with_capacity(ENTRIES));
    // Where the next call continues: the number of a bucket, which the kernel has written.
    let mut place: Option<u32> = None;
    loop {
        let from = place;
        let mut next = 0_u32;
        let room = keys.capacity().min(values.capacity());
        let mut request = LookupBatch {
            in_batch: from.as_ref().map_or(0, |from| &raw const *from as u64),
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        let is_end = match lookup_batch(&mut request) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < MOST_ENTRIES => {
                keys.reserve_exact(2 * room);
                values.reserve_exact(2 * room);
                continue;
            }
            Err(error) => return Err(error),
        };
        let count = (request.count as usize).min(room);
        // SAFETY: the kernel has written as many keys as it says, there was room for them, and any bytes are a key.
        unsafe { keys.set_len(count) };
        // SAFETY: as for keys.
        unsafe { values.set_len(count) };
        all.extend(keys.drain(..).zip(values.drain(..)));
        if is_end {
            return Ok(all);
        }
        place = Some(next);
    }
}
