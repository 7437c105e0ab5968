//! A capture file: refused, or it is written as it was read, and each report can be made of it.
//!
//! Few changes of a capture keep its checksums and lengths right. So each input is read twice: as it is, and with them
//! mended.
#![no_main]

use profiler_report::analyze::Report;
use profiler_report::analyze::flame::{Flame, View};
use profiler_report::capture;
use profiler_report::recording::Recording;
use profiler_report::report::{Json, Render as _, Style, Text, folded, svg};

/// As docs/capture-format.md has them.
const FILE_HEADER_BYTES: usize = 12;
const SECTION_HEADER_BYTES: usize = 20;
const SECTIONS: [&[u8; 8]; 11] = [
    b"meta\0\0\0\0",
    b"process\0",
    b"thread\0\0",
    b"module\0\0",
    b"frame\0\0\0",
    b"name\0\0\0\0",
    b"stack\0\0\0",
    b"sample\0\0",
    b"quality\0",
    b"cost\0\0\0\0",
    b"end\0\0\0\0\0",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let recording = capture::load(&mut &*bytes);
    let Some(recording) = recording.ok().or_else(|| capture::load(&mut mended(bytes)?.as_slice()).ok())
    else {
        return;
    };
    check_saved(&recording);
    let report = Report::new(&recording);
    let mut out = Vec::new();
    for colour in [false, true] {
        Text { style: Style { colour } }.render(&report, &mut out).expect("a vector takes everything");
    }
    Json.render(&report, &mut out).expect("a vector takes everything");
    let header = svg::Header { target: recording.meta.target.clone(), ..svg::Header::default() };
    for view in [View::Wall, View::Cpu, View::OffCpu] {
        let flame = Flame::new(&recording, view);
        folded::render(&flame, &mut out).expect("a vector takes everything");
        svg::render(&flame, &header, &mut out).expect("a vector takes everything");
    }
});

/// Compared as bytes: a number that is not a number equals nothing, itself included.
fn check_saved(recording: &Recording) {
    let saved = |recording: &Recording| {
        let mut bytes = Vec::new();
        capture::save(recording, &mut bytes).expect("a vector takes everything");
        bytes
    };
    let bytes = saved(recording);
    let again = capture::load(&mut bytes.as_slice()).expect("what was saved is loaded");
    assert!(bytes == saved(&again));
}

/// The capture with lengths and checksums made right: a section goes from its name to the name of the next.
/// None if a name is missing.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = bytes.split_at_checked(FILE_HEADER_BYTES)?;
    let mut mended = header.to_vec();
    for (index, name) in SECTIONS.iter().enumerate() {
        let body = rest.strip_prefix(*name)?;
        let end = match SECTIONS.get(index + 1) {
            Some(next) => body.windows(next.len()).position(|part| part == *next)?,
            None => body.len(),
        };
        let payload = body.get(SECTION_HEADER_BYTES - name.len()..end)?;
        let length = (payload.len() as u64).to_le_bytes();
        let mut checksum = crc32fast::Hasher::new();
        [name.as_slice(), &length, payload].iter().for_each(|part| checksum.update(part));
        mended.extend([name.as_slice(), &length, &checksum.finalize().to_le_bytes(), payload].concat());
        rest = &body[end..];
    }
    Some(mended)
}
