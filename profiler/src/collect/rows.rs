//! Rows that add up under their keys, window by window.

use std::collections::HashSet;
use std::hash::Hash;

use indexmap::IndexMap;

/// Rows of the present window. Of all windows together there are at most so many different keys, so that neither the memory
/// here nor the whole recording grows without bound.
pub struct Rows<K, V> {
    known: HashSet<K>,
    present: IndexMap<K, V>,
    most: usize,
}

impl<K: Eq + Hash + Clone, V: Default> Rows<K, V> {
    pub fn new(most: usize) -> Self {
        Self { known: HashSet::new(), present: IndexMap::new(), most }
    }

    /// The row of a key in the present window. None if the key is new and there are too many.
    pub fn entry(&mut self, key: K) -> Option<&mut V> {
        if !self.known.contains(&key) {
            if self.known.len() >= self.most {
                return None;
            }
            self.known.insert(key.clone());
        }
        Some(self.present.entry(key).or_default())
    }

    /// All rows of the present window, in the order in which they came. The next one begins.
    pub fn take(&mut self) -> IndexMap<K, V> {
        std::mem::take(&mut self.present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_over_all_windows() {
        let mut rows: Rows<u32, u32> = Rows::new(2);
        for key in [1, 2, 3, 1] {
            if let Some(row) = rows.entry(key) {
                *row += 1;
            }
        }
        assert_eq!(rows.take().into_iter().collect::<Vec<_>>(), [(1, 2), (2, 1)]);
        assert!(rows.entry(3).is_none());
        *rows.entry(2).expect("known") += 1;
        assert_eq!(rows.take().into_iter().collect::<Vec<_>>(), [(2, 1)]);
    }
}
