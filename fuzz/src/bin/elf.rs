//! A mapped file and a stack in it: the file is refused, or unwinding ends with no more frames than asked for.
//!
//! Its tables may be `.eh_frame` with an index or without, or `.debug_frame`, compressed or not; both architectures unwind
//! with them. The input is the file, and behind it [`TAIL_BYTES`]: instruction pointer, stack pointer, frame pointer, link
//! register, and the stack. The file is mapped at [`BASE`].
#![no_main]

use std::sync::Arc;

use profiler::unwind::{
    Arch, ArchUnwinder, Arm, Captured, Image, Location, Mapping, Registers, X86, parse_image,
};
use profiler_report::recording::{Method, StackEnd};

const TAIL_BYTES: usize = 256;
const BASE: u64 = 0x10_0000;
const MOST_FRAMES: usize = 64;
/// The profiler's own bound is 48 MiB; this one is small enough that a file can exceed it.
const TABLE_BYTES: u64 = 2048;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((file, tail)) = bytes.split_last_chunk::<TAIL_BYTES>() else { return };
    let Ok(image) = parse_image(file, TABLE_BYTES) else { return };
    assert!(image.tables.as_ref().is_none_or(|tables| tables.bytes() <= TABLE_BYTES));
    let image = Arc::new(image);
    unwind::<X86>(&image, file.len() as u64, tail);
    unwind::<Arm>(&image, file.len() as u64, tail);
});

fn unwind<A: Arch>(image: &Arc<Image>, file_bytes: u64, tail: &[u8]) {
    let end = BASE + file_bytes;
    let mappings = [
        Mapping { start: BASE, end, file_offset: 0, image: Some(0) },
        Mapping { start: end, end: end + 4096, file_offset: 0, image: None },
    ];
    let mut unwinder = ArchUnwinder::<A>::new(mappings.into(), |_| Some(image.clone()));
    let (registers, stack) = tail.split_at(32);
    let word = |index: usize| u64::from_le_bytes(registers.as_chunks().0[index]);
    let registers = Registers { ip: word(0), sp: word(1), fp: word(2), lr: word(3) };
    // Again from the first word of the stack: by then there are cached rules.
    let inner = u64::from_le_bytes(*stack.first_chunk().expect("the stack has words"));
    for ip in [registers.ip, inner, registers.ip] {
        let mut frames = vec![];
        let unwound =
            unwinder.unwind(Captured::new(Registers { ip, ..registers }, stack), MOST_FRAMES, &mut frames);
        assert!(unwound.end != StackEnd::NoUserStack && unwound.method != Method::None);
        assert!((1..=MOST_FRAMES).contains(&frames.len()));
        let inside = |frame: &Location| match *frame {
            Location::File { image, file_offset } => image == 0 && file_offset < file_bytes,
            Location::Unmapped { .. } => true,
        };
        assert!(frames.iter().all(inside));
    }
}
