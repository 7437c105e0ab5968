//! The address spaces of the recorded processes: which file lies where at which moment, and the stacks in them.
//!
//! In: process ids, `/proc` and the mapped files of those processes, and what the kernel tells of new mappings and execs
//! ([`LayoutChange`]). Out: [`Location`]s, and the [`ImageInfo`]s that they refer to. This is the rim of
//! [`crate::unwind`]: it does the I/O. Files stay open, so that they can be symbolized after their process has ended or
//! they are deleted; nothing is symbolized here.

mod changes;
mod follow;
mod images;
mod layout;
mod maps;
mod open;
mod perf_maps;
mod places;
mod spaces;
mod stamp;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use profiler_common::go::GoOffsets;

use changes::Changes;
pub use changes::{LayoutChange, What};
use images::{Backing, Images};
pub use images::{Counts, ImageInfo};
pub use maps::{MapsLine, parse_line};
use open::Owner;
pub use open::descriptor_path;
pub use perf_maps::PerfMaps;
use places::Found;
use spaces::{SpaceId, Spaces};
pub use stamp::{Stamp, Watched};

use crate::unwind::{Captured, Location, Mapping, Unwound};
use profiler_report::recording::{Broken, Method, Place, StackEnd};

/// Longest line of `/proc/PID/maps` that is read: a path has up to 4096 bytes, of which each may be escaped.
const LINE_BYTES: u64 = 5 * 4096;
/// How long a layout is trusted after it was read, though an address lies outside of it. Doubles with each reading
/// that found nothing new, so that a program which keeps leading unwinding astray costs little.
const FIRST_PAUSE_NS: u64 = 100_000_000;
const LONGEST_PAUSE_NS: u64 = 32 * FIRST_PAUSE_NS;

/// Most files of `/proc` are smaller.
const TEXT_BYTES: usize = 8192;

/// The text of a file in `/proc` that names a process: a name may have bytes that are no text, and hides nothing by that.
pub fn read_text(path: &str) -> io::Result<String> {
    // `fs::read` asks for the size, which `/proc` does not know, and then begins with 32 bytes: ten calls for a page.
    let mut bytes = Vec::with_capacity(TEXT_BYTES);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A command line is read up to this length.
const MOST_COMMAND_BYTES: u64 = 4096;

/// The arguments of a process, each with a zero behind it; empty if it is gone.
pub fn read_arguments(tgid: u32) -> String {
    let mut bytes = vec![];
    if let Ok(file) = File::open(format!("/proc/{tgid}/cmdline")) {
        // What was read before an error (the process ends) is still true.
        let _ = file.take(MOST_COMMAND_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bounds on what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of unwind tables, over all images. What comes later is unwound by frame pointers.
    pub unwind_bytes: u64,
    /// Files kept open.
    pub open_files: usize,
    /// Different images.
    pub images: usize,
    /// Executable mappings of one process.
    pub mappings: usize,
    /// Frames of one stack.
    pub frames: usize,
    /// Processes whose layout is known. The one that was sampled longest ago is forgotten.
    pub processes: usize,
    /// Layouts with an unwinder of their own, some 230 KiB each (four caches of rules and the judged addresses): 14 MiB.
    /// Rebuilt when needed again.
    pub unwinders: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unwind_bytes: 48 << 20,
            open_files: 512,
            images: 16_384,
            mappings: 4096,
            frames: 2048,
            processes: 8192,
            unwinders: 64,
        }
    }
}

/// The address spaces of all recorded processes, and the images in them.
pub struct Processes {
    limits: Limits,
    by_tgid: HashMap<u32, Process>,
    /// Who has forked a process, as long as it lives.
    parents: HashMap<u32, Parent>,
    /// What has happened to address spaces since they were last looked at.
    changes: Changes,
    /// Counts the times that changes were lost: a layout from before is read again.
    losses: u64,
    spaces: Spaces,
    images: Images,
    perf_maps: PerfMaps,
    /// Counts uses, to find what was not used for long.
    clock: u64,
}

#[derive(Clone, Copy)]
struct Parent {
    tgid: u32,
    /// The child has run no other program since.
    same_program: bool,
}

struct Process {
    space: SpaceId,
    used: u64,
    /// When the layout was last read, and for how long it is trusted.
    read_at_ns: u64,
    pause_ns: u64,
    /// [`Processes::losses`] when the layout was read.
    losses: u64,
}

impl Processes {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_tgid: HashMap::new(),
            parents: HashMap::new(),
            changes: Changes::default(),
            losses: 0,
            spaces: Spaces::new(limits.unwinders),
            images: Images::new(limits),
            perf_maps: PerfMaps::default(),
            clock: 0,
        }
    }

    /// Reads the mappings of a process. On an error (it is gone), what was known before stays.
    pub fn refresh(&mut self, tgid: u32, now_ns: u64) -> io::Result<()> {
        let mappings = self.read_mappings(tgid)?;
        let space = self.spaces.enter(mappings);
        let before = self.by_tgid.get(&tgid);
        let pause_ns = match before {
            Some(before) if before.space == space => (2 * before.pause_ns).min(LONGEST_PAUSE_NS),
            _ => FIRST_PAUSE_NS,
        };
        self.place(tgid, space, now_ns, pause_ns);
        // They are in what was read; what comes after an exec waits for the other word on it.
        self.changes.take_until_exec(tgid, now_ns);
        Ok(())
    }

    /// Unwinds one stack, which was taken at `at_ns`. Appends its frames to `out`, innermost first. The
    /// layout is that of this moment, as far as the kernel has reported. A process that is not known yet is
    /// read now; so is one in which an address lies in no mapping, if it was not read just before, and its
    /// stack is then unwound again.
    pub fn unwind(
        &mut self,
        tgid: u32,
        captured: Captured<'_>,
        at_ns: u64,
        out: &mut Vec<Location>,
    ) -> Unwound {
        let first = out.len();
        self.clock += 1;
        self.know(tgid, at_ns);
        let Some(process) = self.by_tgid.get_mut(&tgid) else {
            out.push(Location::Unmapped { address: captured.registers.ip });
            let end = StackEnd::Broken(Broken::ProcessGone);
            return Unwound { end, method: Method::None, met_unmapped: true, goroutines: None };
        };
        process.used = self.clock;
        let space = process.space;
        let may_read = at_ns.saturating_sub(process.read_at_ns) >= process.pause_ns;
        let unwinder = self.spaces.unwinder(space, self.clock, &self.images);
        let unwound = unwinder.unwind(captured, self.limits.frames, out);
        if !(unwound.met_unmapped && may_read) || self.refresh(tgid, at_ns).is_err() {
            return unwound;
        }
        let renewed = self.by_tgid.get(&tgid).map_or(space, |process| process.space);
        if renewed == space {
            return unwound;
        }
        out.truncate(first);
        let unwinder = self.spaces.unwinder(renewed, self.clock, &self.images);
        unwinder.unwind(captured, self.limits.frames, out)
    }

    /// Where the goroutines of a process are, if it is known as a Go program.
    pub fn goroutines(&self, tgid: u32) -> Option<GoOffsets> {
        let mappings = self.spaces.mappings(self.by_tgid.get(&tgid)?.space);
        mappings.iter().find_map(|mapping| self.images.parsed(mapping.image?)?.goroutines)
    }

    /// Every image seen; [`Location::File`] counts them in this order.
    pub fn images(&self) -> &[ImageInfo] {
        self.images.infos()
    }

    /// Where in a process's memory something lies, as it is now.
    pub fn data_place(&mut self, tgid: u32, address: u64) -> Place {
        let Ok(text) = std::fs::read(format!("/proc/{tgid}/maps")) else { return Place::Unknown };
        let lines: Vec<_> = text.split(|&byte| byte == b'\n').filter_map(parse_line).collect();
        match places::find(&lines, address) {
            None => Place::Unknown,
            Some(Found::Heap) => Place::Heap,
            Some(Found::Stack) => Place::Stack,
            Some(Found::Anonymous) => Place::Anonymous,
            Some(Found::Shared) => Place::Shared,
            Some(Found::File { code, offset }) => {
                let owner = Owner { tgid, parent: self.parents.get(&tgid).map(|parent| parent.tgid) };
                match self.images.backing(owner, code) {
                    Backing::Image(module) => Place::Module { module, offset },
                    Backing::Memory => Place::Shared,
                }
            }
        }
    }

    /// The names that the processes wrote of the code that they made.
    pub fn perf_maps(&self) -> &PerfMaps {
        &self.perf_maps
    }

    /// What a bound or a missing permission kept from being read.
    pub fn counts(&self) -> &Counts {
        &self.images.counts
    }

    fn place(&mut self, tgid: u32, space: SpaceId, read_at_ns: u64, pause_ns: u64) {
        self.clock += 1;
        let (used, losses) = (self.clock, self.losses);
        let process = Process { space, used, read_at_ns, pause_ns, losses };
        if let Some(before) = self.by_tgid.insert(tgid, process) {
            self.spaces.leave(before.space);
        }
        if self.by_tgid.len() > self.limits.processes {
            self.forget_oldest();
        }
    }

    fn forget(&mut self, tgid: u32) {
        if let Some(process) = self.by_tgid.remove(&tgid) {
            self.spaces.leave(process.space);
        }
    }

    /// Forgets an eighth of the processes at once, so that the search for them is rare.
    fn forget_oldest(&mut self) {
        let mut by_use: Vec<(u64, u32)> = self.by_tgid.iter().map(|(tgid, p)| (p.used, *tgid)).collect();
        by_use.sort_unstable();
        for (_, tgid) in by_use.into_iter().take(self.limits.processes / 8 + 1) {
            self.images.counts.processes_forgotten += 1;
            self.forget(tgid);
        }
    }

    /// The executable mappings of a process, sorted by address as the kernel lists them. A process that has ended
    /// but was not waited for has an empty list: that is an error too.
    fn read_mappings(&mut self, tgid: u32) -> io::Result<Vec<Mapping>> {
        let mut reader = BufReader::new(File::open(format!("/proc/{tgid}/maps"))?);
        let mut mappings: Vec<Mapping> = Vec::new();
        let mut line = Vec::new();
        let mut any = false;
        loop {
            line.clear();
            if reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Some(parsed) = parse_line(&line) else { continue };
            any = true;
            // The list is read in pieces, between which the process may have changed it.
            let sorted = mappings.last().is_none_or(|last| last.end <= parsed.start);
            if !parsed.executable || !sorted {
                continue;
            }
            if mappings.len() == self.limits.mappings {
                self.images.counts.mappings_over_limit += 1;
                continue;
            }
            mappings.push(self.mapping(tgid, &parsed));
        }
        if mappings.iter().any(|mapping| mapping.image.is_none()) {
            self.perf_maps.keep(tgid);
        }
        if any { Ok(mappings) } else { Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended")) }
    }

    /// One executable mapping, and what lies behind it.
    fn mapping(&mut self, tgid: u32, line: &MapsLine<'_>) -> Mapping {
        let owner = Owner { tgid, parent: self.parents.get(&tgid).map(|parent| parent.tgid) };
        let image = match self.images.backing(owner, line) {
            Backing::Image(image) => Some(image),
            Backing::Memory => None,
        };
        let file_offset = if image.is_some() && !line.is_vdso() { line.offset } else { 0 };
        Mapping { start: line.start, end: line.end, file_offset, image }
    }
}
