use proptest::prelude::*;

use super::*;
use crate::testing::{any_recording, example_recording as example};

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
    // Not compared as bytes: another version of the compressor packs them otherwise.
    let seed = std::fs::read(path).expect("the seed is there");
    assert_eq!(load(&mut seed.as_slice()).expect("the seed is a capture"), example());
}

/// The same as tables that are not compressed, which a fuzzer can change: behind the header each after its length.
#[test]
fn the_other_seed_of_the_fuzzer_has_the_examples_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/capture/example.tables");
    let capture = saved(&example());
    let mut tables = capture[..12].to_vec();
    let mut rest = &capture[12..];
    while let Ok(section) = Section::read(&mut rest) {
        let mut bytes = vec![];
        if !section.payload.is_empty() {
            bytes = zstd::decode_all(section.payload.as_slice()).expect("it unpacks");
        }
        tables.extend((bytes.len() as u16).to_le_bytes());
        tables.extend(bytes);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &tables).expect("the seed is writable");
    }
    assert!(std::fs::read(path).expect("the seed is there") == tables);
}

/// A file with one byte range replaced, and the checksum of the section at `at` made to fit again.
fn forged(at: usize, name: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = saved(&Recording::default());
    let old = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("4 bytes")) as usize;
    let mut section = Vec::new();
    write_section_bytes(&mut section, name, payload).expect("a vector takes everything");
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
    bytes[8] = 6;
    check(
        &bytes,
        "the capture has format version 6, but this profiler reads version 5\n  try: the profiler that recorded",
    );
}

#[test]
fn an_older_version_is_named() {
    let mut bytes = saved(&example());
    bytes[8] = 4;
    check(&bytes, "the capture has format version 4, which was last read by profiler 0.1.0; this one reads");
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
    bytes[12 + 8..12 + 12].fill(0xff);
    check(&bytes, "the capture is corrupt: in section `meta`, the length is above the limit");
}

#[test]
fn a_number_of_rows_that_cannot_be_there_is_refused() {
    // An array of 2^32 - 1 rows, in the place of the first section.
    let rows = [0xdd, 0xff, 0xff, 0xff, 0xff];
    check(&forged(12, "process", &rows), "the capture is corrupt: in section `process`, its table cannot");
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
    let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has /dev/full");
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
