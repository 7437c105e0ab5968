//! Whether unwind tables say something about an address, and whether evaluating that is harmless.
//!
//! framehop answers neither: where tables say nothing, it silently follows the frame pointer, and an expression that
//! jumps backward makes it spin for ever. So each code address is judged here once before framehop may look at it.

use gimli::{
    BaseAddresses, CallFrameInstruction, CallFrameInstructionIter, CieOrFde, EhFrame, EhFrameHdr,
    EndianSlice, Expression, FrameDescriptionEntry, LittleEndian, Operation, UnwindExpression, UnwindSection,
};

use super::tables::Tables;

/// Longest entry that is evaluated: real ones stay below a few KiB, and an entry is walked for each frame.
const ENTRY_BYTES: usize = 64 * 1024;
/// Longest expression that is evaluated: those of signal frames and of the PLT have 3 to 12 bytes.
const EXPRESSION_BYTES: usize = 256;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// What the tables of an image say about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Nothing: the frame pointer is followed.
    None,
    /// How to unwind a function.
    Function,
    /// How to unwind a signal frame: the caller's address is where it was interrupted, not where a call returns to.
    SignalFrame,
    /// Something that could take for ever.
    Refused,
}

/// Judges one address of an image.
pub fn coverage(tables: &Tables, svma: u64) -> Coverage {
    let (Some(header), Some(frames)) = (&tables.eh_frame_hdr, &tables.eh_frame) else {
        return Coverage::Function; // indexed by framehop and judged as a whole by `all_harmless`
    };
    let bases = tables.bases();
    let section = EhFrame::new(&frames.bytes, LittleEndian);
    let entry = match indexed_entry(&header.bytes, &section, &bases, svma) {
        Ok(entry) => entry,
        Err(coverage) => return coverage,
    };
    if !entry_is_harmless(&entry, &section, &bases) {
        Coverage::Refused
    } else if !entry.contains(svma) {
        Coverage::None
    } else if entry.is_signal_trampoline() {
        Coverage::SignalFrame
    } else {
        Coverage::Function
    }
}

/// The entry that the index has for an address, or what it means that there is none.
fn indexed_entry<'a>(
    header: &'a [u8],
    section: &EhFrame<Bytes<'a>>,
    bases: &BaseAddresses,
    svma: u64,
) -> Result<FrameDescriptionEntry<Bytes<'a>>, Coverage> {
    let nothing = |_| Coverage::None;
    let header = EhFrameHdr::new(header, LittleEndian).parse(bases, 8).map_err(nothing)?;
    let table = header.table().ok_or(Coverage::None)?;
    let entry = table.lookup(svma, bases).map_err(nothing)?;
    // gimli, and so framehop, subtracts the two without a check.
    if entry.pointer() < header.eh_frame_ptr().pointer() {
        return Err(Coverage::Refused);
    }
    let offset = table.pointer_to_offset(entry).map_err(nothing)?;
    section.fde_from_offset(bases, offset, EhFrame::cie_from_offset).map_err(nothing)
}

/// Judges a whole table that has no index. False also for one that cannot be walked to its end.
pub fn all_harmless<'a, S: UnwindSection<Bytes<'a>>>(section: &S, bases: &BaseAddresses) -> bool {
    let mut entries = section.entries(bases);
    loop {
        match entries.next() {
            Ok(None) => return true,
            Ok(Some(CieOrFde::Cie(_))) => {}
            Ok(Some(CieOrFde::Fde(partial))) => match partial.parse(S::cie_from_offset) {
                Ok(entry) if entry_is_harmless(&entry, section, bases) => {}
                _ => return false,
            },
            Err(_) => return false,
        }
    }
}

fn entry_is_harmless<'a, S: UnwindSection<Bytes<'a>>>(
    entry: &FrameDescriptionEntry<Bytes<'a>>,
    section: &S,
    bases: &BaseAddresses,
) -> bool {
    let encoding = entry.cie().encoding();
    entry.entry_len() <= ENTRY_BYTES
        && entry.cie().entry_len() <= ENTRY_BYTES
        && all_expressions(entry.cie().instructions(section, bases), section, encoding)
        && all_expressions(entry.instructions(section, bases), section, encoding)
}

/// Whether each expression among `instructions` is harmless. What cannot be parsed ends the walk here as it ends
/// the evaluation.
fn all_expressions<'a, S: UnwindSection<Bytes<'a>>>(
    mut instructions: CallFrameInstructionIter<'_, Bytes<'a>>,
    section: &S,
    encoding: gimli::Encoding,
) -> bool {
    while let Ok(Some(instruction)) = instructions.next() {
        let (CallFrameInstruction::DefCfaExpression { expression }
        | CallFrameInstruction::Expression { expression, .. }
        | CallFrameInstruction::ValExpression { expression, .. }) = instruction
        else {
            continue;
        };
        if !expression_is_harmless(&expression, section, encoding) {
            return false;
        }
    }
    true
}

/// Short and without any jump: a jump forward may land in the middle of an operation that is a jump backward.
fn expression_is_harmless<'a, S: UnwindSection<Bytes<'a>>>(
    expression: &UnwindExpression<usize>,
    section: &S,
    encoding: gimli::Encoding,
) -> bool {
    if expression.length > EXPRESSION_BYTES {
        return false;
    }
    let Ok(Expression(bytes)) = expression.get(section) else { return true };
    let mut operations = Expression(bytes).operations(encoding);
    while let Ok(Some(operation)) = operations.next() {
        if matches!(operation, Operation::Skip { .. } | Operation::Bra { .. }) {
            return false;
        }
    }
    true
}
