//! The files that are mapped as code, each read once however many processes share it.
//!
//! In: lines of maps. Out: [`ImageInfo`]s for the recording, and [`Image`]s for unwinding. What a bound or a missing
//! permission keeps out is counted.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::Limits;
use super::maps::{MapsLine, parse_line};
use super::open::{self, Owner};
use super::stamp::{Stamp, Watched};
use crate::unwind::{Image, Malformed, Tables, parse_image};
use profiler_report::recording::{InstrumentId, Skip, SkipCause};

/// Most bytes of a vDSO: x86_64 has 8 KiB, with `CONFIG_TIME_NS` and on aarch64 not much more.
const VDSO_BYTES: u64 = 1 << 20;

/// One mapped file, or the vDSO.
#[derive(Debug)]
pub struct ImageInfo {
    /// As the process sees it; `[vdso]` for the vDSO. Bytes that are no UTF-8 are replaced.
    pub path: String,
    /// GNU build id; empty if there is none or the file could not be read.
    pub build_id: Vec<u8>,
    /// Kept open, so that it can be read when its path leads nowhere, if it is then still what it was when it was first read.
    pub file: Option<Watched>,
    /// The vDSO has no file.
    pub vdso: Option<Arc<[u8]>>,
}

/// What a bound or a missing permission kept out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that could not be opened or read, or were replaced since they were mapped.
    pub unreadable_files: u64,
    /// Images whose unwind tables did not fit into [`Limits::unwind_bytes`].
    pub without_tables: u64,
    /// Files that were read but not kept open ([`Limits::open_files`]).
    pub not_kept_open: u64,
    /// Mappings of images beyond [`Limits::images`].
    pub images_over_limit: u64,
    /// Executable mappings beyond [`Limits::mappings`].
    pub mappings_over_limit: u64,
    /// Processes forgotten because of [`Limits::processes`].
    pub processes_forgotten: u64,
    /// Changes of address spaces that were not reported or not kept, for lack of room.
    pub changes_lost: u64,
}

impl Counts {
    /// What was kept out, for the report.
    pub fn skips(&self) -> Vec<Skip> {
        let causes = [
            (self.unreadable_files, SkipCause::UnreadableFiles),
            (self.without_tables, SkipCause::WithoutTables),
            (self.not_kept_open, SkipCause::NotKeptOpen),
            (self.images_over_limit, SkipCause::ImagesOverLimit),
            (self.mappings_over_limit, SkipCause::MappingsOverLimit),
            (self.processes_forgotten, SkipCause::ProcessesForgotten),
            (self.changes_lost, SkipCause::MappingsLost),
        ];
        causes
            .into_iter()
            .filter_map(|(count, cause)| Skip::counted(InstrumentId::Mappings, cause, count))
            .collect()
    }
}

/// What lies behind an executable mapping.
pub enum Backing {
    /// Index into the images.
    Image(u32),
    /// Memory without a file, or a file that holds no program: a JIT compiler's.
    Memory,
}

/// What makes a file the same as one seen before.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// The file was found.
    File(Stamp),
    /// As maps name it: finds a file that was seen before when it cannot be reached now, because its process is
    /// ending or it was replaced.
    Line { device: (u32, u32), inode: u64, generation: u64, path: Vec<u8> },
}

/// All images.
pub struct Images {
    limits: Limits,
    infos: Vec<ImageInfo>,
    /// Parallel to `infos`.
    parsed: Vec<Arc<Image>>,
    /// `None`: a file that holds no program.
    by_key: HashMap<Key, Option<u32>>,
    open_files: usize,
    unwind_bytes: u64,
    pub counts: Counts,
}

impl Images {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            infos: Vec::new(),
            parsed: Vec::new(),
            by_key: HashMap::new(),
            open_files: 0,
            unwind_bytes: 0,
            counts: Counts::default(),
        }
    }

    pub fn infos(&self) -> &[ImageInfo] {
        &self.infos
    }

    pub fn parsed(&self, image: u32) -> Option<Arc<Image>> {
        self.parsed.get(image as usize).cloned()
    }

    /// Finds or reads what lies behind an executable mapping.
    pub fn backing(&mut self, owner: Owner, line: &MapsLine<'_>) -> Backing {
        let image = if line.is_vdso() {
            read_vdso(owner.tgid, line).ok().and_then(|bytes| self.vdso(bytes))
        } else if line.is_file() {
            self.file(owner, line)
        } else {
            None
        };
        image.map_or(Backing::Memory, Backing::Image)
    }

    fn file(&mut self, owner: Owner, line: &MapsLine<'_>) -> Option<u32> {
        let found = open::find(owner, line);
        let key =
            found.as_ref().map_or_else(|_| Key::line(line), |found| Key::File(Stamp::of(&found.metadata)));
        if let Some(image) = self.by_key.get(&key) {
            return *image;
        }
        if self.by_key.len() >= 2 * self.limits.images {
            self.counts.images_over_limit += 1;
            return None;
        }
        let image = match found.and_then(|found| Watched::new(found.open()?)) {
            Ok(file) => self.read(line, file),
            Err(_) => Some(self.unreadable(line)),
        };
        self.by_key.insert(key, image);
        self.by_key.insert(Key::line(line), image);
        image
    }

    fn read(&mut self, line: &MapsLine<'_>, file: Watched) -> Option<u32> {
        let image = match parse_image(file.file(), self.budget()) {
            // Of what is written to while it is read, one table may belong to another build than the next.
            Ok(_) if file.has_changed() => return Some(self.unreadable(line)),
            Ok(image) => image,
            Err(Malformed::NotElf) => return None,
            Err(Malformed::Unreadable(_) | Malformed::Truncated) => return Some(self.unreadable(line)),
        };
        let file = (self.open_files < self.limits.open_files).then_some(file);
        match file {
            Some(_) => self.open_files += 1,
            None => self.counts.not_kept_open += 1,
        }
        Some(self.add(path(line), file, None, image))
    }

    fn unreadable(&mut self, line: &MapsLine<'_>) -> u32 {
        self.counts.unreadable_files += 1;
        self.add(path(line), None, None, Image::default())
    }

    /// Processes share the kernel's vDSO, except those of another bitness.
    fn vdso(&mut self, bytes: Vec<u8>) -> Option<u32> {
        let same = |info: &ImageInfo| info.vdso.as_deref() == Some(bytes.as_slice());
        if let Some(index) = self.infos.iter().position(same) {
            return Some(index as u32);
        }
        let image = parse_image(bytes.as_slice(), self.budget()).ok()?;
        Some(self.add("[vdso]".to_owned(), None, Some(bytes.into()), image))
    }

    fn budget(&self) -> u64 {
        self.limits.unwind_bytes.saturating_sub(self.unwind_bytes)
    }

    fn add(&mut self, path: String, file: Option<Watched>, vdso: Option<Arc<[u8]>>, image: Image) -> u32 {
        self.counts.without_tables += u64::from(image.over_budget);
        self.unwind_bytes += image.tables.as_ref().map_or(0, Tables::bytes);
        self.infos.push(ImageInfo { path, build_id: image.build_id.clone(), file, vdso });
        self.parsed.push(Arc::new(image));
        self.infos.len() as u32 - 1
    }
}

impl Key {
    fn line(line: &MapsLine<'_>) -> Self {
        let MapsLine { device, inode, generation, .. } = *line;
        Self::Line { device, inode, generation, path: line.path.to_vec() }
    }
}

fn path(line: &MapsLine<'_>) -> String {
    String::from_utf8_lossy(&line.path).into_owned()
}

/// The vDSO of a process or, if it is gone, our own: the kernel has one for all processes of 64 bits.
fn read_vdso(tgid: u32, line: &MapsLine<'_>) -> io::Result<Vec<u8>> {
    read_memory(tgid, line).or_else(|error| {
        let maps = std::fs::read("/proc/self/maps")?;
        let mut lines = maps.split(|byte| *byte == b'\n').filter_map(parse_line);
        let own = lines.find(|own| own.is_vdso() && own.end - own.start == line.end - line.start);
        read_memory(std::process::id(), &own.ok_or(error)?)
    })
}

fn read_memory(tgid: u32, line: &MapsLine<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (line.end - line.start).min(VDSO_BYTES) as usize];
    File::open(format!("/proc/{tgid}/mem"))?.read_exact_at(&mut bytes, line.start)?;
    Ok(bytes)
}
