//! Captures that earlier versions have written: each is read, and says what it said when it was written.
//!
//! A file here is never replaced. A version that changes what captures hold adds one of its own.

use std::fs::File;
use std::path::Path;

use profiler_common::state;
use profiler_report::{
    analyze::Report,
    capture,
    recording::{Recording, Span},
    report::{Json, Render as _, Text},
};

fn load(name: &str) -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name);
    let mut file = File::open(path).expect("the capture is there");
    capture::load(&mut file).expect("every later version reads it")
}

/// Rounded.
fn milliseconds_in(span: &Span, state: u32) -> u64 {
    let ns: u64 = span.threads.iter().map(|thread| thread.state_ns[state as usize]).sum();
    (ns + 500_000) / 1_000_000
}

/// Python that sleeps for two seconds, writes and syncs for two, and computes for two, on a busy machine of two CPUs (Linux 6.18). The
/// numbers are those of the report that the recording program printed.
#[test]
fn format_5_of_sleep_fsync_and_computing() {
    let recording = load("5-sleep-fsync-compute.prof");
    let whole = recording.whole();
    assert_eq!(recording.windows.len(), 6);
    assert_eq!((whole.threads.len(), whole.processes.len()), (1, 1));
    let times = [state::ON_CPU, state::FSYNC, state::TIMER].map(|state| milliseconds_in(&whole, state));
    assert_eq!(times, [2034, 85, 3484]);
    let report = Report::over_time(&recording, &whole);
    Text::default().render(&report, &mut vec![]).expect("a vector takes everything");
    Json.render(&report, &mut vec![]).expect("a vector takes everything");
}
