//! What the search for names must know of an ELF file before a library may read it.
//!
//! In: an open file. Out: an [`ElfFile`]. The library maps files, believes the sizes that they state, and opens the
//! files that they refer to; a hostile file could make it allocate without bound, or wait for a FIFO. So that is
//! looked at here, with a few bounded reads.

use std::fs::File;
use std::io::Read;
use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{self, CompressionHeader64, SectionHeader64};
use object::pod;
use xz2::read::XzDecoder;
use xz2::stream::Stream;

use crate::unwind::{Image, Sections, parse_image};

/// Most bytes of debug information that are decompressed for one file. It stays in memory until the file is done.
/// Debian's packages of debug information are compressed, chromium's to a fifth; those of most programs have less.
pub const DECOMPRESSED_BYTES: u64 = 192 << 20;
/// Most bytes of a decompressed symbol table ("MiniDebugInfo"). A megabyte holds some ten thousand functions.
const SYMBOLS_BYTES: u64 = 64 << 20;
/// Memory that the decompression of one may need: `xz -9` needs 65 MiB.
const XZ_BYTES: u64 = 96 << 20;
/// Longest name in a debug link that is followed.
const LINK_BYTES: u64 = 1024;

/// Whether a file has debug information that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugInformation {
    None,
    Usable,
    /// It would be larger than [`DECOMPRESSED_BYTES`], once decompressed.
    TooLarge,
    /// It refers to a further file.
    Shared,
}

/// Where separate debug information of a file is to be found, by `.gnu_debuglink`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLink {
    /// A name without a directory.
    pub name: String,
    pub crc: u32,
}

/// What is known of a file.
pub struct ElfFile {
    image: Image,
    pub build_id: Vec<u8>,
    pub debug: DebugInformation,
    pub link: Option<DebugLink>,
    /// Its symbol table may be read.
    pub symbols: bool,
}

impl ElfFile {
    /// Looks at a file. None if it is no 64-bit ELF file with section headers.
    pub fn read(file: &File) -> Option<Self> {
        let image = parse_image(file, 0).ok()?;
        let sections = Sections::of(file).ok()?;
        let build_id = build_id(&sections).unwrap_or_else(|| image.build_id.clone());
        let link = link(&sections);
        let debug = debug_information(&sections, link.is_some());
        Some(Self { image, build_id, debug, link, symbols: symbols_are_bounded(&sections) })
    }

    /// The address that the file gives to the code at an offset.
    pub fn address(&self, file_offset: u64) -> Option<u64> {
        self.image.svma(file_offset)
    }
}

fn has_content(header: &SectionHeader64<LE>) -> bool {
    header.sh_type.get(LE) != elf::SHT_NOBITS && header.sh_size.get(LE) > 0
}

/// The build id by its section: in a separate debug file the segments are those of the original.
fn build_id(sections: &Sections<'_, File>) -> Option<Vec<u8>> {
    let note = sections.head(sections.find(b".note.gnu.build-id")?, 256)?;
    let word = |at: Range<usize>| Some(u32::from_le_bytes(note.get(at)?.try_into().ok()?) as usize);
    let (name_bytes, id_bytes) = (word(0..4)?, word(4..8)?);
    (name_bytes == 4).then(|| note.get(16..16 + id_bytes.min(64)).map(<[u8]>::to_vec))?
}

/// A name, up to three zeros, and a checksum.
fn link(sections: &Sections<'_, File>) -> Option<DebugLink> {
    let content = sections.head(sections.find(b".gnu_debuglink")?, LINK_BYTES)?;
    let end = content.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&content[..end]).ok()?;
    let crc_at = (end + 1).next_multiple_of(4);
    let crc = u32::from_le_bytes(content.get(crc_at..crc_at + 4)?.try_into().ok()?);
    // It would lead out of the directories that are searched.
    let safe = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    safe.then(|| DebugLink { name: name.to_owned(), crc })
}

fn debug_information(sections: &Sections<'_, File>, has_link: bool) -> DebugInformation {
    if !sections.find(b".debug_info").is_some_and(has_content) {
        return DebugInformation::None;
    }
    let refers = |name| sections.find(name).is_some();
    if has_link || refers(b".gnu_debuglink") || refers(b".gnu_debugaltlink") || refers(b".debug_sup") {
        return DebugInformation::Shared;
    }
    let debug = sections.all().filter(|(name, _)| name.starts_with(b".debug_"));
    let sizes = debug.map(|(_, header)| decompressed_size(sections, header));
    let sum = sizes.fold(0_u64, u64::saturating_add);
    if sum > DECOMPRESSED_BYTES { DebugInformation::TooLarge } else { DebugInformation::Usable }
}

/// Bytes of memory that a section takes when it is decompressed; none if it can be read where it is.
fn decompressed_size(sections: &Sections<'_, File>, header: &SectionHeader64<LE>) -> u64 {
    if header.sh_flags.get(LE) & elf::SHF_COMPRESSED != elf::SHF_COMPRESSED {
        return 0;
    }
    let head = sections.head(header, size_of::<CompressionHeader64<LE>>() as u64).unwrap_or_default();
    // Copied, because it need not be aligned.
    let mut words = [0_u64; 3];
    let bytes = pod::bytes_of_slice_mut(&mut words);
    if head.len() != bytes.len() {
        return 0;
    }
    bytes.copy_from_slice(&head);
    u64::from_le(words[1])
}

/// Whether the symbol table can be read without unbounded memory: `.gnu_debugdata` is one compressed by xz, which does
/// not say its size at the beginning. It is read only where `.symtab` has nothing.
fn symbols_are_bounded(sections: &Sections<'_, File>) -> bool {
    let Some(header) = sections.find(b".gnu_debugdata") else { return true };
    if sections.find(b".symtab").is_some_and(has_content) {
        return true;
    }
    let bounded = || {
        let compressed = sections.head(header, SYMBOLS_BYTES)?;
        let decoder = Stream::new_stream_decoder(XZ_BYTES, 0).ok()?;
        let plain = XzDecoder::new_stream(compressed.as_slice(), decoder).take(SYMBOLS_BYTES + 1);
        // Broken data ends with an error here, and the same in the library.
        let bytes = std::io::copy(&mut { plain }, &mut std::io::sink()).unwrap_or(0);
        Some(bytes <= SYMBOLS_BYTES)
    };
    bounded().unwrap_or(false)
}
