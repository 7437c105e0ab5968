//! Whether the kernel shows its symbols' addresses to this process; without them no kernel frame has a name.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};

/// Why kernel functions will have no names, and what mends it; nothing if they will have.
pub fn kernel_names_hidden() -> Option<String> {
    let kptr_restrict = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    let mut first_symbol = String::new();
    if let Ok(file) = File::open("/proc/kallsyms") {
        // A line that cannot be read is as good as none.
        let _ = BufReader::new(file).read_line(&mut first_symbol);
    }
    explain(kptr_restrict.trim(), &first_symbol)
}

/// Judges the content of `kptr_restrict` and the first line of `kallsyms` (`ffffffff81000000 T _stext`).
fn explain(kptr_restrict: &str, first_symbol: &str) -> Option<String> {
    let address = first_symbol.split_whitespace().next().unwrap_or_default();
    if address.is_empty() {
        return Some("kernel functions have no names: this kernel has no /proc/kallsyms".to_owned());
    }
    if address.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let remedy = if kptr_restrict == "2" {
        "`sudo sysctl kernel.kptr_restrict=1`"
    } else {
        "run as root, or with the capability cap_syslog"
    };
    Some(format!(
        "kernel functions have no names: the kernel hides their addresses (kernel.kptr_restrict = {kptr_restrict}); \
         try: {remedy}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kptr_restrict: &str, first_symbol: &str, expected: Option<&str>) {
        let sentence = explain(kptr_restrict, first_symbol);
        match expected {
            None => assert_eq!(sentence, None),
            Some(part) => assert!(sentence.as_deref().is_some_and(|s| s.contains(part)), "{sentence:?}"),
        }
    }

    #[test]
    fn an_address_that_is_shown_needs_no_words() {
        check("1", "ffffffff81000000 T _stext\n", None);
    }

    #[test]
    fn hidden_even_from_root_names_the_sysctl() {
        check("2", "0000000000000000 T _stext\n", Some("sysctl kernel.kptr_restrict=1"));
    }

    #[test]
    fn hidden_from_others_names_the_capability() {
        check("1", "0000000000000000 T _stext\n", Some("cap_syslog"));
    }

    #[test]
    fn a_kernel_without_symbols_is_not_blamed_on_a_sysctl() {
        check("0", "", Some("no /proc/kallsyms"));
    }
}
