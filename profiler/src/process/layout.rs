//! The executable mappings of an address space, sorted and disjoint, as one more is put among them. Pure.

use crate::unwind::Mapping;

/// Puts a mapping in: what it covers of others is theirs no longer. Memory without a file joins its neighbours, because
/// a JIT compiler makes its memory executable piece by piece.
pub fn insert(layout: &mut Vec<Mapping>, mut new: Mapping) {
    let is_memory = new.image.is_none();
    let first = layout.partition_point(|old| old.end < new.start || (old.end == new.start && !is_memory));
    let mut kept = Vec::new();
    let mut next = first;
    while let Some(old) =
        layout.get(next).filter(|old| old.start < new.end || (old.start == new.end && is_memory))
    {
        if is_memory && old.image.is_none() {
            new = Mapping { start: new.start.min(old.start), end: new.end.max(old.end), ..new };
        } else {
            kept.extend(outside(old, &new));
        }
        next += 1;
    }
    kept.push(new);
    kept.sort_unstable_by_key(|mapping| mapping.start);
    layout.splice(first..next, kept);
}

/// The parts of a mapping that another does not cover.
fn outside(old: &Mapping, new: &Mapping) -> impl Iterator<Item = Mapping> {
    let below = Mapping { end: old.end.min(new.start), ..*old };
    let start = old.start.max(new.end);
    // Memory without a file has no offset.
    let moved = if old.image.is_some() { start - old.start } else { 0 };
    let above = Mapping { start, file_offset: old.file_offset.wrapping_add(moved), ..*old };
    [below, above].into_iter().filter(|part| part.start < part.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(start: u64, end: u64, file_offset: u64, image: u32) -> Mapping {
        Mapping { start, end, file_offset, image: Some(image) }
    }

    fn memory(start: u64, end: u64) -> Mapping {
        Mapping { start, end, file_offset: 0, image: None }
    }

    #[track_caller]
    fn check(before: &[Mapping], new: Mapping, expected: &[Mapping]) {
        let mut layout = before.to_vec();
        insert(&mut layout, new);
        assert_eq!(layout, expected);
    }

    #[test]
    fn a_mapping_finds_its_place() {
        let (a, b, c) = (file(10, 20, 0, 0), file(30, 40, 0, 1), file(20, 30, 0, 2));
        check(&[a, b], c, &[a, c, b]);
        check(&[], a, &[a]);
        check(&[b], a, &[a, b]);
        check(&[a], b, &[a, b]);
    }

    #[test]
    fn the_same_mapping_again_changes_nothing() {
        let a = file(10, 20, 5, 0);
        check(&[a], a, &[a]);
    }

    #[test]
    fn what_is_covered_is_the_others_no_longer() {
        let new = file(15, 25, 0, 9);
        check(&[file(10, 20, 100, 0)], new, &[file(10, 15, 100, 0), new]);
        check(&[file(20, 30, 100, 0)], new, &[new, file(25, 30, 105, 0)]);
        check(&[file(16, 20, 100, 0), file(20, 24, 0, 1)], new, &[new]);
    }

    #[test]
    fn a_mapping_within_another_splits_it() {
        let new = file(15, 20, 0, 9);
        check(&[file(10, 30, 100, 0)], new, &[file(10, 15, 100, 0), new, file(20, 30, 110, 0)]);
        check(&[memory(10, 30)], new, &[memory(10, 15), new, memory(20, 30)]);
    }

    #[test]
    fn memory_joins_its_neighbours() {
        check(&[memory(10, 20), memory(30, 40)], memory(20, 30), &[memory(10, 40)]);
        check(&[memory(10, 20)], memory(15, 18), &[memory(10, 20)]);
        check(&[memory(10, 20), file(20, 30, 0, 0)], memory(15, 25), &[memory(10, 25), file(25, 30, 5, 0)]);
    }

    #[test]
    fn files_do_not_join() {
        let (a, b) = (file(10, 20, 0, 0), file(20, 30, 10, 0));
        check(&[a], b, &[a, b]);
    }

    proptest! {
        #[test]
        fn layouts_stay_sorted_and_disjoint_and_the_newest_is_found(
            pieces in prop::collection::vec((0_u64..64, 1_u64..16, 0_u32..4), 1..40),
        ) {
            let mut layout = Vec::new();
            let mut truth = [None; 80];
            for (start, length, image) in pieces {
                let image = image.checked_sub(1);
                let end = start + length;
                insert(&mut layout, Mapping { start, end, file_offset: 0, image });
                truth[start as usize..end as usize].fill(Some(image));
            }
            for pair in layout.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for (address, expected) in truth.iter().enumerate() {
                let address = address as u64;
                let found = layout.iter().find(|m| (m.start..m.end).contains(&address)).map(|m| m.image);
                prop_assert_eq!(found, *expected);
            }
        }
    }
}
