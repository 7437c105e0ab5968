//! Names by the blazesym library: ELF symbols and debug information.
//!
//! In: the path of a file that was looked at before, and addresses in it. Out: functions, inlined functions, source
//! lines. One library serves one worker for the whole of its life; what it has parsed and mapped of a file is let go
//! when that file is done, and earlier where the memory is needed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::blazesym::symbolize::source::{Elf, Source};
use ::blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer, evict};

use super::{NAMES_PER_FRAME, cut, cut_files, demangle};
use profiler_report::recording::Name;

/// Memory of the whole process beyond which parsed units and mapped pages are let go. Pages of a mapped file count as
/// resident too, and the kernel maps 64 KiB around each one that is touched.
const RESIDENT_BYTES: u64 = 176 << 20;
/// What one worker may add at least, where the recording itself has taken all of that.
const LEAST_BYTES: u64 = 48 << 20;
/// Addresses between two looks at the memory. Each may be in another unit, and a unit takes a few megabytes.
const ADDRESSES: usize = 4;

/// One worker's library.
pub struct Library {
    symbolizer: Symbolizer,
    /// See [`RESIDENT_BYTES`].
    resident_limit: u64,
}

impl Library {
    pub fn new() -> Self {
        cut_files::guard();
        let resident_limit = RESIDENT_BYTES.max(resident_bytes() + LEAST_BYTES);
        Self { symbolizer: new_symbolizer(), resident_limit }
    }

    /// The functions at addresses of a file, parallel to them, innermost first. With `debug_information`, the file must
    /// have some that refers to no other file, unless all of those files can be trusted. None if it was cut short meanwhile.
    pub fn look_up(
        &mut self,
        path: &Path,
        debug_information: bool,
        addresses: &[u64],
    ) -> Option<Vec<Vec<Name>>> {
        let mut names = vec![Vec::new(); addresses.len()];
        // Neighbours are in the same unit.
        let mut order: Vec<usize> = (0..addresses.len()).collect();
        order.sort_unstable_by_key(|&row| addresses[row]);
        let mut elf = Elf::new(path);
        elf.debug_syms = debug_information;
        let source = Source::Elf(elf);
        for rows in order.chunks(ADDRESSES) {
            let wanted: Vec<u64> = rows.iter().map(|&row| addresses[row]).collect();
            let found = match self.ask(&source, &wanted) {
                Ok(found) => found,
                Err(Unusable::Broken) => break,
                Err(Unusable::Cut) => return None,
            };
            for (&row, found) in rows.iter().zip(found) {
                names[row] = found;
            }
            if resident_bytes() > self.resident_limit {
                self.let_go();
            }
        }
        // An error says that nothing was kept.
        let _ = self.symbolizer.evict(&evict::Elf::new(path).into());
        if resident_bytes() > self.resident_limit {
            self.let_go();
        }
        Some(names)
    }

    /// Forgets what was parsed, and gives its memory back to the kernel: the allocator would keep it, and the next look
    /// at the memory would find no less.
    fn let_go(&mut self) {
        self.symbolizer = new_symbolizer();
        // SAFETY: it takes a number, and touches only what is free.
        #[cfg(target_env = "gnu")]
        unsafe {
            libc::malloc_trim(0)
        };
    }

    fn ask(&mut self, source: &Source<'_>, addresses: &[u64]) -> Result<Vec<Vec<Name>>, Unusable> {
        let look_up = || {
            let found = self.symbolizer.symbolize(source, Input::VirtOffset(addresses)).ok()?;
            Some(found.iter().map(names).collect())
        };
        // The files are hostile and the library large: a panic in it costs the names of one file, not the recording.
        // What it leaves behind is thrown away.
        let (attempt, was_cut) = cut_files::reading(|| catch_unwind(AssertUnwindSafe(look_up)));
        if was_cut || attempt.is_err() {
            self.symbolizer = new_symbolizer();
        }
        match attempt {
            _ if was_cut => Err(Unusable::Cut),
            Ok(Some(found)) => Ok(found),
            Ok(None) | Err(_) => Err(Unusable::Broken),
        }
    }
}

/// Why a file as a whole cannot be used.
enum Unusable {
    Broken,
    /// It was cut short while it was read.
    Cut,
}

fn new_symbolizer() -> Symbolizer {
    // Its demangling has no bound.
    Symbolizer::builder().enable_demangling(false).build()
}

/// Resident memory of this process; nothing if it is unknown.
fn resident_bytes() -> u64 {
    // SAFETY: `sysconf` takes a number and returns one.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as u64;
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * page_bytes
}

/// The functions at one address, innermost first. The library returns them outermost first.
fn names(found: &Symbolized<'_>) -> Vec<Name> {
    let Symbolized::Sym(Sym { name, code_info, inlined, .. }) = found else { return Vec::new() };
    let inlined =
        inlined.iter().rev().map(|function| to_name(&function.name, true, function.code_info.as_ref()));
    inlined.chain([to_name(name, false, code_info.as_deref())]).take(NAMES_PER_FRAME).collect()
}

fn to_name(function: &str, inlined: bool, place: Option<&CodeInfo<'_>>) -> Name {
    Name {
        function: demangle::readable(function),
        inlined,
        file: place.map_or_else(String::new, |place| cut(&place.to_path().to_string_lossy())),
        line: place.and_then(|place| place.line).unwrap_or(0),
    }
}
