//! What unwinding needs of an ELF file, read with a few bounded reads.
//!
//! In: a file as [`ReadAt`]. Out: an [`Image`]. Nothing is mapped into memory, because a file that its owner cuts short
//! would then kill the profiler (SIGBUS), and no read is longer than a stated bound, because the file may be hostile.
//! Only 64-bit little-endian files; symbols are not read here.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::{self, Pod};
use object::read::elf::{NoteIterator, ProgramHeader as _};
use profiler_common::go::GoOffsets;
use thiserror::Error;

use super::compressed::{self, Compression};
use super::section::Section;
use super::tables::{Found, INDEXED_BYTES, Tables};
use crate::read_at::ReadAt;
use crate::runtimes::go::{self, Outermost};

/// Program headers that are looked at: real files have 10 to 15.
const PROGRAM_HEADERS: usize = 256;
/// Section headers that are looked at: real executables have 30 to 60, kernel-like objects some hundred.
const SECTION_HEADERS: usize = 4096;
/// Bytes of section names that are read.
const NAME_BYTES: u64 = 256 * 1024;
/// Bytes of one note segment that are read: the build id stands in the first hundred.
const NOTE_BYTES: u64 = 16 * 1024;
/// Bytes of a build id that are kept: SHA-1 has 20.
const BUILD_ID_BYTES: usize = 64;
/// How far behind a file's entry point its first call returns to: in `_start` of glibc's dynamic linker 8 bytes, of musl
/// and others some 30.
const ENTRY_BYTES: u64 = 64;

/// Why a file is no image.
#[derive(Debug, Error)]
pub enum Malformed {
    #[error("cannot read the file")]
    Unreadable(#[from] io::Error),
    #[error("not a 64-bit little-endian ELF file")]
    NotElf,
    #[error("the ELF header points outside of the file")]
    Truncated,
}

/// What unwinding needs of one file.
#[derive(Debug, Default)]
pub struct Image {
    /// GNU build id; empty if there is none.
    pub build_id: Vec<u8>,
    /// Unwind tables; `None` if the file has none, or none within the budget.
    pub tables: Option<Tables>,
    /// The file has unwind tables, but they did not fit into the budget.
    pub over_budget: bool,
    executable: Vec<Segment>,
    /// The lowest address that the file gives itself, at the beginning of its page.
    pub first_svma: u64,
    /// Where a process that is started with this file, or its dynamic linker, begins.
    entry: u64,
    /// Functions of Go's runtime that have no caller on their stack, sorted.
    pub(super) outermost: Vec<(Range<u64>, Outermost)>,
    /// Where to look for the goroutines whose stacks those functions have left.
    pub goroutines: Option<GoOffsets>,
}

/// One executable `PT_LOAD`.
#[derive(Debug)]
struct Segment {
    file: Range<u64>,
    svma: u64,
}

impl Image {
    /// What to add to the file's own addresses to get those of a mapping at `start..end` from `file_offset` on.
    ///
    /// Of two segments that share a page, both may overlap the mapping: the larger part decides.
    pub fn bias(&self, start: u64, end: u64, file_offset: u64) -> Option<u64> {
        let mapped = file_offset..file_offset.saturating_add(end.saturating_sub(start));
        let overlap =
            |s: &&Segment| s.file.end.min(mapped.end).saturating_sub(s.file.start.max(mapped.start));
        let segment = self.executable.iter().max_by_key(overlap).filter(|s| overlap(s) > 0)?;
        Some(start.wrapping_sub(file_offset).wrapping_add(segment.file.start).wrapping_sub(segment.svma))
    }

    /// The first address that a process runs, if another one may belong to the same function.
    pub fn entry_of(&self, svma: u64) -> Option<u64> {
        (self.entry != 0 && svma.wrapping_sub(self.entry) < ENTRY_BYTES).then_some(self.entry)
    }

    /// Whether a function there has no caller on its stack, whatever lies above it.
    pub fn outermost(&self, svma: u64) -> Option<Outermost> {
        let index = self.outermost.partition_point(|(function, _)| function.end <= svma);
        self.outermost.get(index).filter(|(function, _)| function.start <= svma).map(|(_, why)| *why)
    }

    /// Where in the file the code lies to which the file itself gives an address.
    fn file_offset(&self, svma: u64) -> Option<u64> {
        let offset = |segment: &Segment| segment.file.start.checked_add(svma.checked_sub(segment.svma)?);
        let inside = |segment: &Segment| offset(segment).filter(|offset| segment.file.contains(offset));
        self.executable.iter().find_map(inside)
    }

    /// The address that the file itself gives to the code at an offset.
    pub fn svma(&self, file_offset: u64) -> Option<u64> {
        let segment = self.executable.iter().find(|segment| segment.file.contains(&file_offset))?;
        Some((file_offset - segment.file.start).wrapping_add(segment.svma))
    }
}

/// Reads headers, build id and unwind tables. Tables larger than `budget` bytes in total are left out.
pub fn parse_image<R: ReadAt + ?Sized>(source: &R, budget: u64) -> Result<Image, Malformed> {
    let size = source.size()?;
    let header = &read_header(source, size)?;
    let count = usize::from(header.e_phnum.get(LE)).min(PROGRAM_HEADERS);
    let segments: Vec<ProgramHeader64<LE>> = read_array(source, size, header.e_phoff.get(LE), count)?;
    let build_id = build_id(source, size, &segments);
    let mut image = Image { build_id, entry: header.e_entry.get(LE), ..Image::default() };
    let loaded = segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD);
    image.first_svma = loaded.map(|segment| segment.p_vaddr(LE)).min().unwrap_or(0) & !0xfff;
    for segment in &segments {
        let flags = segment.p_flags(LE);
        if segment.p_type(LE) == elf::PT_LOAD && flags & elf::PF_X == elf::PF_X {
            let from = segment.p_offset(LE);
            let file = from..from.saturating_add(segment.p_filesz(LE));
            image.executable.push(Segment { file, svma: segment.p_vaddr(LE) });
        }
    }
    // A file whose section headers are gone or damaged still has its segments and build id.
    if let Ok(sections) = Sections::read(source, size, header) {
        (image.tables, image.over_budget) = sections.tables(budget);
        image.outermost = sections.go_outermost();
        image.goroutines = sections.goroutines(&mut image);
    }
    Ok(image)
}

fn read_header<R: ReadAt + ?Sized>(source: &R, size: u64) -> Result<FileHeader64<LE>, Malformed> {
    let headers: Vec<FileHeader64<LE>> = read_array(source, size, 0, 1).map_err(|_| Malformed::NotElf)?;
    let ident = &headers[0].e_ident;
    if ident.magic != elf::ELFMAG || ident.class != elf::ELFCLASS64 || ident.data != elf::ELFDATA2LSB {
        return Err(Malformed::NotElf);
    }
    Ok(headers[0])
}

fn build_id<R: ReadAt + ?Sized>(source: &R, size: u64, segments: &[ProgramHeader64<LE>]) -> Vec<u8> {
    for segment in segments.iter().filter(|s| s.p_type(LE) == elf::PT_NOTE) {
        let length = segment.p_filesz(LE).min(NOTE_BYTES);
        let Ok(words) = read_words(source, size, segment.p_offset(LE), length as usize) else { continue };
        let bytes = &pod::bytes_of_slice(&words)[..length as usize];
        let align = segment.p_align.get(LE);
        let Ok(notes) = NoteIterator::<FileHeader64<LE>>::new(LE, align, bytes) else { continue };
        for note in notes.map_while(Result::ok) {
            if note.name() == b"GNU" && note.n_type(LE) == elf::NT_GNU_BUILD_ID {
                return note.desc().iter().copied().take(BUILD_ID_BYTES).collect();
            }
        }
    }
    Vec::new()
}

/// The section headers of a file, with their names.
pub struct Sections<'a, R: ?Sized> {
    source: &'a R,
    size: u64,
    headers: Vec<SectionHeader64<LE>>,
    names: Vec<u8>,
}

impl<'a, R: ReadAt + ?Sized> Sections<'a, R> {
    /// Reads the section headers of a file.
    pub fn of(source: &'a R) -> Result<Self, Malformed> {
        let size = source.size()?;
        Self::read(source, size, &read_header(source, size)?)
    }

    /// Name and header of each section whose name is known.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], &SectionHeader64<LE>)> {
        self.headers.iter().filter_map(|header| {
            let rest = self.names.get(header.sh_name.get(LE) as usize..)?;
            Some((&rest[..rest.iter().position(|byte| *byte == 0)?], header))
        })
    }

    /// The first bytes of a section as they are in the file, at most as many as it has there.
    pub fn head(&self, header: &SectionHeader64<LE>, most: u64) -> Option<Vec<u8>> {
        let length = header.sh_size.get(LE).min(most) as usize;
        let in_file = header.sh_type.get(LE) != elf::SHT_NOBITS;
        in_file.then(|| read_bytes(self.source, self.size, header.sh_offset.get(LE), length).ok())?
    }

    fn read(source: &'a R, size: u64, header: &FileHeader64<LE>) -> Result<Self, Malformed> {
        let count = usize::from(header.e_shnum.get(LE)).min(SECTION_HEADERS);
        let headers: Vec<SectionHeader64<LE>> = read_array(source, size, header.e_shoff.get(LE), count)?;
        let names = headers.get(usize::from(header.e_shstrndx.get(LE).0)).ok_or(Malformed::Truncated)?;
        let length = names.sh_size.get(LE).min(NAME_BYTES) as usize;
        let names = read_bytes(source, size, names.sh_offset.get(LE), length)?;
        Ok(Self { source, size, headers, names })
    }

    /// The section of this name.
    pub fn find(&self, name: &[u8]) -> Option<&SectionHeader64<LE>> {
        self.headers.iter().find(|header| {
            let from = header.sh_name.get(LE) as usize;
            let rest = self.names.get(from..).unwrap_or_default();
            rest.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    /// A section that has bytes in the file.
    fn present(&self, name: &[u8]) -> Option<&SectionHeader64<LE>> {
        self.find(name)
            .filter(|header| header.sh_type.get(LE) != elf::SHT_NOBITS && header.sh_size.get(LE) > 0)
    }

    /// A section that is loaded, and so not compressed.
    fn section(&self, name: &[u8]) -> Option<Section> {
        let header = self.present(name)?;
        let length = header.sh_size.get(LE) as usize;
        let bytes = read_bytes(self.source, self.size, header.sh_offset.get(LE), length).ok()?;
        Some(Section { svma: header.sh_addr.get(LE), bytes: Arc::from(bytes) })
    }

    fn svma(&self, name: &[u8]) -> Option<u64> {
        self.find(name).map(|header| header.sh_addr.get(LE))
    }

    fn bytes(&self, name: &[u8]) -> u64 {
        self.present(name).map_or(0, |header| header.sh_size.get(LE))
    }

    /// The tables, and whether they were left out because they are larger than `budget`.
    fn tables(&self, budget: u64) -> (Option<Tables>, bool) {
        let eh_bytes = self.bytes(b".eh_frame");
        let index_bytes = self.bytes(b".eh_frame_hdr");
        if eh_bytes.saturating_add(index_bytes) > budget {
            return (None, true);
        }
        let mut found =
            Found { text_svma: self.svma(b".text"), got_svma: self.svma(b".got"), ..Found::default() };
        if eh_bytes > 0 {
            found.eh_frame = self.section(b".eh_frame");
            found.eh_frame_hdr = self.section(b".eh_frame_hdr");
            if eh_bytes > INDEXED_BYTES && found.eh_frame_hdr.is_none() {
                return (None, true);
            }
        } else {
            match self.debug_frame(budget.min(INDEXED_BYTES)) {
                Ok(bytes) => found.debug_frame = bytes,
                Err(compressed::TooLong) => return (None, true),
            }
        }
        // An index that is made here counts too.
        match found.tables() {
            Some(tables) if tables.bytes() > budget => (None, true),
            tables => (tables, false),
        }
    }

    /// `.debug_frame` of at most `limit` bytes; compressed, as Go's linker leaves it, or not.
    fn debug_frame(&self, limit: u64) -> Result<Option<Vec<u8>>, compressed::TooLong> {
        let names: [(&[u8], bool); 2] = [(b".debug_frame", false), (b".zdebug_frame", true)];
        let found = names.iter().find_map(|(name, gnu)| Some((self.present(name)?, *gnu)));
        let Some((header, gnu)) = found else { return Ok(None) };
        let length = header.sh_size.get(LE);
        if length > limit {
            return Err(compressed::TooLong);
        }
        let offset = header.sh_offset.get(LE);
        let Ok(bytes) = read_bytes(self.source, self.size, offset, length as usize) else { return Ok(None) };
        let compression = if gnu {
            Compression::Gnu
        } else if header.sh_flags.get(LE) & elf::SHF_COMPRESSED == elf::SHF_COMPRESSED {
            Compression::Header
        } else {
            return Ok(Some(bytes));
        };
        compressed::expand(&bytes, compression, limit)
    }

    fn go_outermost(&self) -> Vec<(Range<u64>, Outermost)> {
        let names: [&[u8]; 2] = [b".gopclntab", b".data.rel.ro.gopclntab"];
        let Some(header) = names.iter().find_map(|name| self.present(name)) else { return vec![] };
        let from = header.sh_offset.get(LE);
        let file = from..from.saturating_add(header.sh_size.get(LE)).min(self.size);
        go::outermost(self.source, &go::Place { file, text_svma: self.svma(b".text").unwrap_or(0) })
    }

    /// Where the goroutines are. Functions that leave their stack for a part of their code only are cut to that part; one
    /// without such a part is a wrapper, from one way to pass arguments to another, and has its caller on its own stack.
    fn goroutines(&self, image: &mut Image) -> Option<GoOffsets> {
        let mut outermost = std::mem::take(&mut image.outermost);
        let read = |svma, bytes: &mut [u8]| {
            let read = image.file_offset(svma).map(|offset| self.source.read_at(offset, bytes));
            if !matches!(read, Some(Ok(()))) {
                bytes.fill(0);
            }
        };
        let start =
            |wanted| outermost.iter().find(|(_, why)| *why == wanted).map(|(function, _)| function.start);
        let (systemstack, nanotime) = (start(Outermost::Switched), start(Outermost::IntoVdso));
        let offsets = systemstack.and_then(|start| go::offsets(read, start, nanotime));
        if offsets.is_some() {
            outermost.retain_mut(|(function, why)| {
                let partly = *why == Outermost::SwitchedForFirstCall;
                let end = if partly { go::first_call_end(read, function.start) } else { None };
                function.end = end.unwrap_or(u64::MAX).min(function.end);
                !partly || end.is_some_and(|end| end == function.end)
            });
        }
        image.outermost = outermost;
        offsets
    }
}

/// `count` values from `offset` on.
fn read_array<T: Pod + Clone, R: ReadAt + ?Sized>(
    source: &R,
    size: u64,
    offset: u64,
    count: usize,
) -> Result<Vec<T>, Malformed> {
    let length = count.checked_mul(size_of::<T>()).ok_or(Malformed::Truncated)?;
    let words = read_words(source, size, offset, length)?;
    let (values, _) =
        pod::slice_from_bytes(pod::bytes_of_slice(&words), count).map_err(|()| Malformed::Truncated)?;
    Ok(values.to_vec())
}

/// `length` bytes in a buffer that is aligned for each kind of header, filled up with zeros to whole words.
fn read_words<R: ReadAt + ?Sized>(
    source: &R,
    size: u64,
    offset: u64,
    length: usize,
) -> Result<Vec<u64>, Malformed> {
    check_range(size, offset, length)?;
    let mut words = vec![0_u64; length.div_ceil(size_of::<u64>())];
    source.read_at(offset, &mut pod::bytes_of_slice_mut(&mut words)[..length])?;
    Ok(words)
}

fn read_bytes<R: ReadAt + ?Sized>(
    source: &R,
    size: u64,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, Malformed> {
    check_range(size, offset, length)?;
    let mut bytes = vec![0; length];
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Refuses what the file does not have before memory is allocated for it.
fn check_range(size: u64, offset: u64, length: usize) -> Result<(), Malformed> {
    let inside = offset.checked_add(length as u64).is_some_and(|end| end <= size);
    if inside { Ok(()) } else { Err(Malformed::Truncated) }
}
