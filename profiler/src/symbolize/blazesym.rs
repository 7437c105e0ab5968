//! Names by the blazesym library: ELF symbols and debug information, and the kernel's `kallsyms`.
//!
//! In: for each module of a recording a file that can be opened. Out: functions, inlined functions, source lines,
//! demangled. Debug information is looked for in the file itself and, by its debug link, in `/usr/lib/debug`.
//! Does not look at processes, except for their perf maps.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::blazesym::MaybeDefault;
use ::blazesym::symbolize::source::{Elf, Kernel, Source};
use ::blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer as Library};

use super::Symbolizer;
use super::memory_file::MemoryFile;
use super::perf_map::PerfMap;
use crate::recording::{ModuleId, Name, ProcessId};

/// Where the names of a recording's modules and processes are to be found.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Parallel to the recording's modules.
    pub modules: Vec<ModuleSource>,
    /// Process ids as `/proc` shows them, parallel to the recording's processes.
    pub processes: Vec<u32>,
}

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

/// Looks names up in files, `kallsyms` and perf maps.
///
/// A recording asks for each source once, so that nothing parsed is kept: the memory needed is that of the largest
/// module's debug information, not the sum of all.
pub struct Blazesym {
    sources: Sources,
}

impl Blazesym {
    /// Opens nothing yet: files are read when they are asked for.
    pub fn new(sources: Sources) -> Self {
        Self { sources }
    }
}

impl Symbolizer for Blazesym {
    fn kernel(&mut self, addresses: &[u64]) -> Vec<Vec<Name>> {
        // The image on disk need not be the one that runs, and parsing its debug information takes seconds.
        let kernel = Kernel { vmlinux: MaybeDefault::None, ..Kernel::default() };
        look_up(&Source::Kernel(kernel), Input::AbsAddr(addresses)).unwrap_or_default()
    }

    fn module(&mut self, module: ModuleId, file_offsets: &[u64]) -> Vec<Vec<Name>> {
        match self.sources.modules.get(module as usize) {
            None | Some(ModuleSource::None) => Vec::new(),
            Some(ModuleSource::File(path)) => elf_names(path, file_offsets),
            Some(ModuleSource::Bytes(bytes)) => match MemoryFile::new(bytes) {
                Ok(image) => elf_names(&image.path(), file_offsets),
                Err(_) => Vec::new(),
            },
        }
    }

    fn process(&mut self, process: ProcessId, addresses: &[u64]) -> Vec<Vec<Name>> {
        let Some(&tgid) = self.sources.processes.get(process as usize) else { return Vec::new() };
        let map = PerfMap::of_process(tgid, addresses);
        let name = |function: &str| Name { function: function.to_owned(), ..Name::default() };
        addresses.iter().map(|&address| map.function(address).map(name).into_iter().collect()).collect()
    }
}

/// The functions at offsets of an ELF file, parallel to the offsets.
fn elf_names(path: &Path, file_offsets: &[u64]) -> Vec<Vec<Name>> {
    let mut elf = Elf::new(path);
    let input = Input::FileOffset(file_offsets);
    let with_debug_information = look_up(&Source::Elf(elf.clone()), input);
    let mut names = with_debug_information.unwrap_or_else(|| vec![Vec::new(); file_offsets.len()]);
    if names.iter().any(Vec::is_empty) {
        // Broken debug information, or a debug link to another build's: the symbol table may still be good.
        elf.debug_syms = false;
        let from_symbols = look_up(&Source::Elf(elf), input).unwrap_or_default();
        for (names, from_symbols) in names.iter_mut().zip(from_symbols) {
            if names.is_empty() {
                *names = from_symbols;
            }
        }
    }
    names
}

/// Asks the library, with all of its caches new. `None` if the source as a whole cannot be used.
fn look_up(source: &Source<'_>, input: Input<&[u64]>) -> Option<Vec<Vec<Name>>> {
    // The files are hostile and the library large: a panic in it costs the names of one file, not the recording.
    let attempt = catch_unwind(|| {
        let library = Library::new();
        let found = library.symbolize(source, input).ok()?;
        Some(found.iter().map(names).collect())
    });
    attempt.ok().flatten()
}

/// The functions at one address, innermost first. The library tells them outermost first.
fn names(found: &Symbolized<'_>) -> Vec<Name> {
    let Symbolized::Sym(Sym { name, code_info, inlined, .. }) = found else { return Vec::new() };
    let inlined =
        inlined.iter().rev().map(|function| to_name(&function.name, true, function.code_info.as_ref()));
    inlined.chain([to_name(name, false, code_info.as_deref())]).collect()
}

fn to_name(function: &str, inlined: bool, place: Option<&CodeInfo<'_>>) -> Name {
    Name {
        function: function.to_owned(),
        inlined,
        file: place.map_or_else(String::new, |place| place.to_path().to_string_lossy().into_owned()),
        line: place.and_then(|place| place.line).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
