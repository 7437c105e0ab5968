//! Whether the kernel shows its symbols' addresses to this process; without them no kernel frame has a name.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};

use profiler_report::recording::{InstrumentId, Skip, SkipCause};

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

    /// Why kernel functions will have no names, and what fixes it; nothing if they will have.
    pub fn hidden(&self) -> Option<Skip> {
        let kptr_restrict = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
        explain(kptr_restrict.trim(), &self.first_function())
    }

    /// The list's line of its first function, `ffffffff81000000 T _stext`; empty where there is no list.
    pub fn first_function(&self) -> String {
        let list = self.reader().ok();
        first_function(list.into_iter().flat_map(BufRead::lines).map_while(Result::ok))
    }
}

/// No more lines are read than it takes. Before Linux 6.15 some hundred per-CPU variables come first, whose addresses are zero
/// because they are offsets (`0000000000000000 A fixed_percpu_data`).
fn first_function(lines: impl IntoIterator<Item = String>) -> String {
    let is_function =
        |line: &String| line.split_whitespace().nth(1).is_some_and(|kind| matches!(kind, "t" | "T"));
    lines.into_iter().find(is_function).unwrap_or_default()
}

/// Judges the content of `kptr_restrict` and the line of a function.
fn explain(kptr_restrict: &str, first_function: &str) -> Option<Skip> {
    let address = first_function.split_whitespace().next().unwrap_or_default();
    if address.is_empty() {
        return Some(Skip::new(InstrumentId::Names, SkipCause::NoKallsyms));
    }
    if address.bytes().any(|digit| digit != b'0') {
        return None;
    }
    Some(Skip::with_detail(InstrumentId::Names, SkipCause::KernelAddressesHidden, kptr_restrict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_report::report::skip_sentence;

    #[track_caller]
    fn check(kptr_restrict: &str, list: &str, expected: Option<&str>) {
        let sentence = explain(kptr_restrict, &first_function(list.lines().map(str::to_owned)));
        let sentence = sentence.as_ref().map(skip_sentence);
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
    fn variables_at_offset_zero_hide_nothing() {
        check("0", "0000000000000000 A fixed_percpu_data\nffffffff81000000 T _stext\n", None);
        check("1", "0000000000000000 A fixed_percpu_data\n0000000000000000 T _stext\n", Some("cap_syslog"));
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
