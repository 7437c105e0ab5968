//! The functions at which a stack of a Go program ends.
//!
//! In: `.gopclntab`, which every Go program has, stripped or not. Out: where its outermost functions lie. Some of them
//! have switched stacks: what lies above them is not theirs, and unwinding further would invent callers.
//!
//! ```text
//! 0xfffffff1 (1.20) or 0xfffffff0 (1.18)   0 0   minimum instruction: 1   pointer: 1
//! functions, files, start of text, names, compilation units, files, tables, functions: 8 each, offsets from here
//! functions: (start from the start of text: 4, offset of its description from here: 4)…, end: 4
//! description: start: 4   offset of its name: 4   …
//! ```
//! `0xfffffffa` (1.16) has no start of text, and eight bytes instead of four for starts and offsets of functions.

use std::ops::Range;

use crate::read_at::ReadAt;

/// As Go's own traceback has them (`topofstack` in runtime/traceback.go), and those that come from a goroutine's stack and
/// go on on that of the thread (runtime/asm_amd64.s, sys_linux_amd64.s, time_linux_amd64.s).
const OUTERMOST: [(&[u8], Outermost); 10] = [
    (b"runtime.goexit", Outermost::First),
    (b"runtime.mstart", Outermost::First),
    (b"runtime.mcall", Outermost::First),
    (b"runtime.morestack", Outermost::First),
    (b"runtime.rt0_go", Outermost::First),
    (b"runtime.systemstack", Outermost::Switched),
    (b"runtime.asmcgocall", Outermost::SwitchedForFirstCall),
    (b"runtime.nanotime1", Outermost::IntoVdso),
    (b"runtime.walltime", Outermost::IntoVdso),
    (b"time.now", Outermost::IntoVdso),
];
/// Functions that are looked at: the largest programs have some hundred thousand.
const FUNCTIONS: u64 = 2 << 20;
/// Bytes of names that are searched.
const NAME_BYTES: u64 = 64 << 20;
/// Bytes read at once.
const WINDOW_BYTES: usize = 256 * 1024;

/// Why a function has no caller on its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outermost {
    /// It is the first of its stack.
    First,
    /// Its caller is on another stack, that of the goroutine.
    Switched,
    /// The same up to the end of its first call of a function in a register, which is made after the switch; the later ones
    /// are made without.
    SwitchedForFirstCall,
    /// So is its own frame, if it calls into the vDSO.
    IntoVdso,
}

/// Where the section lies in the file, and `.text` in memory.
pub struct Place {
    pub file: Range<u64>,
    pub text_svma: u64,
}

/// The outermost functions, sorted; none if the table has another form.
pub fn outermost<R: ReadAt + ?Sized>(source: &R, place: &Place) -> Vec<(Range<u64>, Outermost)> {
    read(source, place).unwrap_or_default()
}

struct Layout {
    functions: u64,
    text: u64,
    names: Range<u64>,
    table: u64,
    wide: bool,
}

fn read<R: ReadAt + ?Sized>(source: &R, place: &Place) -> Option<Vec<(Range<u64>, Outermost)>> {
    let mut table = Window { source, section: place.file.clone(), from: 0, bytes: vec![] };
    let layout = layout(&mut table, place.text_svma)?;
    let names = outermost_names(&mut table, &layout.names)?;
    let mut descriptions = Window { source, section: place.file.clone(), from: 0, bytes: vec![] };
    let mut found = vec![];
    let width = if layout.wide { 8 } else { 4 };
    let base = if layout.wide { 0 } else { layout.text };
    for index in 0..layout.functions.min(FUNCTIONS) {
        let row = layout.table.checked_add(index * 2 * width)?;
        let offset = table.number(row.checked_add(width)?, width)?;
        let description = layout.table.checked_add(offset)?.checked_add(width)?;
        let name = descriptions.number(description, 4)?;
        if let Some((_, why)) = names.iter().find(|(offset, _)| *offset == name) {
            let start = table.number(row, width)?;
            let end = table.number(row.checked_add(2 * width)?, width)?;
            found.push((base.wrapping_add(start)..base.wrapping_add(end), *why));
        }
    }
    Some(found)
}

fn layout<R: ReadAt + ?Sized>(table: &mut Window<'_, R>, text_svma: u64) -> Option<Layout> {
    let wide = match table.number(0, 4)? {
        0xffff_fff0 | 0xffff_fff1 => false,
        0xffff_fffa => true,
        _ => return None,
    };
    if table.number(7, 1)? != 8 {
        return None;
    }
    let mut field = |index: u64| table.number(8 + 8 * index, 8);
    // Where a loader fills in the start of text, the file may have a zero.
    let text = if wide { 0 } else { Some(field(2)?).filter(|&text| text != 0).unwrap_or(text_svma) };
    let first = if wide { 2 } else { 3 };
    let names = field(first)?..field(first + 1)?;
    Some(Layout { functions: field(0)?, text, names, table: field(first + 4)?, wide })
}

/// Offsets of the names, each of which ends with a zero.
fn outermost_names<R: ReadAt + ?Sized>(
    table: &mut Window<'_, R>,
    names: &Range<u64>,
) -> Option<Vec<(u64, Outermost)>> {
    let mut found = vec![];
    let mut at = names.start;
    let end = names.end.min(names.start.checked_add(NAME_BYTES)?);
    while at < end {
        let bytes = table.at(at)?;
        let length = bytes.iter().rposition(|&byte| byte == 0)? + 1;
        let mut offset = at - names.start;
        for name in bytes[..length].split_inclusive(|&byte| byte == 0) {
            let plain = &name[..name.len() - 1];
            let plain = plain.strip_suffix(b".abi0").unwrap_or(plain);
            if let Some((_, why)) = OUTERMOST.iter().find(|(outermost, _)| *outermost == plain) {
                found.push((offset, *why));
            }
            offset += name.len() as u64;
        }
        at += length as u64;
    }
    Some(found)
}

/// A section that is read piece by piece, mostly forward.
struct Window<'a, R: ?Sized> {
    source: &'a R,
    section: Range<u64>,
    from: u64,
    bytes: Vec<u8>,
}

impl<R: ReadAt + ?Sized> Window<'_, R> {
    /// A little-endian number of up to eight bytes.
    fn number(&mut self, offset: u64, width: u64) -> Option<u64> {
        let inside = |window: &Self| {
            let from = usize::try_from(offset.checked_sub(window.from)?).ok()?;
            window
                .bytes
                .get(from..)?
                .get(..width as usize)
                .map(|bytes| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
        };
        inside(self).or_else(|| {
            self.at(offset)?;
            inside(self)
        })
    }

    /// The bytes from `offset` on, as many as a window has.
    fn at(&mut self, offset: u64) -> Option<&[u8]> {
        let start = self.section.start.checked_add(offset)?;
        let length = self.section.end.checked_sub(start)?.min(WINDOW_BYTES as u64) as usize;
        self.bytes.resize(length, 0);
        self.from = offset;
        if length == 0 || self.source.read_at(start, &mut self.bytes).is_err() {
            self.bytes.clear();
        }
        (!self.bytes.is_empty()).then_some(&self.bytes)
    }
}
