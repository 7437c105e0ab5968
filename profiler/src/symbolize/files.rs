//! The symbolizer of a live recording: which file has the names of which module, in which order they are asked.
//!
//! In: for each module of a recording a file that can be opened. Out: names. Debug information is looked for in the
//! file itself, in `/usr/lib/debug` by its build id and by its debug link, and on debuginfod servers; what it does not
//! name, the symbol tables of the same files may. Does not look at processes, except for their perf maps.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Symbolizer;
use super::blazesym::Library;
use super::debug_files::DebugFiles;
use super::debuginfod::Debuginfod;
use super::elf_file::{DECOMPRESSED_BYTES, DebugInformation, ElfFile};
use super::memory_file::MemoryFile;
use super::{KernelSymbols, kallsyms, perf_map, qualified};
use crate::process::descriptor_path;
use crate::recording::{ModuleId, Name, ProcessId};

/// Where the names of a recording's modules and processes are to be found. Shared by all workers.
pub struct Sources<'a> {
    /// Parallel to the recording's modules.
    pub modules: Vec<ModuleSource>,
    /// The kernel's list of its functions.
    pub kernel: KernelSymbols,
    /// Opens what a process wrote of the code that it made.
    pub perf_map: PerfMapOf<'a>,
    /// Separate debug information.
    pub debug_files: DebugFiles,
    /// Servers of the same, if the user names some.
    pub debuginfod: Option<Debuginfod>,
    /// Files whose debug information was not read because of its size, or because of what it refers to.
    too_large: AtomicU64,
    shared: AtomicU64,
}

/// Opens the perf map of a process, which most do not have.
pub type PerfMapOf<'a> = Box<dyn Fn(ProcessId) -> io::Result<File> + Sync + 'a>;

/// The content of one module.
#[derive(Clone, Debug, Default)]
pub enum ModuleSource {
    /// A path that leads to the very file that was mapped, for example `/proc/self/fd/7`.
    File(PathBuf),
    /// The whole ELF image, for the vDSO, which is in no file.
    Bytes(Arc<[u8]>),
    /// Nothing could be opened.
    #[default]
    None,
}

impl<'a> Sources<'a> {
    pub fn new(modules: Vec<ModuleSource>, kernel: KernelSymbols, perf_map: PerfMapOf<'a>) -> Self {
        let debug_files = DebugFiles::default();
        let (too_large, shared) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { modules, kernel, perf_map, debug_files, debuginfod: None, too_large, shared }
    }

    /// What was left out, as sentences for the report.
    pub fn sentences(&self) -> Vec<String> {
        let limit = DECOMPRESSED_BYTES >> 20;
        let causes = [
            (&self.too_large, format!("have more than {limit} MiB of debug information once decompressed")),
            (&self.shared, "have debug information that refers to a further file".to_owned()),
        ];
        let sentence = |(count, what): &(&AtomicU64, String)| match count.load(Relaxed) {
            0 => None,
            count => Some(format!("files whose functions have no lines, because they {what}: {count}")),
        };
        causes.iter().filter_map(sentence).collect()
    }
}

/// One worker's way to the sources.
pub struct FileSymbolizer<'a> {
    sources: &'a Sources<'a>,
    library: Library,
}

impl<'a> FileSymbolizer<'a> {
    /// Opens nothing yet: files are read when they are asked for.
    pub fn new(sources: &'a Sources<'a>) -> Self {
        Self { sources, library: Library::new() }
    }
}

impl Symbolizer for FileSymbolizer<'_> {
    fn kernel(&mut self, addresses: &[u64]) -> Vec<Vec<Name>> {
        // Not from the image on disk, which need not be the one that runs.
        let list = self.sources.kernel.reader();
        named(list.and_then(|list| kallsyms::functions(list, addresses)))
    }

    fn module(&mut self, module: ModuleId, file_offsets: &[u64]) -> Vec<Vec<Name>> {
        match self.sources.modules.get(module as usize) {
            None | Some(ModuleSource::None) => Vec::new(),
            Some(ModuleSource::File(path)) => self.elf_names(path, file_offsets),
            Some(ModuleSource::Bytes(bytes)) => match MemoryFile::new(bytes) {
                Ok(image) => self.elf_names(&image.path(), file_offsets),
                Err(_) => Vec::new(),
            },
        }
    }

    fn process(&mut self, process: ProcessId, addresses: &[u64]) -> Vec<Vec<Name>> {
        let map = (self.sources.perf_map)(process).map(BufReader::new);
        named(map.and_then(|map| perf_map::functions(map, addresses)))
    }
}

/// Names without places. Without a list, or with one that breaks off, the frames show as addresses.
fn named(functions: io::Result<Vec<Option<String>>>) -> Vec<Vec<Name>> {
    let name = |function: String| vec![Name { function, ..Name::default() }];
    functions.unwrap_or_default().into_iter().map(|function| function.map_or_else(Vec::new, name)).collect()
}

impl FileSymbolizer<'_> {
    /// The functions at offsets of an ELF file, parallel to the offsets.
    fn elf_names(&mut self, path: &Path, file_offsets: &[u64]) -> Vec<Vec<Name>> {
        let looked_at = File::open(path).ok().and_then(|file| Some((ElfFile::read(&file)?, file)));
        let Some((elf, file)) = looked_at else { return vec![Vec::new(); file_offsets.len()] };
        let mut search = Search::new(&elf, file_offsets);
        let own = descriptor_path(&file);
        if elf.debug == DebugInformation::Usable {
            search.ask(&mut self.library, &own, true);
        } else {
            self.count(elf.debug);
            self.ask_separate(&elf, path, &mut search);
            if !search.has_places() {
                self.ask_servers(&elf, &mut search);
            }
        }
        if elf.symbols {
            search.ask(&mut self.library, &own, false);
            search.complete(&mut self.library, &own);
        }
        search.names
    }

    /// Asks the separate debug information of a file that has none of its own.
    fn ask_separate(&mut self, elf: &ElfFile, path: &Path, search: &mut Search) {
        let original = std::fs::read_link(path).unwrap_or_else(|_| path.to_owned());
        let Some((separate, file)) = self.sources.debug_files.find(elf, original.parent()) else { return };
        let Some(found) = ElfFile::read(&file) else { return };
        // What a package installed may refer to what another one did, and the library knows how.
        if found.debug == DebugInformation::Shared && self.sources.debug_files.holds(&separate) {
            search.ask(&mut self.library, &separate, true);
        } else {
            self.ask_debug_file(&found, &descriptor_path(&file), search);
        }
    }

    /// Asks a file that was found for another one.
    fn ask_debug_file(&mut self, found: &ElfFile, path: &Path, search: &mut Search) {
        if found.debug == DebugInformation::Usable {
            search.ask(&mut self.library, path, true);
        } else {
            self.count(found.debug);
        }
        if found.symbols {
            search.ask(&mut self.library, path, false);
            search.complete(&mut self.library, path);
        }
    }

    fn ask_servers(&mut self, elf: &ElfFile, search: &mut Search) {
        let Some(servers) = &self.sources.debuginfod else { return };
        let Some(file) = servers.debug_information(&elf.build_id) else { return };
        let Some(found) = ElfFile::read(&file) else { return };
        self.ask_debug_file(&found, &descriptor_path(&file), search);
    }

    fn count(&self, debug: DebugInformation) {
        match debug {
            DebugInformation::TooLarge => self.sources.too_large.fetch_add(1, Relaxed),
            DebugInformation::Shared => self.sources.shared.fetch_add(1, Relaxed),
            DebugInformation::None | DebugInformation::Usable => 0,
        };
    }
}

/// Names of one module, as far as they are known.
struct Search {
    /// Rows of `names` with the address in the file, of those that lie in its code.
    addresses: Vec<(usize, u64)>,
    names: Vec<Vec<Name>>,
}

impl Search {
    fn new(elf: &ElfFile, file_offsets: &[u64]) -> Self {
        let address = |(row, &offset): (usize, &u64)| Some((row, elf.address(offset)?));
        let addresses = file_offsets.iter().enumerate().filter_map(address).collect();
        Self { addresses, names: vec![Vec::new(); file_offsets.len()] }
    }

    /// Debug information was read: something has a source line.
    fn has_places(&self) -> bool {
        self.names.iter().flatten().any(|name| name.line > 0)
    }

    /// Takes the whole names of functions from a symbol table, where only their last part is known.
    fn complete(&mut self, library: &mut Library, path: &Path) {
        // The outermost one; those that were inlined into it have no symbol.
        let is_partial = |names: &Vec<Name>| names.last().is_some_and(qualified::may_be_partial);
        let partial: Vec<(usize, u64)> =
            self.addresses.iter().copied().filter(|&(row, _)| is_partial(&self.names[row])).collect();
        if partial.is_empty() {
            return;
        }
        let addresses: Vec<u64> = partial.iter().map(|&(_, address)| address).collect();
        for ((row, _), symbols) in partial.into_iter().zip(library.look_up(path, false, &addresses)) {
            if let (Some(name), Some(symbol)) = (self.names[row].last_mut(), symbols.into_iter().next_back())
                && qualified::is_whole_name(&name.function, &symbol.function)
            {
                name.function = symbol.function;
            }
        }
    }

    /// Asks a file for what has no name yet.
    fn ask(&mut self, library: &mut Library, path: &Path, debug_information: bool) {
        let open: Vec<(usize, u64)> =
            self.addresses.iter().copied().filter(|&(row, _)| self.names[row].is_empty()).collect();
        if open.is_empty() {
            return;
        }
        let addresses: Vec<u64> = open.iter().map(|&(_, address)| address).collect();
        for ((row, _), names) in open.into_iter().zip(library.look_up(path, debug_information, &addresses)) {
            self.names[row] = names;
        }
    }
}

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
