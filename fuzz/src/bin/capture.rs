//! A capture file: refused, or it is written as it was read, and each report can be made of it.
//!
//! Few changes of a capture keep its checksums, its lengths and the compression right. So each input is read twice: as a capture,
//! and as the tables of one before they are compressed: behind the header each is preceded by its length (16 bits, little
//! endian), in the order of the sections.
#![no_main]

use profiler_report::analyze::Report;
use profiler_report::analyze::flame::{Flame, View};
use profiler_report::capture;
use profiler_report::recording::Recording;
use profiler_report::report::{Json, Render as _, Style, Text, folded, svg};

/// As docs/capture-format.md has them.
const FILE_HEADER_BYTES: usize = 12;
const SECTIONS: [&str; 15] = [
    "meta", "followed", "process", "thread", "module", "frame", "name", "stack", "lock", "disk", "window",
    "skipped", "debuginf", "budget", "end",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let recording = capture::load(&mut &*bytes);
    let Some(recording) = recording.ok().or_else(|| capture::load(&mut packed(bytes)?.as_slice()).ok())
    else {
        return;
    };
    check_saved(&recording);
    let span = recording.whole();
    let report = Report::over_time(&recording, &span);
    let mut out = Vec::new();
    for colour in [false, true] {
        Text { style: Style { colour, ..Style::default() } }
            .render(&report, &mut out)
            .expect("a vector takes everything");
    }
    Json.render(&report, &mut out).expect("a vector takes everything");
    let header = svg::Header { target: recording.meta.target.clone(), ..svg::Header::default() };
    for view in [View::Wall, View::Cpu, View::OffCpu] {
        let flame = Flame::new(&span, view);
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

/// The capture of these tables. None if the header is missing.
fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = bytes.split_at_checked(FILE_HEADER_BYTES)?;
    let mut capture = header.to_vec();
    for name in SECTIONS {
        let (length, tail) = rest.split_first_chunk().unwrap_or((&[0, 0], &[]));
        let (table, tail) = tail.split_at(tail.len().min(u16::from_le_bytes(*length).into()));
        rest = tail;
        capture::write_section_bytes(&mut capture, name, table).ok()?;
    }
    Some(capture)
}
