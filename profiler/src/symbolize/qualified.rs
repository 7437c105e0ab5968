//! Whole names of Rust functions, where debug information has only the last part.
//!
//! With `debug = "line-tables-only"`, as many release builds have it, rustc writes `areas` for `shapes::areas`, and no name
//! for linkers. The symbol table has the whole one. In: both names. Out: whether they are of one function. Pure.

use std::path::Path;

use profiler_report::recording::Name;

/// Whether the name of a function may be only its last part.
pub fn may_be_partial(name: &Name) -> bool {
    Path::new(&name.file).extension().is_some_and(|extension| extension == "rs")
        && !without_arguments(&name.function).contains("::")
}

/// Whether `symbol` is the whole name of what debug information calls `part`. Generic arguments stand in other places in
/// each, and closures have numbers in one of them.
pub fn is_whole_name(part: &str, symbol: &str) -> bool {
    let last = last_part(symbol);
    let is_closure = |name: &str| name.trim_start_matches('{').starts_with("closure");
    symbol.contains("::") && (last == without_arguments(part) || (is_closure(part) && is_closure(last)))
}

/// `method` of `<T as a::Trait>::method::<u8>`.
fn last_part(symbol: &str) -> &str {
    let name = without_arguments(symbol);
    name.rsplit("::").next().unwrap_or(name)
}

/// The name without the generic arguments at its end, `::<…>` or `<…>`.
fn without_arguments(name: &str) -> &str {
    let mut depth = 0_usize;
    if !name.ends_with('>') {
        return name;
    }
    for (at, byte) in name.bytes().enumerate().rev() {
        match byte {
            // The arrow of a function's type is no bracket.
            b'>' if at > 0 && name.as_bytes()[at - 1] == b'-' => {}
            b'>' => depth += 1,
            b'<' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let name = &name[..at];
            return name.strip_suffix("::").unwrap_or(name);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(part: &str, symbol: &str, expected: bool) {
        assert_eq!(is_whole_name(part, symbol), expected, "{part} of {symbol}");
    }

    #[test]
    fn what_is_between_brackets_makes_no_whole_name() {
        let name = |function: &str| Name {
            function: function.to_owned(),
            file: "a.rs".to_owned(),
            ..Name::default()
        };
        assert!(may_be_partial(&name("quicksort<u64, alloc::slice::{impl#0}::sort_by_key<u64, u64>>")));
        assert!(!may_be_partial(&name("slice::quicksort<u64>")));
        assert!(!may_be_partial(&Name { file: "a.c".to_owned(), ..name("quicksort") }));
    }

    #[test]
    fn the_last_part_belongs_to_its_whole() {
        check("areas", "shapes::areas", true);
        check("area", "<shapes::Circle as shapes::Area>::area", true);
        check("small_sort<u64>", "core::slice::sort::small_sort", true);
        check("small_sort<u64, fn(u8) -> u8>", "core::slice::sort::small_sort::<u64, fn(u8) -> u8>", true);
        check("{closure#0}", "shapes::main::{{closure}}", true);
    }

    #[test]
    fn another_function_is_not_its_whole() {
        check("areas", "shapes::area", false);
        check("areas", "areas", false);
        check("area", "shapes::area::{{closure}}", false);
        check("new", "__rust_alloc", false);
    }

    #[test]
    fn brackets_that_do_not_match_are_survived() {
        for name in ["", ">", "a>", "->", "<<<", "a::<b->", "é>"] {
            check(name, name, false);
        }
    }
}
