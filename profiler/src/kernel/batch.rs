//! Reads whole maps with few system calls (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6): one for some hundred entries, where an iteration makes
//! two for each.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use super::sys::{LookupBatch, lookup_batch};

/// Entries that are asked for at a time: 680 KiB of accounts.
const ENTRIES: u32 = 1024;
/// Fewer than one bucket of a hash has at worst are refused, so more are asked for then; up to a whole map of this size.
const MOST_ENTRIES: u32 = 1 << 20;

/// Values of all entries of a hash map, by keys of four bytes. Like an iteration it may miss entries that are added meanwhile.
///
/// # Errors
/// The kernel's.
pub fn values<V: aya::Pod>(map: BorrowedFd) -> io::Result<Vec<V>> {
    let mut all = vec![];
    let mut room = ENTRIES;
    // Where the next call goes on: an opaque number, which the kernel has written.
    let mut place: Option<u32> = None;
    loop {
        let mut keys = vec![0_u32; room as usize];
        let mut values: Vec<V> = Vec::with_capacity(room as usize);
        let (mut next, from) = (0_u32, place);
        let mut request = LookupBatch {
            in_batch: from.as_ref().map_or(0, |from| &raw const *from as u64),
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        let result = lookup_batch(&mut request);
        let is_end = match result {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                Some(libc::ENOSPC) if room < MOST_ENTRIES => {
                    room *= 2;
                    continue;
                }
                Some(libc::EINTR | libc::EAGAIN) => continue,
                _ => return Err(error),
            },
        };
        // SAFETY: the kernel has written as many values as it says, and there was room for them.
        unsafe { values.set_len((request.count as usize).min(room as usize)) };
        all.append(&mut values);
        if is_end {
            return Ok(all);
        }
        place = Some(next);
    }
}
