//! A recording read from foreign bytes: refused, or its tables fit together and it is written as it was read.
#![no_main]

use profiler::recording::Recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(recording) = postcard::from_bytes::<Recording>(bytes) else { return };
    if recording.validate().is_err() {
        return;
    }
    for sample in &recording.samples {
        let stack = &recording.stacks[sample.stack as usize];
        let frames = stack.kernel.iter().chain(&stack.user);
        assert!(frames.into_iter().all(|&frame| (frame as usize) < recording.frames.len()));
        assert!((recording.threads[sample.thread as usize].process as usize) < recording.processes.len());
    }
    // Compared as bytes: a number that is not a number equals nothing, itself included.
    let written = postcard::to_allocvec(&recording).expect("what was read can be written");
    let again: Recording = postcard::from_bytes(&written).expect("what was written can be read");
    assert_eq!(written, postcard::to_allocvec(&again).expect("what was read can be written"));
});
