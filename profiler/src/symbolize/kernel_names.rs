//! Whether the kernel shows its symbols' addresses to this process; without them no kernel frame has a name.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};

/// The kernel's list of its symbols. Whether it has their addresses was decided for the privileges of when it was opened;
/// what is in it is that of when it is read.
pub struct KernelSymbols(io::Result<File>);

impl KernelSymbols {
    /// Opens it, with the privileges of now.
    pub fn open() -> Self {
        Self(File::open("/proc/kallsyms"))
    }

    /// From its beginning. Not for two readers at once.
    ///
    /// # Errors
    /// There is none.
    pub fn reader(&self) -> io::Result<impl BufRead> {
        let mut file: &File = self.0.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::with_capacity(1 << 16, file))
    }

    /// Why kernel functions will have no names, and what mends it; nothing if they will have.
    pub fn hidden(&self) -> Option<String> {
        let kptr_restrict = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
        let mut first_symbol = String::new();
        if let Ok(mut list) = self.reader() {
            // A line that cannot be read is as good as none.
            let _ = list.read_line(&mut first_symbol);
        }
        explain(kptr_restrict.trim(), &first_symbol)
    }
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
