//! Names of C++ and Rust functions, from the form that linkers know to the one that people wrote.
//!
//! In: a name from a hostile file. Out: the same, readable, cut to its bound. The length of a readable name can be
//! exponential in that of the linkers', so it is written into a buffer that refuses what is beyond the bound.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

use super::{NAME_CHARS, cut};

/// The readable form of a name, or the name itself if it is of no known kind; at most [`NAME_CHARS`] characters.
pub fn readable(name: &str) -> String {
    rust(name).or_else(|| cpp(name)).unwrap_or_else(|| cut(name))
}

/// Of both of Rust's kinds, without the hash.
fn rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    let mut text = Bounded::default();
    // An error is the bound: what fits is kept.
    let _ = write!(text, "{demangled:#}");
    Some(text.finish())
}

fn cpp(name: &str) -> Option<String> {
    // Others are C names, which the library would take for abbreviated types: `f` for `float`.
    if !name.starts_with("_Z") && !name.starts_with("__Z") {
        return None;
    }
    let symbol = Symbol::new_with_options(name, &ParseOptions::default()).ok()?;
    let mut text = Bounded::default();
    match symbol.structured_demangle(&mut text, &DemangleOptions::default()) {
        Err(_) if !text.is_full() => None,
        _ => Some(text.finish()),
    }
}

/// Text that stops growing beyond its bound.
#[derive(Default)]
struct Bounded {
    text: String,
    chars: usize,
}

impl Bounded {
    fn is_full(&self) -> bool {
        self.chars > NAME_CHARS
    }

    fn finish(self) -> String {
        cut(&self.text)
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for character in more.chars() {
            if self.is_full() {
                return Err(fmt::Error);
            }
            self.text.push(character);
            self.chars += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(readable(name), expected);
    }

    #[test]
    fn a_cpp_name_is_as_it_was_written() {
        check("_ZN5store4openEi", "store::open(int)");
    }

    #[test]
    fn a_legacy_rust_name_has_no_hash() {
        check("_ZN5cargo5build17h0123456789abcdefE", "cargo::build");
    }

    /// The example of <https://doc.rust-lang.org/rustc/symbol-mangling/v0.html>.
    #[test]
    fn a_v0_rust_name_is_as_it_was_written() {
        check("_RINvNtC3std3mem8align_ofNtNtC3foo3bar3BazE", "std::mem::align_of::<foo::bar::Baz>");
    }

    #[test]
    fn a_c_name_stays() {
        check("f", "f");
    }

    #[test]
    fn what_only_begins_like_cpp_stays() {
        check("_Zebra", "_Zebra");
    }

    #[test]
    fn a_cpp_name_of_exponential_length_is_cut() {
        // t<int, int>, t<that, that>, and so on: each level doubles the one before, 2^30 times 8 characters in the end.
        let digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".chars().take(30);
        let levels: Vec<_> = digits.map(|digit| format!("S_IS{digit}_S{digit}_E")).collect();
        let text = readable(&format!("_Z1f1tIiiE{}", levels.concat()));
        assert!(text.starts_with("f(t<int, int>, t<t<int, int>, t<int, int> >, "), "{text}");
        assert_eq!(text.chars().count(), NAME_CHARS);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(readable(&"é".repeat(2000)).chars().count(), NAME_CHARS);
    }
}
