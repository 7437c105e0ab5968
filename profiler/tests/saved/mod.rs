//! The saved snapshots: registers and stacks of a program of ours, at places that matter to unwinding.
//!
//! `program` is program.c, compiled; `stacks` has three lines for each snapshot, with hexadecimal numbers:
//!
//! ```text
//! name: instruction pointer, stack pointer, frame pointer
//!   words of the stack, from its pointer upward
//!   = end: frames, as watching the program's calls has shown them
//! ```
//! `UPDATE_GOLDEN=1 cargo test -p profiler --test single_step the_saved` makes both anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use profiler::unwind::{Mapping, Registers, Unwinder, parse_image};

/// Where the program is linked to.
pub const BASE: u64 = 0x40_0000;

/// One snapshot, and what is true of it.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub registers: Registers,
    pub stack: Vec<u8>,
    pub end: String,
    pub frames: Vec<u64>,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/saved")
}

pub fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("stacks")).expect("the saved snapshots");
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks_exact(3).map(|lines| parse(lines).expect("a snapshot")).collect()
}

fn parse(lines: &[&str]) -> Option<Case> {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split_whitespace().map(|word| u64::from_str_radix(word, 16).ok()).collect()
    };
    let (name, registers) = lines[0].split_once(": ")?;
    let &[ip, sp, fp] = numbers(registers)?.as_slice() else { return None };
    let stack = numbers(lines[1])?.into_iter().flat_map(u64::to_le_bytes).collect();
    let (end, frames) = lines[2].trim().strip_prefix("= ")?.split_once(": ")?;
    Some(Case {
        name: name.to_owned(),
        registers: Registers { ip, sp, fp, lr: 0 },
        stack,
        end: end.to_owned(),
        frames: numbers(frames)?,
    })
}

/// The address space of the program: its one file.
pub fn unwinder() -> Unwinder {
    let file = std::fs::read(folder().join("program")).expect("the saved program");
    let image = Arc::new(parse_image(file.as_slice(), 1 << 20).expect("an image"));
    let mapping = Mapping { start: BASE, end: BASE + 0x1000, file_offset: 0, image: Some(0) };
    Unwinder::new([mapping].into(), |_| Some(image.clone()))
}
