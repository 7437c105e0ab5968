//! What the symbol tables of the mapped files say: which names stand for the same function, and which files have symbols.
//!
//! In: the processes, and `nm`. Out: [`Symbols`]. The same address often has several names (`write`, `__write`,
//! `__GI___libc_write`), of which perf and the profiler choose different ones. A name's canonical form is the first
//! of those that share an address with it, in any of the files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::sampled::{Frame, plain};
use profiler_tests::command;

/// Symbols of a set of files.
#[derive(Debug, Default)]
pub struct Symbols {
    /// From a name to another name of the same function; a name that is missing is canonical.
    other_name: HashMap<String, String>,
    /// File names, without folders, of those with a full symbol table: of their own, or in their debug file.
    with_table: HashSet<String>,
}

impl Symbols {
    /// Those of all files that the processes can execute.
    pub fn of(pids: &[u32]) -> Result<Self> {
        let mut symbols = Self::default();
        for path in mapped_files(pids)? {
            let own = nm(&["-C", &path]);
            let debug = debug_file(&path).map(|file| nm(&["-C", &file])).unwrap_or_default();
            if !own.is_empty() || !debug.is_empty() {
                symbols.with_table.insert(path.rsplit('/').next().unwrap_or(&path).to_owned());
            }
            for table in [own, debug, nm(&["-C", "-D", &path])] {
                symbols.add_names(&table);
            }
        }
        Ok(symbols)
    }

    /// Whether a frame ought to have a name: it has, or its file has a symbol table.
    pub fn ought_to_name(&self, frame: &Frame) -> bool {
        match frame {
            Frame::Named(_) => true,
            Frame::Nameless(module) => self.with_table.contains(module),
        }
    }

    /// The name that stands for all names of the same function.
    pub fn canonical(&self, name: &str) -> String {
        let mut name = name;
        while let Some(other) = self.other_name.get(name) {
            name = other;
        }
        name.to_owned()
    }

    /// Takes what `nm` prints of one file: `ADDRESS TYPE NAME` a line.
    fn add_names(&mut self, table: &str) {
        let mut first_at: HashMap<&str, String> = HashMap::new();
        for (address, name) in table.lines().filter_map(function) {
            let name = self.canonical(&plain(name));
            let first = first_at.entry(address).or_insert_with(|| name.clone());
            let first = self.canonical(first);
            // The lesser one stays, so that a chain of names has an end.
            if first < name {
                self.other_name.insert(name, first);
            } else if name < first {
                self.other_name.insert(first, name);
            }
        }
    }
}

/// The address and the name in a line of `nm`, if it is a function defined there.
fn function(line: &str) -> Option<(&str, &str)> {
    let (address, rest) = line.split_once(' ')?;
    let (kind, name) = rest.split_once(' ')?;
    (!address.is_empty() && matches!(kind, "T" | "t" | "W" | "w" | "i")).then_some((address, name))
}

fn mapped_files(pids: &[u32]) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for pid in pids {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))
            .with_context(|| format!("process {pid} has ended"))?;
        let executable = maps.lines().filter(|line| line.contains(" r-xp "));
        files.extend(executable.filter_map(|line| Some(line[line.find('/')?..].to_owned())));
    }
    Ok(files)
}

fn nm(arguments: &[&str]) -> String {
    command::answer(Command::new("nm").args(arguments)).unwrap_or_default()
}

/// Where Debian's `-dbg` packages put the debug file of a build id.
fn debug_file(path: &str) -> Option<String> {
    let notes = command::answer(Command::new("readelf").args(["-n", path]))?;
    let (_, id) = notes.split_once("Build ID: ")?;
    let id = id.split_whitespace().next()?;
    let file = format!("/usr/lib/debug/.build-id/{}/{}.debug", id.get(..2)?, id.get(2..)?);
    fs::exists(&file).ok()?.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBC: &str = "\
        00000000000f8510 W write\n\
        00000000000f8510 T __write\n\
        00000000000f8510 t __GI___libc_write\n\
        00000000000f9000 T read@@GLIBC_2.2.5\n\
        00000000000f9000 D a_table\n                 U free\n";

    fn libc() -> Symbols {
        let mut symbols = Symbols::default();
        symbols.add_names(LIBC);
        symbols
    }

    #[test]
    fn names_of_one_address_are_one() {
        for name in ["write", "__write", "__GI___libc_write"] {
            assert_eq!(libc().canonical(name), "__GI___libc_write");
        }
    }

    #[test]
    fn other_names_stay() {
        assert_eq!(libc().canonical("read"), "read");
        assert_eq!(libc().canonical("a_table"), "a_table");
    }

    #[test]
    fn what_one_file_adds_joins_what_another_said() {
        let mut symbols = libc();
        symbols.add_names("0000000000001000 T A_write\n0000000000001000 T write\n");
        assert_eq!(symbols.canonical("__write"), "A_write");
    }
}
