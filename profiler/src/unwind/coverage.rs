//! What unwind tables say about an address, and whether evaluating that is harmless.
//!
//! framehop answers neither: where tables say nothing, or a rule reads memory, it silently follows the frame pointer,
//! and an expression that jumps backward makes it spin for ever. So each code address is judged here once before
//! framehop may look at it.

use gimli::{
    CallFrameInstruction, CallFrameInstructionIter, CfaRule, EhFrame, EhFrameHdr, Expression,
    FrameDescriptionEntry, LittleEndian, Operation, RegisterRule, UnwindContext, UnwindExpression,
    UnwindSection, UnwindTableRow,
};

use super::arch::Arch;
use super::evaluate::Row;
use super::section::{Bytes, Entries};
use super::tables::Tables;

/// Longest entry that is evaluated: real ones stay below a few KiB.
const ENTRY_BYTES: usize = 64 * 1024;
/// Longest expression that is evaluated: those of signal frames and of the PLT have 3 to 12 bytes.
const EXPRESSION_BYTES: usize = 256;

/// What the tables of an image say about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Nothing.
    None,
    /// The return address is undefined: a thread's first function.
    End,
    /// A rule that framehop applies and remembers.
    Rule,
    /// A rule that [`super::evaluate`] has to evaluate each time.
    Evaluated,
    /// Something that could take for ever.
    Refused,
}

/// How the frame at one address is to be unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub coverage: Coverage,
    /// The caller's address is where it was interrupted, not where a call returns to.
    pub signal: bool,
}

impl Judgement {
    pub const NOTHING: Self = Self { coverage: Coverage::None, signal: false };
    const REFUSED: Self = Self { coverage: Coverage::Refused, signal: false };
}

/// Judges one address of an image.
pub fn judge<A: Arch>(tables: &Tables, svma: u64, context: &mut UnwindContext<usize>) -> Judgement {
    let section = tables.section();
    let entry = match entry(tables, &section, svma) {
        Ok(entry) => entry,
        Err(judgement) => return judgement,
    };
    let signal = entry.is_signal_trampoline();
    let row = entry.unwind_info_for_address(&section, &tables.bases(), context, svma);
    let coverage = row.map_or(Coverage::None, |row| kind::<A>(row));
    Judgement { coverage, signal }
}

/// Whether tables say nothing about an address.
pub fn is_gap(tables: &Tables, svma: u64) -> bool {
    entry(tables, &tables.section(), svma).is_err_and(|judgement| judgement == Judgement::NOTHING)
}

/// Gives the row of an address that was judged before.
pub fn with_row<T>(
    tables: &Tables,
    svma: u64,
    context: &mut UnwindContext<usize>,
    evaluate: impl FnOnce(&Row<'_>) -> Option<T>,
) -> Option<T> {
    let section = tables.section();
    let entry = entry(tables, &section, svma).ok()?;
    let encoding = entry.cie().encoding();
    let row = entry.unwind_info_for_address(&section, &tables.bases(), context, svma).ok()?;
    evaluate(&Row { row, section: &section, encoding })
}

/// The harmless entry that covers an address, or what it means that there is none.
fn entry<'a>(
    tables: &'a Tables,
    section: &Entries<'a>,
    svma: u64,
) -> Result<FrameDescriptionEntry<Bytes<'a>>, Judgement> {
    let nothing = |_| Judgement::NOTHING;
    let bases = tables.bases();
    let header = EhFrameHdr::new(&tables.index.bytes, LittleEndian).parse(&bases, 8).map_err(nothing)?;
    let table = header.table().ok_or(Judgement::NOTHING)?;
    let found = table.lookup(svma, &bases).map_err(nothing)?;
    // gimli, and so framehop, subtracts the two without a check.
    if found.pointer() < header.eh_frame_ptr().pointer() {
        return Err(Judgement::REFUSED);
    }
    let offset = table.pointer_to_offset(found).map_err(nothing)?;
    let entry = section.fde_from_offset(&bases, offset, EhFrame::cie_from_offset).map_err(nothing)?;
    if !is_harmless(&entry, section, tables) {
        Err(Judgement::REFUSED)
    } else if !entry.contains(svma) {
        Err(Judgement::NOTHING)
    } else {
        Ok(entry)
    }
}

/// Who can apply a row.
fn kind<A: Arch>(row: &UnwindTableRow<usize>) -> Coverage {
    let plain = |rule: &Option<RegisterRule<usize>>| {
        let plain = |rule: &RegisterRule<usize>| {
            matches!(rule, RegisterRule::Undefined | RegisterRule::SameValue | RegisterRule::Offset(_))
        };
        rule.as_ref().is_none_or(plain)
    };
    let back = row.register(A::RETURN);
    // Where the architecture's call leaves the return address in a register, no rule means: still there.
    let undefined = match back {
        None => !A::LEAF_KEEPS_SP,
        Some(RegisterRule::Undefined) => true,
        _ => false,
    };
    if undefined {
        return Coverage::End;
    }
    let frame_pointer = row.register(A::FP);
    let saved_where_calls_leave_it = A::LEAF_KEEPS_SP || back == Some(RegisterRule::Offset(-8));
    let others_plain = plain(&frame_pointer) && plain(&back) && row.register(A::SP).is_none();
    let of_plain_register = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            let by_stack = *register == A::SP && offset % 8 == 0 && (0..0x8_0000).contains(offset);
            by_stack || (*register == A::FP && is_usual_frame::<A>(*offset, frame_pointer.as_ref()))
        }
        CfaRule::Expression(_) => false,
    };
    if saved_where_calls_leave_it && others_plain && of_plain_register {
        Coverage::Rule
    } else {
        Coverage::Evaluated
    }
}

/// Whether the frame pointer points to its own saved value, as the usual prologue leaves it.
fn is_usual_frame<A: Arch>(cfa: i64, saved: Option<&RegisterRule<usize>>) -> bool {
    matches!(saved, Some(RegisterRule::Offset(at)) if A::LEAF_KEEPS_SP || (cfa == 16 && *at == -16))
}

fn is_harmless<'a>(
    entry: &FrameDescriptionEntry<Bytes<'a>>,
    section: &Entries<'a>,
    tables: &'a Tables,
) -> bool {
    let encoding = entry.cie().encoding();
    let bases = &tables.bases();
    entry.entry_len() <= ENTRY_BYTES
        && entry.cie().entry_len() <= ENTRY_BYTES
        && all_expressions(entry.cie().instructions(section, bases), section, encoding)
        && all_expressions(entry.instructions(section, bases), section, encoding)
}

/// Whether each expression among `instructions` is harmless. What cannot be parsed ends the walk here as it ends
/// the evaluation.
fn all_expressions<'a>(
    mut instructions: CallFrameInstructionIter<'_, Bytes<'a>>,
    section: &Entries<'a>,
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
fn expression_is_harmless(
    expression: &UnwindExpression<usize>,
    section: &Entries<'_>,
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
