//! Names of functions, shortened for a line of a terminal.

use std::borrow::Cow;

/// The name without what a reader does not need to know the function again: the list of its parameters (a demangled C++
/// name ends with it), the contents of its template arguments, and the mark of glibc's internal aliases.
pub fn short(name: &str) -> Cow<'_, str> {
    without_templates(without_parameters(name.strip_prefix("__GI_").unwrap_or(name)))
}

/// Whether a function only stands between a waiting thread's call and the kernel in glibc.
pub fn is_wait_plumbing(name: &str) -> bool {
    name.contains("futex_abstimed_wait") || name.ends_with("pthread_cond_wait_common")
}

fn without_parameters(name: &str) -> &str {
    let without_const = name.strip_suffix(" const").unwrap_or(name);
    if !without_const.ends_with(')') {
        return name;
    }
    let mut depth = 0_usize;
    for (at, character) in without_const.char_indices().rev() {
        match character {
            ')' => depth += 1,
            '(' if depth == 1 => return if at > 0 { &name[..at] } else { name },
            '(' => depth -= 1,
            _ => {}
        }
    }
    name
}

/// Arguments in angle brackets behind a name become `<…>`. Those at the start of a Rust name say what it belongs to and
/// stay; a name whose brackets do not match (`operator<<`, `operator->`) stays as it is.
fn without_templates(name: &str) -> Cow<'_, str> {
    if name.starts_with('<') || name.contains("operator") || !name.contains('<') {
        return Cow::Borrowed(name);
    }
    let (mut kept, mut depth) = (String::with_capacity(name.len()), 0_usize);
    for character in name.chars() {
        match character {
            '<' => {
                if depth == 0 {
                    kept.push_str("<…>");
                }
                depth += 1;
            }
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
    }
    if depth == 0 { Cow::Owned(kept) } else { Cow::Borrowed(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(short(name), expected);
    }

    #[test]
    fn parameters_go() {
        check("llvm::Module::~Module()", "llvm::Module::~Module");
        check("f(void (*)(int), char const*) const", "f");
        check("(anonymous namespace)::run(int)", "(anonymous namespace)::run");
    }

    #[test]
    fn template_arguments_go() {
        check("std::vector<std::pair<int, int>>::push_back(int)", "std::vector<…>::push_back");
    }

    #[test]
    fn operators_and_rust_names_stay() {
        check("operator<<(std::ostream&)", "operator<<");
        check("<alloc::vec::Vec<u8> as Clone>::clone", "<alloc::vec::Vec<u8> as Clone>::clone");
    }

    #[test]
    fn aliases_of_glibc_lose_their_mark() {
        check("__GI___libc_write", "__libc_write");
    }

    #[test]
    fn how_glibc_waits_is_plumbing_and_what_a_program_calls_is_not() {
        assert!(is_wait_plumbing("__futex_abstimed_wait_common64"));
        assert!(is_wait_plumbing("__pthread_cond_wait_common"));
        assert!(!is_wait_plumbing("___pthread_cond_wait"));
    }

    #[test]
    fn names_that_do_not_match_up_stay() {
        check("odd)", "odd)");
        check("(odd)", "(odd)");
        check("odd<x", "odd<x");
        check("", "");
    }
}
