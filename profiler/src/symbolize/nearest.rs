//! For each of some addresses the symbol next below it, from a list that is too long to keep.
//!
//! In: addresses, then symbols in any order. Out: the nearest symbol at each address. As many symbols are kept as there
//! are addresses, however many are offered.

use std::io::{self, BufRead, Read};

/// What is nearest to each address so far.
pub struct Nearest<T> {
    /// Sorted, each once.
    addresses: Vec<u64>,
    /// Parallel to `addresses`: the nearest symbol that lies above the address before.
    found: Vec<Option<(u64, T)>>,
}

impl<T> Nearest<T> {
    pub fn to(addresses: &[u64]) -> Self {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        let found = addresses.iter().map(|_| None).collect();
        Self { addresses, found }
    }

    /// The first address that a symbol could belong to.
    pub fn first_from(&self, start: u64) -> Option<u64> {
        self.addresses.get(self.slot(start)).copied()
    }

    /// Whether a symbol that was offered starts there and is kept.
    pub fn has(&self, start: u64) -> bool {
        self.found
            .get(self.slot(start))
            .is_some_and(|found| found.as_ref().is_some_and(|(at, _)| *at == start))
    }

    /// Keeps the symbol if it is nearer than that before, or as near.
    pub fn offer(&mut self, start: u64, symbol: impl FnOnce() -> T) {
        let slot = self.slot(start);
        let Some(found) = self.found.get_mut(slot) else { return };
        if found.as_ref().is_none_or(|(before, _)| *before <= start) {
            *found = Some((start, symbol()));
        }
    }

    /// The symbol nearest to one of the addresses, and where it starts.
    pub fn at(&self, address: u64) -> Option<(u64, &T)> {
        let slot = self.addresses.binary_search(&address).ok()?;
        let nearest = self.found[..=slot].iter().rev().find_map(Option::as_ref)?;
        Some((nearest.0, &nearest.1))
    }

    fn slot(&self, start: u64) -> usize {
        self.addresses.partition_point(|&address| address < start)
    }
}

/// Hands on each line with its end; one longer than `longest` bytes in pieces.
pub fn each_line(mut text: impl BufRead, longest: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if text.by_ref().take(longest).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        each(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(symbols: &[u64], address: u64, expected: Option<u64>) {
        let mut nearest = Nearest::to(&[20, 10, address, 30]);
        for &start in symbols {
            nearest.offer(start, || ());
        }
        assert_eq!(nearest.at(address).map(|(start, ())| start), expected);
    }

    #[test]
    fn the_order_of_the_symbols_does_not_matter() {
        check(&[21, 5, 24, 23], 25, Some(24));
        check(&[24, 23, 21, 5], 25, Some(24));
    }

    #[test]
    fn addresses_share_what_lies_below_all_of_them() {
        check(&[5], 25, Some(5));
    }

    #[test]
    fn a_symbol_above_is_not_near() {
        check(&[26], 25, None);
    }
}
