//! The capture file: a recording, saved so that a later report gives the same answer as the live one.
//!
//! In and out: [`Recording`]. The format is docs/capture-format.md. Opens no files: whoever calls has them open.
//!
//! ```
//! use profiler_report::{capture, recording::Recording};
//!
//! let mut file = Vec::new();
//! capture::save(&Recording::default(), &mut file)?;
//! let recording = capture::load(&mut file.as_slice())?;
//! assert_eq!(recording, Recording::default());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! 89 50 52 46 0d 0a 1a 0a   magic
//! 05 00 00 00               version, little endian
//! then sections, the last of which is `end` and empty:
//! 6d 65 74 61 00 00 00 00   name, filled up with zeros       (here "meta")
//! 2a 00 00 00               bytes of payload, little endian
//! 40 00 00 00               bytes of the payload unpacked, little endian
//! de ad be ef               CRC-32 of the three before and the payload, little endian
//! …                         payload: a zstd frame, in which a MessagePack map says each field by its name
//! ```
//!
//! A section or a field that this version does not know is skipped, and one that is not there has its default: so every
//! later version reads what this one writes. The version is raised only if that ends.

mod columns;
mod tables;

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::columns::Uneven;
use self::tables::{Frames, Names, Stacks, WindowTables};
use crate::recording::{Invalid, Recording, Skip};

/// First bytes of a capture. As in PNG, the first byte is not text, and a transfer that changes line ends is seen.
const MAGIC: [u8; 8] = *b"\x89PRF\r\n\x1a\n";
/// Of the format that is written and read.
pub const VERSION: u32 = 5;
/// The last version of the program that reads formats before this one, which did not describe themselves.
const LAST_TO_READ_OLDER: &str = "0.1.0";
/// Of zstd. A capture of the whole machine has 10 % less than at the default of 3, and 19 saves 7 % more at ten times the time.
const LEVEL: i32 = 9;
/// Longest payload, packed and unpacked. A machine of 10,000 threads has 9 MB in its largest section, unpacked.
const MAX_SECTION_BYTES: u32 = 64 << 20;
/// All sections together, unpacked: what is made of them takes at most some 24 times as much memory, and mostly less
/// than twice as much.
const MAX_BYTES: u64 = 128 << 20;
/// Name, length, unpacked length and CRC.
const SECTION_HEADER_BYTES: usize = 8 + 4 + 4 + 4;
/// Sections that are skipped at most: a later version has some more than this one.
const MAX_SECTIONS: usize = 256;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("not a capture of `profiler record`")]
    NotACapture,
    #[error(
        "the capture has format version {found}, but this profiler reads version {VERSION}\n  try: the profiler that recorded it, or a newer one"
    )]
    Newer { found: u32 },
    #[error(
        "the capture has format version {found}, which was last read by profiler {LAST_TO_READ_OLDER}; this one reads \
         version {VERSION}\n  try: that profiler, or record again"
    )]
    Older { found: u32 },
    #[error(
        "the capture is truncated: section `{section}` lacks {missing} bytes\n  \
         try: copy the file again; `profiler record` itself never leaves a partial capture"
    )]
    Truncated { section: String, missing: u64 },
    #[error("the capture is corrupt: in section `{section}`, {what}\n  try: copy the file again")]
    Corrupt { section: String, what: &'static str },
    #[error("the capture contradicts itself: {0}")]
    Invalid(#[from] Invalid),
    #[error("cannot read the capture")]
    Io(#[from] io::Error),
}

/// Writes the whole recording.
///
/// # Errors
/// Those of `out`, and a section above 64 MiB, which [`load`] would refuse.
pub fn save(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    write_section(out, "meta", &recording.meta)?;
    write_section(out, "followed", &recording.followed)?;
    write_section(out, "process", &recording.processes)?;
    write_section(out, "thread", &recording.threads)?;
    write_section(out, "module", &recording.modules)?;
    write_section(out, "frame", &Frames::of(&recording.frames))?;
    write_section(out, "name", &Names::of(&recording.names))?;
    write_section(out, "stack", &Stacks::of(&recording.stacks))?;
    write_section(out, "lock", &recording.locks)?;
    write_section(out, "disk", &recording.disks)?;
    write_section(out, "window", &WindowTables::of(&recording.windows))?;
    write_section(out, "skip", &recording.skipped)?;
    write_section(out, "debuginf", &recording.debuginfod)?;
    write_section(out, "budget", &recording.budget)?;
    write_section_bytes(out, "end", &[])
}

/// Reads a recording and checks that its tables fit together. No input makes it panic. What it reads, unpacked, is at
/// most 128 MiB, and a length is believed only once that many bytes are there.
///
/// # Errors
/// [`LoadError`] says what is wrong with the file.
pub fn load(input: &mut dyn Read) -> Result<Recording, LoadError> {
    read_file_header(input)?;
    let mut recording = Recording::default();
    let mut room = MAX_BYTES;
    for _ in 0..MAX_SECTIONS {
        let section = Section::read(input)?;
        if section.name == "end" {
            if !read_up_to(input, 1)?.is_empty() {
                return Err(section.corrupt("more bytes follow"));
            }
            recording.validate()?;
            return Ok(recording);
        }
        take_in(&mut recording, &section, &mut room)?;
    }
    Err(LoadError::Corrupt { section: "end".to_owned(), what: "it is missing" })
}

/// Puts a section where it belongs; one that this version does not know is left out.
fn take_in(recording: &mut Recording, section: &Section, room: &mut u64) -> Result<(), LoadError> {
    let uneven = |_: Uneven| section.corrupt("its columns do not fit together");
    match section.name.as_str() {
        "meta" => recording.meta = section.unpacked(room)?,
        "followed" => recording.followed = section.unpacked(room)?,
        "process" => recording.processes = section.unpacked(room)?,
        "thread" => recording.threads = section.unpacked(room)?,
        "module" => recording.modules = section.unpacked(room)?,
        "frame" => recording.frames = section.unpacked::<Frames>(room)?.into_rows().map_err(uneven)?,
        "name" => recording.names = section.unpacked::<Names>(room)?.into_rows().map_err(uneven)?,
        "stack" => recording.stacks = section.unpacked::<Stacks>(room)?.into_rows().map_err(uneven)?,
        "lock" => recording.locks = section.unpacked(room)?,
        "disk" => recording.disks = section.unpacked(room)?,
        "window" => {
            recording.windows = section.unpacked::<WindowTables>(room)?.into_rows().map_err(uneven)?;
        }
        "skip" => recording.skipped = section.unpacked(room)?,
        // From before causes had values.
        "skipped" => {
            recording.skipped =
                section.unpacked::<Vec<String>>(room)?.into_iter().map(Skip::sentence).collect();
        }
        "debuginf" => recording.debuginfod = section.unpacked(room)?,
        "budget" => recording.budget = section.unpacked(room)?,
        _ => {}
    }
    Ok(())
}

fn write_section<T: Serialize>(out: &mut dyn Write, name: &str, value: &T) -> io::Result<()> {
    write_section_bytes(out, name, &rmp_serde::to_vec_named(value).map_err(io::Error::other)?)
}

/// Writes a section around the bytes of a table that is not compressed yet: for whoever makes captures that are not right.
///
/// # Errors
/// Those of `out`, and more than 64 MiB.
pub fn write_section_bytes(out: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unpacked = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let payload = if bytes.is_empty() { vec![] } else { zstd::bulk::compress(bytes, LEVEL)? };
    let packed = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if unpacked.max(packed) > MAX_SECTION_BYTES {
        let message =
            format!("section `{name}` of the capture would have {} bytes, the limit is 64 MiB", bytes.len());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let tag = tag(name);
    out.write_all(&tag)?;
    out.write_all(&packed.to_le_bytes())?;
    out.write_all(&unpacked.to_le_bytes())?;
    out.write_all(&checksum(tag, packed, unpacked, &payload).to_le_bytes())?;
    out.write_all(&payload)
}

fn read_file_header(input: &mut dyn Read) -> Result<(), LoadError> {
    let header = read_up_to(input, 12)?;
    let magic = &header[..header.len().min(MAGIC.len())];
    if !MAGIC.starts_with(magic) {
        return Err(LoadError::NotACapture);
    }
    let Some(version) = header.get(8..12).and_then(|bytes| bytes.try_into().ok()) else {
        return Err(LoadError::Truncated { section: "header".to_owned(), missing: 12 - header.len() as u64 });
    };
    match u32::from_le_bytes(version) {
        VERSION => Ok(()),
        0 => {
            Err(LoadError::Corrupt { section: "header".to_owned(), what: "format version 0 does not exist" })
        }
        found @ 1..VERSION => Err(LoadError::Older { found }),
        found => Err(LoadError::Newer { found }),
    }
}

/// A section whose checksum fits.
struct Section {
    name: String,
    payload: Vec<u8>,
    unpacked_bytes: u32,
}

impl Section {
    fn read(input: &mut dyn Read) -> Result<Self, LoadError> {
        let header = read_up_to(input, SECTION_HEADER_BYTES as u64)?;
        let tag: [u8; 8] = header.get(..8).and_then(|tag| tag.try_into().ok()).unwrap_or_default();
        let name = name_of(tag);
        let Ok(header) = <[u8; SECTION_HEADER_BYTES]>::try_from(header.as_slice()) else {
            let missing = SECTION_HEADER_BYTES as u64 - header.len() as u64;
            let section = if name.is_empty() { "end".to_owned() } else { name };
            return Err(LoadError::Truncated { section, missing });
        };
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (packed, unpacked_bytes, crc) = (number(8), number(12), number(16));
        let corrupt = |what| LoadError::Corrupt { section: name.clone(), what };
        if packed.max(unpacked_bytes) > MAX_SECTION_BYTES {
            return Err(corrupt("the length is above the limit of 64 MiB"));
        }
        let payload = read_up_to(input, u64::from(packed))?;
        let missing = u64::from(packed) - payload.len() as u64;
        if missing > 0 {
            return Err(LoadError::Truncated { section: name, missing });
        }
        if checksum(tag, packed, unpacked_bytes, &payload) != crc {
            return Err(corrupt("the checksum does not match"));
        }
        Ok(Self { name, payload, unpacked_bytes })
    }

    fn corrupt(&self, what: &'static str) -> LoadError {
        LoadError::Corrupt { section: self.name.clone(), what }
    }

    fn unpacked<T: DeserializeOwned>(&self, room: &mut u64) -> Result<T, LoadError> {
        *room = room
            .checked_sub(u64::from(self.unpacked_bytes))
            .ok_or_else(|| self.corrupt("all sections together are above the limit of 128 MiB"))?;
        let mut bytes = Vec::new();
        let limit = u64::from(self.unpacked_bytes);
        let unpacked = zstd::Decoder::new(self.payload.as_slice())
            .and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut bytes));
        if unpacked.is_err() || bytes.len() as u64 != limit {
            return Err(self.corrupt("the payload does not unpack to its length"));
        }
        rmp_serde::from_slice(&bytes).map_err(|_| self.corrupt("its table cannot be decoded"))
    }
}

/// At most `limit` bytes; fewer only where the input ends. The buffer grows as bytes come.
fn read_up_to(input: &mut dyn Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `name` (at most 8 bytes) filled up with zeros.
fn tag(name: &str) -> [u8; 8] {
    let mut tag = [0; 8];
    tag[..name.len()].copy_from_slice(name.as_bytes());
    tag
}

/// What a tag says, as far as it is plain letters: the rest may be anything in a damaged file.
fn name_of(tag: [u8; 8]) -> String {
    tag.iter().take_while(|byte| byte.is_ascii_lowercase()).map(|&byte| byte as char).collect()
}

fn checksum(tag: [u8; 8], packed: u32, unpacked: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&tag);
    hasher.update(&packed.to_le_bytes());
    hasher.update(&unpacked.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
