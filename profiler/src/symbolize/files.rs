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
use super::memory_file::memory_file;
use super::{KernelSymbols, kallsyms, perf_map, qualified};
use crate::process::{Stamp, Watched, descriptor_path};
use profiler_report::recording::{InstrumentId, ModuleId, Name, ProcessId, Skip, SkipCause};

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
    /// Files whose names were left out because they have changed, or were cut short while they were read.
    changed: AtomicU64,
    cut: AtomicU64,
}

/// Opens the perf map of a process, which most do not have.
pub type PerfMapOf<'a> = Box<dyn Fn(ProcessId) -> io::Result<File> + Sync + 'a>;

/// The content of one module.
#[derive(Clone, Debug, Default)]
pub enum ModuleSource {
    /// A path that leads to the very file that was mapped, for example `/proc/self/fd/7`, and what it was when the stacks were
    /// unwound by it.
    Mapped { path: PathBuf, stamp: Stamp },
    /// A file as it is when it is asked.
    File(PathBuf),
    /// The whole ELF image, for the vDSO, which is in no file.
    Bytes(Arc<[u8]>),
    /// Nothing could be opened.
    #[default]
    None,
}

impl<'a> Sources<'a> {
    pub fn new(modules: Vec<ModuleSource>, kernel: KernelSymbols, perf_map: PerfMapOf<'a>) -> Self {
        Self {
            modules,
            kernel,
            perf_map,
            debug_files: DebugFiles::default(),
            debuginfod: None,
            too_large: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            changed: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// What was left out, for the report.
    pub fn skips(&self) -> Vec<Skip> {
        let limit = format!("{} MiB", DECOMPRESSED_BYTES >> 20);
        let causes = [
            (&self.too_large, SkipCause::DebugInfoTooLarge, limit.as_str()),
            (&self.shared, SkipCause::DebugInfoElsewhere, ""),
            (&self.changed, SkipCause::FilesChanged, ""),
            (&self.cut, SkipCause::FilesTruncated, ""),
        ];
        let skip = |(count, cause, detail): (&AtomicU64, SkipCause, &str)| {
            let skip = Skip::counted(InstrumentId::Names, cause, count.load(Relaxed))?;
            Some(Skip { detail: detail.to_owned(), ..skip })
        };
        causes.into_iter().filter_map(skip).collect()
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
        let opened = match self.sources.modules.get(module as usize) {
            None | Some(ModuleSource::None) => return Vec::new(),
            Some(ModuleSource::Mapped { path, stamp }) => {
                File::open(path).map(|file| (path.clone(), Watched::since(file, *stamp)))
            }
            Some(ModuleSource::File(path)) => {
                File::open(path).and_then(Watched::new).map(|file| (path.clone(), file))
            }
            Some(ModuleSource::Bytes(bytes)) => {
                memory_file(bytes).and_then(Watched::new).map(|file| (descriptor_path(file.file()), file))
            }
        };
        opened.map_or_else(|_| Vec::new(), |(path, file)| self.elf_names(&path, &file, file_offsets))
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
    /// The functions at offsets of an ELF file, parallel to the offsets. Its path says in which directory it
    /// lies.
    fn elf_names(&mut self, path: &Path, file: &Watched, file_offsets: &[u64]) -> Vec<Vec<Name>> {
        let nameless = vec![Vec::new(); file_offsets.len()];
        let Some(elf) = ElfFile::read(file.file()) else {
            self.is_believed(file, false);
            return nameless;
        };
        let mut search = Search::new(&elf, file_offsets);
        let own = descriptor_path(file.file());
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
        if self.is_believed(file, search.was_cut) { search.names } else { nameless }
    }

    /// Asks the separate debug information of a file that has none of its own.
    fn ask_separate(&mut self, elf: &ElfFile, path: &Path, search: &mut Search) {
        let original = std::fs::read_link(path).unwrap_or_else(|_| path.to_owned());
        let Some((separate, file)) = self.sources.debug_files.find(elf, original.parent()) else { return };
        let holds = self.sources.debug_files.holds(&separate);
        self.ask_debug_file(&file, search, holds.then_some(&separate));
    }

    /// Asks a file that was found for another one. With a path, it may refer to further files from there.
    fn ask_debug_file(&mut self, file: &Watched, search: &mut Search, trusted: Option<&Path>) {
        let before = search.names.clone();
        let Some(found) = ElfFile::read(file.file()) else { return };
        let path = descriptor_path(file.file());
        match (found.debug, trusted) {
            // What a package installed may refer to what another one did, and the library knows how.
            (DebugInformation::Shared, Some(path)) => search.ask(&mut self.library, path, true),
            (DebugInformation::Usable, _) => search.ask(&mut self.library, &path, true),
            (other, _) => self.count(other),
        }
        if found.symbols {
            search.ask(&mut self.library, &path, false);
            search.complete(&mut self.library, &path);
        }
        if !self.is_believed(file, std::mem::take(&mut search.was_cut)) {
            search.names = before;
        }
    }

    fn ask_servers(&mut self, elf: &ElfFile, search: &mut Search) {
        let Some(servers) = &self.sources.debuginfod else { return };
        let file = servers.debug_information(&elf.build_id).and_then(|file| Watched::new(file).ok());
        if let Some(file) = file {
            self.ask_debug_file(&file, search, None);
        }
    }

    /// Whether what was read of a file belongs together. Counts it if not.
    fn is_believed(&self, file: &Watched, was_cut: bool) -> bool {
        let is_changed = file.has_changed();
        if was_cut {
            self.sources.cut.fetch_add(1, Relaxed);
        } else if is_changed {
            self.sources.changed.fetch_add(1, Relaxed);
        }
        !was_cut && !is_changed
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
    /// A file was cut short while it was asked.
    was_cut: bool,
}

impl Search {
    fn new(elf: &ElfFile, file_offsets: &[u64]) -> Self {
        let address = |(row, &offset): (usize, &u64)| Some((row, elf.address(offset)?));
        let addresses = file_offsets.iter().enumerate().filter_map(address).collect();
        Self { addresses, names: vec![Vec::new(); file_offsets.len()], was_cut: false }
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
        let found = self.look_up(library, path, false, &addresses);
        for ((row, _), symbols) in partial.into_iter().zip(found) {
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
        let found = self.look_up(library, path, debug_information, &addresses);
        for ((row, _), names) in open.into_iter().zip(found) {
            self.names[row] = names;
        }
    }

    /// Nothing if the file was cut short meanwhile.
    fn look_up(
        &mut self,
        library: &mut Library,
        path: &Path,
        debug_information: bool,
        addresses: &[u64],
    ) -> Vec<Vec<Name>> {
        let found = library.look_up(path, debug_information, addresses);
        self.was_cut |= found.is_none();
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
