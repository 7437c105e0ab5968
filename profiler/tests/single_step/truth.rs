//! The callers of a thread, known by watching each of its instructions.
//!
//! In: registers before and after an instruction. Out: the addresses at which its callers are looked up. Nothing of it
//! comes from unwind tables or frame pointers: a call is seen as it pushes its return address, and has returned when the
//! stack pointer is above that.

use super::tracee::Tracee;

/// What an instruction changes of interest.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub ip: u64,
    pub sp: u64,
}

/// One caller.
#[derive(Clone, Copy, Debug)]
struct Caller {
    /// Where its callee's return address lies.
    slot: u64,
    lookup: Lookup,
}

/// Where it is looked up.
#[derive(Clone, Copy, Debug)]
enum Lookup {
    At(u64),
    /// At an address that lies in memory: a handler may change where the interrupted code goes on.
    SavedAt(u64),
}

/// Where the kernel saves the instruction pointer: behind the handler's return address, in the signal's frame.
const SAVED_IP: u64 = 8 + 168;
const SAVED_SP: u64 = 8 + 160;

/// The callers of one thread, outermost first.
/// Larger than the stacks of the programs here.
const STACK_BYTES: u64 = 64 << 20;

#[derive(Default)]
pub struct Truth {
    callers: Vec<Caller>,
    before: Option<Point>,
}

impl Truth {
    /// After an instruction, or at the first one.
    pub fn stepped(&mut self, tracee: &Tracee, now: Point) {
        let returned = |caller: &Caller| caller.slot < now.sp;
        while self.callers.last().is_some_and(returned) {
            self.callers.pop();
        }
        if let Some(before) = self.before.replace(now)
            && now.sp == before.sp.wrapping_sub(8)
        {
            let pushed = tracee.word(now.sp);
            let length = pushed.wrapping_sub(before.ip);
            if (2..=8).contains(&length) && now.ip != pushed {
                self.callers.push(Caller { slot: now.sp, lookup: Lookup::At(pushed - 1) });
            }
        }
    }

    /// A signal was delivered: the handler is called by the trampoline, which is called by what was interrupted.
    pub fn interrupted(&mut self, tracee: &Tracee, now: Point) {
        let before = self.before.replace(now).map(|before| before.ip);
        let saved_at = now.sp + SAVED_IP;
        assert_eq!(before, Some(tracee.word(saved_at)), "where the kernel saves the instruction pointer");
        // Interrupted until the stack pointer is back where it was.
        let slot = tracee.word(now.sp + SAVED_SP) - 1;
        self.callers.push(Caller { slot, lookup: Lookup::SavedAt(saved_at) });
        self.callers.push(Caller { slot: now.sp, lookup: Lookup::At(tracee.word(now.sp)) });
    }

    /// Callers whose return address lies below `limit`.
    pub fn callers_below(&self, limit: u64) -> usize {
        self.callers.iter().rev().take_while(|caller| caller.slot + 8 <= limit).count()
    }

    /// Addresses for look-up, innermost first, and how many of them belong to the stack that the thread is on: a handler
    /// may run on another one than what it interrupted.
    pub fn frames(&self, tracee: &Tracee, now: Point) -> (Vec<u64>, usize) {
        let lookup = |caller: &Caller| match caller.lookup {
            Lookup::At(address) => address,
            Lookup::SavedAt(place) => tracee.word(place),
        };
        let callers = self.callers.iter().rev().map(lookup);
        let frames: Vec<u64> = std::iter::once(now.ip).chain(callers).collect();
        let other_stack = |caller: &&Caller| caller.slot - now.sp > STACK_BYTES;
        let others = self.callers.iter().take_while(other_stack).count();
        // Where the handler was called from another stack, the place that it interrupted is still told by this one.
        let here = frames.len() - others + usize::from(others > 0);
        (frames, here)
    }
}
