//! A capture that was cut anywhere, or of which any bytes were changed: it is refused, or what is read of it is reported. Nothing
//! panics.

use std::env;
use std::fs;
use std::io::sink;
use std::process::Command;

use profiler_report::analyze::{
    Report,
    flame::{Flame, View},
};
use profiler_report::capture;
use profiler_report::report::{Json, Render as _, Style, Text, folded, svg};
use profiler_tests::workload::Scatter;

/// What the fuzzer starts from: a recording with something in each of its tables.
const EXAMPLE: &[u8] = include_bytes!("../../fuzz/seeds/capture/example.prof");
const TRIES: usize = 1000;

/// Magic and version; name, lengths and checksum (docs/capture-format.md).
const FILE_HEADER_BYTES: usize = 12;
const SECTION_HEADER_BYTES: usize = 20;

/// The example, and where this user may record: the whole machine for half a second.
fn captures() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("machine.prof");
    let mut command = Command::new(env!("CARGO_BIN_EXE_profiler"));
    let finished =
        command.args(["record", "-q", "-a", "-d", "500ms", "-o"]).arg(&path).output().expect("it runs");
    let machine = fs::read(&path);
    if machine.is_err() {
        eprintln!("only the example: {}", String::from_utf8_lossy(&finished.stderr));
    }
    [EXAMPLE.to_vec()].into_iter().chain(machine).collect()
}

/// What `profiler report` does with a file, in all formats. Whether it was refused.
fn is_refused(bytes: &[u8]) -> bool {
    let Ok(recording) = capture::load(&mut &*bytes) else { return true };
    let span = recording.whole();
    let report = Report::over_time(&recording, &span);
    Text { style: Style { colour: true, ..Style::default() } }
        .render(&report, &mut sink())
        .expect("nobody refuses it");
    Json.render(&report, &mut sink()).expect("nobody refuses it");
    for view in [View::Wall, View::Cpu, View::OffCpu] {
        let flame = Flame::new(&span, view);
        folded::render(&flame, &mut sink()).expect("nobody refuses it");
        svg::render(&flame, &svg::Header::default(), &mut sink()).expect("nobody refuses it");
    }
    false
}

#[test]
fn a_capture_that_is_cut_anywhere_is_refused() {
    let mut random = Scatter::seeded();
    for whole in captures() {
        assert!(!is_refused(&whole));
        for _ in 0..TRIES {
            let length = random.below(whole.len() as u64) as usize;
            assert!(is_refused(&whole[..length]), "{length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn a_capture_with_a_changed_byte_is_refused() {
    let mut random = Scatter::seeded();
    for mut bytes in captures() {
        for _ in 0..TRIES {
            let (at, change) = (random.below(bytes.len() as u64) as usize, 1 + random.below(255) as u8);
            bytes[at] ^= change;
            assert!(is_refused(&bytes), "byte {at} changed by {change:#x}");
            bytes[at] ^= change;
        }
    }
}

/// Somebody who wants to do harm makes the checksums fit.
#[test]
fn a_capture_with_changed_bytes_and_checksums_that_fit_is_refused_or_reported() {
    let mut random = Scatter::seeded();
    let mut reported = 0;
    for whole in captures() {
        let sections = sections(&whole);
        for _ in 0..TRIES {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                if sections
                    .iter()
                    .any(|(from, length)| (from + SECTION_HEADER_BYTES..from + length).contains(&at))
                {
                    bytes[at] = random.below(256) as u8;
                }
            }
            for &(from, length) in &sections {
                mend(&mut bytes[from..from + length]);
            }
            reported += usize::from(!is_refused(&bytes));
        }
    }
    assert!(reported > TRIES / 20, "only {reported} were not refused: the checksums do not fit");
}

/// Where each section begins, and its length with its header.
fn sections(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut sections = vec![];
    let mut from = FILE_HEADER_BYTES;
    while from < bytes.len() {
        let length = u32::from_le_bytes(bytes[from + 8..from + 12].try_into().expect("4 bytes"));
        sections.push((from, SECTION_HEADER_BYTES + length as usize));
        from += SECTION_HEADER_BYTES + length as usize;
    }
    sections
}

/// The checksum is of what stands before and behind it.
fn mend(section: &mut [u8]) {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&section[..16]);
    checksum.update(&section[SECTION_HEADER_BYTES..]);
    section[16..SECTION_HEADER_BYTES].copy_from_slice(&checksum.finalize().to_le_bytes());
}
