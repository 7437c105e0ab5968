//! `/tmp/perf-PID.map`: the names that a runtime with a compiler inside (JVM, node, Python) writes for its own code.
//!
//! ```text
//! 7f2b8c0041a0 58 LazyCompile:~parse /srv/app.js:12
//! start        size name, to the end of the line; numbers in hexadecimal
//! ```
//! In: the text, which [`crate::process`] opened while the process lived, and the addresses of interest. Out: names. The
//! text is the target's own and may be anything: it is read up to a bound, line by line, and lines that do not parse
//! are passed over.

use std::io::{self, BufRead};

use super::nearest::{Nearest, each_line};

/// Most bytes of a map that are read. 64 MiB are about a million functions; a large JVM has some ten thousand.
const MAP_BYTES: u64 = 64 << 20;
/// Longest line that is read in one piece: Java's names, with their signatures, have some hundred bytes.
const LINE_BYTES: u64 = 8192;

/// The functions at the addresses, parallel to them. Where memory was used again, the function that was written last.
///
/// # Errors
/// Those of the reader. What was read before is lost with it.
pub fn functions(map: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let mut nearest = Nearest::to(addresses);
    each_line(map.take(MAP_BYTES), LINE_BYTES, |line| {
        let Some((start, size, name)) = parse_line(line) else { return };
        // One that holds none of the addresses must not hide another, which was there before.
        if nearest.first_from(start).is_some_and(|address| address - start < size) {
            nearest.offer(start, || (size, super::cut(&String::from_utf8_lossy(name))));
        }
    })?;
    let function = |&address: &u64| {
        let (start, (size, name)) = nearest.at(address)?;
        (address - start < *size).then(|| name.clone())
    };
    Ok(addresses.iter().map(function).collect())
}

/// Start, size and name.
fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut words = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
    Some((hexadecimal(words.next()?)?, hexadecimal(words.next()?)?, words.next()?))
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    let word = std::str::from_utf8(word).ok()?;
    u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &[u8] =
        b"1000 20 first\n1020 0x10 LambdaForm$MH/0x7f void f(int, char)\nnonsense\n3000 10 \xff\n";

    #[track_caller]
    fn check(map: &[u8], address: u64, expected: Option<&str>) {
        let found = functions(map, &[address]).expect("read");
        assert_eq!(found[0].as_deref(), expected);
    }

    #[test]
    fn an_address_inside_a_function_has_its_name() {
        check(MAP, 0x101f, Some("first"));
    }

    #[test]
    fn a_name_may_hold_spaces() {
        check(MAP, 0x1020, Some("LambdaForm$MH/0x7f void f(int, char)"));
    }

    #[test]
    fn an_address_after_a_function_has_no_name() {
        check(MAP, 0x1030, None);
    }

    #[test]
    fn an_address_before_all_functions_has_no_name() {
        check(MAP, 0xfff, None);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(MAP, 0x3000, Some("\u{fffd}"));
    }

    #[test]
    fn memory_that_was_used_again_has_the_later_name() {
        check(b"1000 20 old\n1000 20 new\n", 0x1000, Some("new"));
    }

    #[test]
    fn a_function_at_the_end_of_the_address_space_does_not_overflow() {
        check(b"fffffffffffffff0 ffffffffffffffff last\n", u64::MAX, Some("last"));
    }

    #[test]
    fn a_function_that_holds_nothing_of_interest_hides_none() {
        check(b"1000 200 large\n1010 8 small\n", 0x1100, Some("large"));
    }

    #[test]
    fn a_line_without_an_end_is_passed_over() {
        let map = [&b"1000 20 "[..], &b"f".repeat(1 << 20), b"\n2000 20 second\n"].concat();
        check(&map, 0x2000, Some("second"));
    }
}
