//! Evaluates one row of an unwind table where framehop does not: rules that read memory, as those of signal frames and of
//! functions that align their stack.

use gimli::{
    CfaRule, Encoding, Evaluation, EvaluationResult, Location, RegisterRule, UnwindExpression,
    UnwindTableRow, Value,
};

use super::arch::{Arch, Frame};
use super::section::{Bytes, Entries};

/// A row, and what its expressions need.
pub struct Row<'a> {
    pub row: &'a UnwindTableRow<usize>,
    pub section: &'a Entries<'a>,
    pub encoding: Encoding,
}

/// What is known of a frame's registers.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    pub frame: Frame,
    /// [`Arch::BASE`], once a callee has been seen to save it.
    pub base: Option<u64>,
}

/// Reads eight bytes of the stack.
pub trait Read: FnMut(u64) -> Result<u64, ()> {}
impl<F: FnMut(u64) -> Result<u64, ()>> Read for F {}

impl Row<'_> {
    /// Whether the frame lies by the one register more that can be tracked.
    pub fn is_by_base<A: Arch>(&self) -> bool {
        let by = match self.row.cfa() {
            CfaRule::RegisterAndOffset { register, .. } => Some(*register),
            CfaRule::Expression(_) => None,
        };
        by.is_some() && by == A::BASE
    }

    /// The caller's registers; none if a rule needs a register that is not known, or memory outside of the snapshot.
    pub fn caller<A: Arch>(&self, frame: Tracked, read: &mut impl Read) -> Option<Tracked> {
        let Tracked { frame, base } = frame;
        let known = |number| match number {
            _ if number == A::SP => Some(frame.sp),
            _ if number == A::FP => Some(frame.fp),
            _ if number == A::RETURN => Some(frame.ip),
            _ if Some(number) == A::BASE => base,
            _ => None,
        };
        let mut scope = Scope { row: self, known: &known, read };
        let cfa = match self.row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => known(*register)?.wrapping_add_signed(*offset),
            CfaRule::Expression(expression) => scope.evaluate(expression, None)?,
        };
        let ip = scope.register(&self.row.register(A::RETURN)?, cfa, Some(frame.ip))?;
        let sp = match self.row.register(A::SP) {
            Some(rule) => scope.register(&rule, cfa, Some(cfa))?,
            None => cfa,
        };
        let fp = match self.row.register(A::FP) {
            // What an epilogue has popped already, its table still calls saved, below the stack pointer.
            Some(rule) => scope.register(&rule, cfa, Some(frame.fp)).unwrap_or(frame.fp),
            None => frame.fp,
        };
        let base = match A::BASE.and_then(|number| self.row.register(number)) {
            Some(rule) => scope.register(&rule, cfa, base),
            None => base,
        };
        Some(Tracked { frame: Frame { ip, sp, fp }, base })
    }
}

struct Scope<'a, R> {
    row: &'a Row<'a>,
    known: &'a dyn Fn(gimli::Register) -> Option<u64>,
    read: &'a mut R,
}

impl<R: Read> Scope<'_, R> {
    fn register(&mut self, rule: &RegisterRule<usize>, cfa: u64, same: Option<u64>) -> Option<u64> {
        match rule {
            RegisterRule::SameValue => same,
            RegisterRule::Offset(offset) => (self.read)(cfa.wrapping_add_signed(*offset)).ok(),
            RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
            RegisterRule::Register(number) => (self.known)(*number),
            RegisterRule::Expression(expression) => {
                let address = self.evaluate(expression, Some(cfa))?;
                (self.read)(address).ok()
            }
            RegisterRule::ValExpression(expression) => self.evaluate(expression, Some(cfa)),
            _ => None,
        }
    }

    /// `cfa` stands on the evaluation's stack at first. The expression was judged to be short and without jumps.
    fn evaluate(&mut self, expression: &UnwindExpression<usize>, cfa: Option<u64>) -> Option<u64> {
        let bytes: Bytes<'_> = expression.get(self.row.section).ok()?.0;
        let mut evaluation = Evaluation::new(bytes, self.row.encoding);
        if let Some(cfa) = cfa {
            evaluation.set_initial_value(cfa);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic((self.known)(register)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size, space: None, .. } => {
                    let word = (self.read)(address).ok()?;
                    let bits = 8 * u32::from(size.min(8));
                    let value = if bits == 0 { 0 } else { word & (u64::MAX >> (64 - bits)) };
                    evaluation.resume_with_memory(Value::Generic(value)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result().last()?.location {
            Location::Address { address } => Some(address),
            _ => None,
        }
    }
}
