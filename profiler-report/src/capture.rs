//! The capture file: a recording, saved so that a later report gives the same answer as the live one.
//!
//! In and out: [`Recording`]. The format is docs/capture-format.md. Opens no files: see [`crate::output`].
//!
//! ```text
//! 89 50 52 46 0d 0a 1a 0a   magic
//! 03 00 00 00               version, little endian
//! then for each section, in the order of the fields of `Recording`, and an empty section `end`:
//! 6d 65 74 61 00 00 00 00   name, filled up with zeros       (here "meta")
//! 2a 00 00 00 00 00 00 00   bytes of payload, little endian
//! de ad be ef               CRC-32 of name, length and payload, little endian
//! …                         payload: postcard
//! ```

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::recording::{Invalid, Recording};

/// First bytes of a capture. As in PNG, the first byte is no text, and a transfer that changes line ends is seen.
const MAGIC: [u8; 8] = *b"\x89PRF\r\n\x1a\n";
/// Raised with each change of the tables: postcard does not describe itself.
const VERSION: u32 = 4;
/// Longest payload. A recording of 10,000 threads has about 2 MB in its largest section.
const MAX_SECTION_BYTES: u64 = 1 << 30;
/// Name, length and CRC.
const SECTION_HEADER_BYTES: usize = 8 + 8 + 4;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("not a capture: it does not begin as `profiler record` writes it")]
    NotACapture,
    #[error(
        "the capture has format version {found}, this profiler reads version {VERSION}\n  \
         try: a newer profiler, at least the one that recorded it"
    )]
    Newer { found: u32 },
    #[error(
        "the capture has format version {found}, this profiler reads version {VERSION}\n  \
         try: the profiler that recorded it, or record again"
    )]
    Older { found: u32 },
    #[error(
        "the capture is truncated: section `{section}` lacks {missing} bytes\n  \
         try: copy the file again; `profiler record` itself never leaves a partial capture"
    )]
    Truncated { section: &'static str, missing: u64 },
    #[error("the capture is corrupt: in section `{section}`, {what}\n  try: copy the file again")]
    Corrupt { section: &'static str, what: &'static str },
    #[error("the capture contradicts itself: {0}")]
    Invalid(#[from] Invalid),
    #[error("cannot read the capture")]
    Io(#[from] io::Error),
}

/// Writes the whole recording.
///
/// # Errors
/// Those of `out`, and a section above 1 GiB, which [`load`] would refuse.
pub fn save(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    write_section(out, "meta", &recording.meta)?;
    write_section(out, "process", &recording.processes)?;
    write_section(out, "thread", &recording.threads)?;
    write_section(out, "module", &recording.modules)?;
    write_section(out, "frame", &recording.frames)?;
    write_section(out, "name", &recording.names)?;
    write_section(out, "stack", &recording.stacks)?;
    write_section(out, "sample", &recording.samples)?;
    write_section(out, "block", &recording.block_io)?;
    write_section(out, "lock", &recording.locks)?;
    write_section(out, "machine", &recording.machine)?;
    write_section(out, "quality", &recording.quality)?;
    write_section(out, "cost", &recording.cost)?;
    write_section(out, "end", &())
}

/// Reads a recording and checks that its tables fit together. No input makes it panic, and it holds at most about 64
/// bytes of memory for each byte of input: a length is believed only once that many bytes are there.
///
/// # Errors
/// [`LoadError`] says what is wrong with the file.
pub fn load(input: &mut dyn Read) -> Result<Recording, LoadError> {
    read_file_header(input)?;
    let recording = Recording {
        meta: read_section(input, "meta")?,
        processes: read_section(input, "process")?,
        threads: read_section(input, "thread")?,
        modules: read_section(input, "module")?,
        frames: read_section(input, "frame")?,
        names: read_section(input, "name")?,
        stacks: read_section(input, "stack")?,
        samples: read_section(input, "sample")?,
        block_io: read_section(input, "block")?,
        locks: read_section(input, "lock")?,
        machine: read_section(input, "machine")?,
        quality: read_section(input, "quality")?,
        cost: read_section(input, "cost")?,
    };
    read_section::<()>(input, "end")?;
    if !read_up_to(input, 1)?.is_empty() {
        return Err(LoadError::Corrupt { section: "end", what: "more bytes follow" });
    }
    recording.validate()?;
    Ok(recording)
}

fn write_section<T: Serialize>(out: &mut dyn Write, name: &str, value: &T) -> io::Result<()> {
    let payload = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let length = payload.len() as u64;
    if length > MAX_SECTION_BYTES {
        let message =
            format!("section `{name}` of the capture would have {length} bytes, the limit is 1 GiB");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let tag = tag(name);
    out.write_all(&tag)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&checksum(tag, length, &payload).to_le_bytes())?;
    out.write_all(&payload)
}

fn read_file_header(input: &mut dyn Read) -> Result<(), LoadError> {
    let header = read_up_to(input, 12)?;
    let magic = &header[..header.len().min(MAGIC.len())];
    if !MAGIC.starts_with(magic) {
        return Err(LoadError::NotACapture);
    }
    let Some(version) = header.get(8..12).and_then(|bytes| bytes.try_into().ok()) else {
        return Err(LoadError::Truncated { section: "header", missing: 12 - header.len() as u64 });
    };
    match u32::from_le_bytes(version) {
        VERSION => Ok(()),
        0 => Err(LoadError::Corrupt { section: "header", what: "there is no format version 0" }),
        found @ 1..VERSION => Err(LoadError::Older { found }),
        found => Err(LoadError::Newer { found }),
    }
}

fn read_section<T: DeserializeOwned>(input: &mut dyn Read, name: &'static str) -> Result<T, LoadError> {
    let corrupt = |what| LoadError::Corrupt { section: name, what };
    let header = read_up_to(input, SECTION_HEADER_BYTES as u64)?;
    let Ok(header) = <[u8; SECTION_HEADER_BYTES]>::try_from(header.as_slice()) else {
        let missing = SECTION_HEADER_BYTES as u64 - header.len() as u64;
        return Err(LoadError::Truncated { section: name, missing });
    };
    let [t0, t1, t2, t3, t4, t5, t6, t7, l0, l1, l2, l3, l4, l5, l6, l7, crc @ ..] = header;
    let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    if [t0, t1, t2, t3, t4, t5, t6, t7] != tag(name) {
        return Err(corrupt("another name stands where it begins"));
    }
    if length > MAX_SECTION_BYTES {
        return Err(corrupt("the length is above the limit of 1 GiB"));
    }
    let payload = read_up_to(input, length)?;
    let missing = length - payload.len() as u64;
    if missing > 0 {
        return Err(LoadError::Truncated { section: name, missing });
    }
    if checksum(tag(name), length, &payload) != u32::from_le_bytes(crc) {
        return Err(corrupt("the checksum does not fit"));
    }
    match postcard::take_from_bytes(&payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(corrupt("bytes are left over after its table")),
        Err(_) => Err(corrupt("the table does not decode")),
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

fn checksum(tag: [u8; 8], length: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&tag);
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_recording, example};

    fn saved(recording: &Recording) -> Vec<u8> {
        let mut bytes = Vec::new();
        save(recording, &mut bytes).expect("a vector takes everything");
        bytes
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let error = load(&mut &*bytes).expect_err("the input is damaged").to_string();
        assert!(error.starts_with(expected), "`{error}` does not start with `{expected}`");
    }

    /// `UPDATE_GOLDEN=1` rewrites it.
    #[test]
    fn the_seed_of_the_fuzzer_is_the_example() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/capture/example.prof");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, saved(&example())).expect("the seed is writable");
        }
        let seed = std::fs::read(path).expect("the seed is there");
        assert_eq!(load(&mut seed.as_slice()).expect("the seed is a capture"), example());
    }

    /// A file with one byte range replaced, and the checksum of the section at `at` made to fit again.
    fn forged(at: usize, name: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = saved(&Recording::default());
        let old = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().expect("8 bytes")) as usize;
        let length = payload.len() as u64;
        let mut section = tag(name).to_vec();
        section.extend(length.to_le_bytes());
        section.extend(checksum(tag(name), length, payload).to_le_bytes());
        section.extend(payload);
        bytes.splice(at..at + SECTION_HEADER_BYTES + old, section);
        bytes
    }

    #[test]
    fn text_is_not_a_capture() {
        check(b"hello, world\n", "not a capture");
    }

    #[test]
    fn an_empty_file_is_a_truncated_one() {
        check(b"", "the capture is truncated: section `header` lacks 12 bytes");
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = saved(&example());
        bytes[8] = 5;
        check(
            &bytes,
            "the capture has format version 5, this profiler reads version 4\n  try: a newer profiler",
        );
    }

    #[test]
    fn an_older_version_is_named() {
        let mut bytes = saved(&example());
        bytes[8] = 3;
        check(
            &bytes,
            "the capture has format version 3, this profiler reads version 4\n  try: the profiler that",
        );
    }

    #[test]
    fn bytes_after_the_end_are_seen() {
        let mut bytes = saved(&example());
        bytes.push(0);
        check(&bytes, "the capture is corrupt: in section `end`, more bytes follow");
    }

    #[test]
    fn a_length_of_exabytes_is_refused_before_anything_is_read() {
        let mut bytes = saved(&example());
        bytes[12 + 8..12 + 16].fill(0xff);
        check(&bytes, "the capture is corrupt: in section `meta`, the length is above the limit");
    }

    #[test]
    fn a_number_of_rows_that_cannot_be_there_is_refused() {
        // The meta section of an empty recording comes first; after it `process`, here with u64::MAX rows.
        let meta = u64::from_le_bytes(saved(&Recording::default())[20..28].try_into().expect("8 bytes"));
        let process = 12 + SECTION_HEADER_BYTES + meta as usize;
        let rows = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        check(
            &forged(process, "process", &rows),
            "the capture is corrupt: in section `process`, the table does not",
        );
    }

    #[test]
    fn an_index_out_of_range_is_refused() {
        let mut recording = example();
        recording.threads[0].process = 99;
        check(
            &saved(&recording),
            "the capture contradicts itself: thread 0 refers to process 99, of which there are 2",
        );
    }

    #[test]
    fn every_truncation_is_an_error_that_says_so() {
        let bytes = saved(&example());
        for length in 0..bytes.len() {
            check(&bytes[..length], "the capture is truncated: section `");
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let mut bytes = saved(&example());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(load(&mut bytes.as_slice()).is_err(), "bit {bit} flipped and not seen");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_full_device_is_an_error_of_save() {
        let mut full =
            std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has /dev/full");
        assert_eq!(save(&example(), &mut full).expect_err("full").kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn what_was_saved_is_loaded(recording in any_recording()) {
            prop_assert_eq!(load(&mut saved(&recording).as_slice()).expect("just saved"), recording);
        }

        #[test]
        fn any_bytes_behind_the_header_are_no_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = saved(&Recording::default())[..12].to_vec();
            bytes.extend(tail);
            prop_assert!(load(&mut bytes.as_slice()).is_err());
        }

        #[test]
        fn any_payload_is_no_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = load(&mut forged(12, "meta", &payload).as_slice());
        }
    }
}
