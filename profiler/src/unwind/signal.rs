//! The frame that the kernel lays on the stack for a signal, known by its shape.
//!
//! ```text
//! x86_64, struct ucontext at the stack pointer of the code that returns from the handler:
//! +0 flags   +8 link: 0   +16 alternate stack   +40 r8…r15   +104 rdi rsi   +120 rbp   +128 rbx rdx rax rcx
//! +160 rsp   +168 rip   +176 flags   +184 cs: 0x33, 2 bytes   fs, gs: 0   ss: 0x2b, 2 bytes
//! ```
//! (arch/x86/include/uapi/asm/sigcontext.h and ucontext.h)

use super::arch::{Arch, Frame};
use super::stack::Snapshot;

/// Registers of what was interrupted; none if there is no such frame.
pub fn interrupted<A: Arch>(sp: u64, snapshot: &Snapshot<'_>) -> Option<Frame> {
    if A::LEAF_KEEPS_SP {
        return None; // aarch64's frame is linked by the frame pointer.
    }
    let word = |offset: u64| snapshot.peek(sp.checked_add(offset).ok_or(())?);
    let segments = word(184).ok()?;
    let user_code = segments & 0xffff == 0x33 && matches!(segments >> 48, 0x2b | 0);
    if !user_code || word(0).ok()? > 0xff || word(8).ok()? != 0 {
        return None;
    }
    Some(Frame { ip: word(168).ok()?, sp: word(160).ok()?, fp: word(120).ok()? })
}
