//! Log-linear histograms of durations: 16 buckets for each power of two, so that a value is known to within 6 %.
//!
//! ```text
//! bucket  0 …  15   256 ns each, up to 4 µs
//! bucket 16 …  31   256 ns each, up to 8 µs
//! bucket 32 …  47   512 ns each, up to 16 µs
//! …
//! the last one      64 to 68.7 s, and whatever is longer
//! ```

/// The unit of the narrowest buckets is `2^UNIT_BITS` ns: 256 ns.
const UNIT_BITS: u32 = 8;
/// `2^SUB_BITS` buckets for each power of two.
const SUB_BITS: u32 = 4;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;
/// Powers of two above the linear part: the last bucket ends at `2^(UNIT_BITS + SUB_BITS + OCTAVES)` ns = 68.7 s.
const OCTAVES: u32 = 24;

/// Buckets of one histogram.
pub const BUCKETS: usize = (SUB_BUCKETS * (OCTAVES + 1)) as usize;

/// The bucket of a duration.
pub fn bucket(ns: u64) -> u32 {
    index(ns) as u32
}

/// The same for the kernel programs.
///
/// In 64 bits from end to end: for BPF, whose registers have 64, the compiler may check a copy that is
/// cut to 32 bits and go on with another, of which the verifier then knows nothing (seen on 6.18: "R2
/// unbounded memory access").
#[allow(clippy::inline_always, reason = "a kernel program has no room for calls between its parts")]
#[inline(always)]
pub fn index(ns: u64) -> u64 {
    let units = ns >> UNIT_BITS;
    if units < u64::from(SUB_BUCKETS) {
        return units;
    }
    if units >> (SUB_BITS + OCTAVES) != 0 {
        return BUCKETS as u64 - 1;
    }
    let octave = u64::from(log2(units as u32 >> SUB_BITS));
    (octave << SUB_BITS) + (units >> octave)
}

/// Whole binary logarithm of a number below `2^24`; 0 of 0.
///
/// From a table: BPF has no instruction for it, and `ilog2` becomes some 50 that wait for each other.
#[allow(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn log2(number: u32) -> u32 {
    let (byte, below) = match number {
        0..0x100 => (number, 0),
        0x100..0x1_0000 => (number >> 8, 8),
        _ => (number >> 16, 16),
    };
    below + u32::from(LOG2[(byte & 0xff) as usize])
}

/// Whole binary logarithm of each byte; 0 of 0.
static LOG2: [u8; 256] = {
    let mut logarithms = [0; 256];
    let mut byte = 1;
    while byte < logarithms.len() {
        logarithms[byte] = byte.ilog2() as u8;
        byte += 1;
    }
    logarithms
};

/// From where to where a bucket reaches, in nanoseconds; the end belongs to the next one.
pub fn bounds(bucket: u32) -> (u64, u64) {
    let octave = (bucket >> SUB_BITS).saturating_sub(1);
    let step = 1_u64 << (UNIT_BITS + octave);
    let index = if bucket < SUB_BUCKETS { bucket } else { SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1)) };
    let start = u64::from(index) * step;
    (start, start + step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ns: u64, expected: u32) {
        assert_eq!(bucket(ns), expected, "{ns} ns");
    }

    #[test]
    fn buckets_are_linear_at_first_and_then_sixteen_a_power_of_two() {
        check(0, 0);
        check(255, 0);
        check(256, 1);
        check(4_095, 15);
        check(4_096, 16);
        check(8_191, 31);
        check(8_192, 32);
        check(16_384, 48);
        check(u64::MAX, BUCKETS as u32 - 1);
    }

    #[test]
    fn a_value_lies_within_the_bounds_of_its_bucket_which_are_narrow() {
        for shift in 0..36 {
            for ns in [1_u64 << shift, (1 << shift) + (1 << shift) / 3, (2 << shift) - 1] {
                let (start, end) = bounds(bucket(ns));
                assert!((start..end).contains(&ns), "{ns} in {start}..{end}");
                assert!(end - start <= (start / 16).max(256), "{start}..{end}");
            }
        }
    }

    #[test]
    fn the_table_of_logarithms_agrees_with_the_processor() {
        let near_powers = (0..24).flat_map(|shift| [1 << shift, (1 << shift) | 1, (2 << shift) - 1]);
        for number in near_powers {
            assert_eq!(log2(number), number.ilog2(), "{number}");
        }
    }

    #[test]
    fn buckets_join_without_a_gap() {
        for bucket in 1..BUCKETS as u32 {
            assert_eq!(bounds(bucket - 1).1, bounds(bucket).0);
        }
    }
}
