//! How large the maps are that grow with the machine, so that all together stay within what the kernel's side may have. Pure.

use profiler_common::{
    ledger::ThreadRecord,
    sample::{FIXED_BYTES, LARGE_ROOM, PAGE_BYTES},
    wait_times::{GROUPS, WaitTimes},
};

use crate::instruments::off_cpu::{AIM, MOST_CAPTURES};
use profiler_report::recording::{InstrumentId, Skip, SkipCause};

/// What the kernel's side of a recording may have if nothing else is said: maps, and perf's rings.
pub const MOST_BYTES: u64 = 64 << 20;
/// A value of a preallocated hash takes this much more: its key, links, and a bucket.
const HASH_BYTES: u64 = 72;
/// An account, with its entries in the maps of targets and of ids in other namespaces, which have the same capacity and 8 and 16
/// bytes a value.
const THREAD_BYTES: u64 = size_of::<ThreadRecord>() as u64 + HASH_BYTES + 8 + HASH_BYTES + 16 + HASH_BYTES;
/// One CPU's part: a buffer for a large sample, a ring of perf of 16 pages with its header, and the
/// histograms of waits.
const CPU_BYTES: u64 =
    (FIXED_BYTES + LARGE_ROOM + 17 * PAGE_BYTES + GROUPS.len() * size_of::<WaitTimes>()) as u64;
/// Maps of a fixed size and the programs themselves: some 0.9 MiB (docs/kernel-programs.md).
const FIXED_MAPS_BYTES: u64 = 1 << 20;
/// Maps of requests to block devices, if they are followed and have all the room that they want: 2.9 MiB. At half of the
/// memory half of it, and so on.
const BLOCK_IO_BYTES: u64 = 3 << 20;
/// The ring holds what arrives in this time at worst, so that the loop may be late that long.
const SLACK_SECONDS: f64 = 0.25;
/// Fewer accounts than this, and a smaller ring, are of no use, whatever may be had.
const FEWEST_THREADS: u32 = 256;
const LEAST_RING_BYTES: u64 = 256 << 10;

/// What the sizes follow from.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub cpus: u32,
    /// Accounts that there should be room for.
    pub threads: u32,
    pub sample_hz: u32,
    /// Bytes of user stack that a usual sample takes.
    pub stack_bytes: u32,
    /// Requests to block devices are followed.
    pub block_io: bool,
    /// What the kernel's side may have.
    pub most_bytes: u64,
}

/// The sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Accounts.
    pub threads: u32,
    /// A power of two of pages.
    pub ring_bytes: u32,
    /// Maps of requests have their usual capacity divided by two to the power of this.
    pub block_io_shift: u32,
}

/// Chooses them. The accounts may have three quarters of what the CPUs' parts leave; the ring has at most the rest.
pub fn sizes(demand: Demand) -> Sizes {
    let block_io_shift = block_io_shift(demand);
    let for_requests = if demand.block_io { BLOCK_IO_BYTES >> block_io_shift } else { 0 };
    let for_cpus = u64::from(demand.cpus) * CPU_BYTES + FIXED_MAPS_BYTES + for_requests;
    let left = demand.most_bytes.saturating_sub(for_cpus).max(demand.most_bytes / 9);
    let most_threads = (left * 3 / 4 / THREAD_BYTES) as u32;
    let threads = demand.threads.min(most_threads).max(FEWEST_THREADS);
    let rest = left.saturating_sub(u64::from(threads) * THREAD_BYTES);
    let most_ring = 1_u64 << rest.max(LEAST_RING_BYTES).ilog2();
    Sizes { threads, ring_bytes: u64::from(wanted_ring(demand)).min(most_ring) as u32, block_io_shift }
}

/// Requests have a sixteenth of the memory, or of what the CPUs' parts leave of it.
fn block_io_shift(demand: Demand) -> u32 {
    let for_cpus = u64::from(demand.cpus) * CPU_BYTES + FIXED_MAPS_BYTES;
    let left = demand.most_bytes.saturating_sub(for_cpus).max(demand.most_bytes / 9);
    (0..6).find(|shift| BLOCK_IO_BYTES >> shift <= left / 12).unwrap_or(6)
}

fn wanted_ring(demand: Demand) -> u32 {
    let sample_bytes = f64::from(FIXED_BYTES as u32 + demand.stack_bytes + PAGE_BYTES as u32);
    let samples_a_second = f64::from(demand.sample_hz) * f64::from(demand.cpus + AIM);
    let bytes = samples_a_second * SLACK_SECONDS * sample_bytes;
    // At least what one tick brings at its most.
    let one_tick = f64::from(demand.cpus + MOST_CAPTURES) * sample_bytes;
    (bytes.max(one_tick) as u32).min(32 << 20).next_power_of_two()
}

/// What is lacking where there is not room for all.
pub fn too_few(sizes: Sizes, demand: Demand) -> Option<Skip> {
    (sizes.threads < demand.threads).then(|| Skip {
        count: u64::from(sizes.threads),
        ..Skip::with_detail(
            InstrumentId::Ledger,
            SkipCause::ThreadsOverLimit,
            format!("{} MiB", demand.most_bytes >> 20),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Demand = Demand {
        cpus: 2,
        threads: 4096,
        sample_hz: 99,
        stack_bytes: 16 << 10,
        block_io: true,
        most_bytes: MOST_BYTES,
    };

    fn bytes(sizes: Sizes, cpus: u32) -> u64 {
        u64::from(sizes.threads) * THREAD_BYTES
            + u64::from(sizes.ring_bytes)
            + u64::from(cpus) * CPU_BYTES
            + FIXED_MAPS_BYTES
            + (BLOCK_IO_BYTES >> sizes.block_io_shift)
    }

    #[test]
    fn a_small_machine_gets_what_it_needs() {
        // 99 Hz × (2 + 5) × 0.25 s × 21,576 B = 3.7 MB
        assert_eq!(sizes(SMALL), Sizes { threads: 4096, ring_bytes: 4 << 20, block_io_shift: 0 });
        assert_eq!(too_few(sizes(SMALL), SMALL), None);
        // (1 + 32) × 21,576 B = 0.7 MB
        assert_eq!(sizes(Demand { cpus: 1, sample_hz: 1, ..SMALL }).ring_bytes, 1 << 20);
        // 99 Hz × (2 + 5) × 0.25 s × 70,728 B = 12.3 MB
        assert_eq!(sizes(Demand { stack_bytes: 64 << 10, ..SMALL }).ring_bytes, 16 << 20);
        // 10,000 threads, twice, as a power of two.
        assert_eq!(sizes(Demand { threads: 32_768, ..SMALL }).threads, 32_768);
    }

    #[test]
    fn however_large_the_machine_is_the_kernels_side_keeps_to_its_bound() {
        for cpus in [1, 2, 16, 64, 128, 256, 384] {
            for threads in [4096, 16_384, 65_536, 1 << 20] {
                for sample_hz in [1, 99, 1000] {
                    let sizes = sizes(Demand { cpus, threads, sample_hz, ..SMALL });
                    assert!(bytes(sizes, cpus) <= MOST_BYTES, "{cpus} CPUs, {threads} threads: {sizes:?}");
                    assert!(sizes.threads >= 4096 && sizes.ring_bytes >= 1 << 20, "{sizes:?}");
                }
            }
        }
    }

    #[test]
    fn a_tenth_of_the_memory_is_kept_to_as_well() {
        let most_bytes = MOST_BYTES / 10;
        let sizes = sizes(Demand { most_bytes, threads: 1 << 20, sample_hz: 1000, ..SMALL });
        assert!(bytes(sizes, 2) <= most_bytes, "{sizes:?}");
        assert!(sizes.threads >= 2048 && sizes.ring_bytes >= 1 << 20, "{sizes:?}");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let demand = Demand { threads: 1 << 20, ..SMALL };
        let skip = too_few(sizes(demand), demand).expect("not all of a million fit");
        assert_eq!(skip.count, u64::from(sizes(demand).threads));
    }
}
