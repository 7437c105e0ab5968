//! Names for the code addresses of a recording, looked up after the recording has ended.
//!
//! In: [`Recording::frames`] and [`Symbolizer`]s, one a worker. Out: [`Recording::names`], parallel to the frames. Frames
//! keep the address to look up (for a caller: an address inside the call instruction), so nothing is adjusted here. Names come
//! from hostile files: they are cut to a bounded length, and are escaped only where they are printed.

mod files;
mod elf_file;
mod debug_files;
mod debuginfod;
mod blazesym;
pub mod cut_files;
mod data_symbols;
mod demangle;
mod qualified;
mod kallsyms;
mod kernel_names;
mod perf_map;
mod nearest;
mod memory_file;
mod workers;
#[cfg(test)]
mod fixed;
#[cfg(test)]
mod fixture;

pub use self::data_symbols::variables;
pub use self::debuginfod::{Debuginfod, Settings as DebuginfodSettings};
pub use self::files::{FileSymbolizer, ModuleSource, Sources};
#[cfg(test)]
pub use self::fixed::Fixed;
pub use self::kallsyms::variables as kernel_variables;
pub use self::kernel_names::KernelSymbols;
pub use self::workers::{keep_way_back, worker_count};

use std::collections::BTreeMap;

use profiler_report::recording::{Frame, ModuleId, Name, ProcessId, Recording};

/// Most characters of a function's name or a source file's path that are kept. Template and closure names of real
/// programs rarely pass 300.
pub const NAME_CHARS: usize = 512;
/// Most functions of one frame: inlined ones and the one that they were inlined into.
pub const NAMES_PER_FRAME: usize = 64;

/// Something that knows the names of functions.
///
/// Each method answers for a batch of addresses of one source, in their order: the functions at that address,
/// innermost inlined one first, or nothing where it knows no name.
pub trait Symbolizer {
    /// Functions at kernel addresses of this boot.
    fn kernel(&mut self, addresses: &[u64]) -> Vec<Vec<Name>>;
    /// Functions at offsets in a module's file.
    fn module(&mut self, module: ModuleId, file_offsets: &[u64]) -> Vec<Vec<Name>>;
    /// Functions at addresses of a process that lie in no file: code that was compiled at run time.
    fn process(&mut self, process: ProcessId, addresses: &[u64]) -> Vec<Vec<Name>>;
}

/// Where a frame's name is to be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Kernel,
    Module(ModuleId),
    Process(ProcessId),
}

/// The frames of one source.
#[derive(Default)]
struct Batch {
    /// Rows of [`Recording::frames`].
    rows: Vec<usize>,
    /// What to look up, parallel to `rows`.
    addresses: Vec<u64>,
}

/// Fills [`Recording::names`], asking once for each source. The sources are shared out over `workers` threads, the
/// largest first; `open` makes the symbolizer of each.
pub fn symbolize<S: Symbolizer>(recording: &mut Recording, workers: usize, open: impl Fn() -> S + Sync) {
    let mut names = vec![Vec::new(); recording.frames.len()];
    let mut batches: Vec<(Source, Batch)> = batches(&recording.frames).into_iter().collect();
    batches.sort_by_key(|(_, batch)| batch.rows.len());
    let answered = workers::share_out(batches, workers, &open, |symbolizer, (source, batch)| {
        let found = match source {
            Source::Kernel => symbolizer.kernel(&batch.addresses),
            Source::Module(module) => symbolizer.module(module, &batch.addresses),
            Source::Process(process) => symbolizer.process(process, &batch.addresses),
        };
        let bounded = found.into_iter().map(bounded);
        batch.rows.into_iter().zip(bounded).collect::<Vec<_>>()
    });
    for (row, found) in answered.into_iter().flatten() {
        names[row] = found;
    }
    recording.names = names;
}

fn batches(frames: &[Frame]) -> BTreeMap<Source, Batch> {
    let mut batches = BTreeMap::<Source, Batch>::new();
    for (row, frame) in frames.iter().enumerate() {
        let (source, address) = match *frame {
            Frame::Kernel { address } => (Source::Kernel, address),
            Frame::User { module, file_offset } => (Source::Module(module), file_offset),
            Frame::Unmapped { process, address } => (Source::Process(process), address),
        };
        let batch = batches.entry(source).or_default();
        batch.rows.push(row);
        batch.addresses.push(address);
    }
    batches
}

/// The names without empty ones, each cut to its bound.
fn bounded(names: Vec<Name>) -> Vec<Name> {
    names
        .into_iter()
        .filter(|name| !name.function.is_empty())
        .take(NAMES_PER_FRAME)
        .map(|name| Name { function: cut(&name.function), file: cut(&name.file), ..name })
        .collect()
}

/// The text, or its first [`NAME_CHARS`] − 1 characters and an ellipsis.
fn cut(text: &str) -> String {
    if text.chars().nth(NAME_CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(NAME_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: Frame, expected: &[&str]) {
        let mut recording = Recording { frames: vec![frame], ..Recording::default() };
        let symbolizer = Fixed::default()
            .with(Frame::Kernel { address: 0x10 }, &["schedule"])
            .with(Frame::User { module: 3, file_offset: 0x10 }, &["inlined", "outer"])
            .with(Frame::Unmapped { process: 1, address: 0x10 }, &["jit"]);
        symbolize(&mut recording, 2, || symbolizer.clone());
        let names: Vec<&str> = recording.names[0].iter().map(|name| name.function.as_str()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_kernel_address_is_looked_up_in_the_kernel() {
        check(Frame::Kernel { address: 0x10 }, &["schedule"]);
    }

    #[test]
    fn a_file_offset_is_looked_up_in_its_module_innermost_first() {
        check(Frame::User { module: 3, file_offset: 0x10 }, &["inlined", "outer"]);
    }

    #[test]
    fn the_same_offset_in_another_module_is_another_function() {
        check(Frame::User { module: 2, file_offset: 0x10 }, &[]);
    }

    #[test]
    fn an_address_in_no_file_is_looked_up_in_its_process() {
        check(Frame::Unmapped { process: 1, address: 0x10 }, &["jit"]);
    }

    #[test]
    fn names_stay_parallel_to_frames_of_mixed_sources() {
        let frames = [
            Frame::User { module: 0, file_offset: 1 },
            Frame::Kernel { address: 2 },
            Frame::User { module: 0, file_offset: 3 },
        ];
        let mut recording = Recording { frames: frames.to_vec(), ..Recording::default() };
        let symbolizer = Fixed::default().with(frames[1], &["second"]).with(frames[2], &["third"]);
        symbolize(&mut recording, 2, || symbolizer.clone());
        let functions: Vec<_> =
            recording.names.iter().map(|names| names.first().map(|n| &*n.function)).collect();
        assert_eq!(functions, [None, Some("second"), Some("third")]);
    }

    #[track_caller]
    fn check_cut(function: &str, expected: &str) {
        let names = vec![Name { function: function.to_owned(), ..Name::default() }];
        assert_eq!(bounded(names)[0].function, expected);
    }

    #[test]
    fn a_name_at_the_bound_is_kept_whole() {
        check_cut(&"é".repeat(512), &"é".repeat(512));
    }

    #[test]
    fn a_longer_name_is_cut_at_a_character_and_says_so() {
        check_cut(&"é".repeat(4096), &format!("{}…", "é".repeat(511)));
    }

    #[test]
    fn an_empty_name_is_no_name() {
        assert_eq!(bounded(vec![Name::default()]), []);
    }

    #[test]
    fn the_inlined_functions_of_a_frame_are_bounded() {
        let name = Name { function: "f".to_owned(), ..Name::default() };
        assert_eq!(bounded(vec![name; 1000]).len(), 64);
    }
}
