//! Where a Go program keeps its goroutines, read from the code that looks there itself.
//!
//! In: the code of `runtime.systemstack` and of `runtime.nanotime1`. Out: [`GoOffsets`]. The offsets differ between Go's versions; debug information
//! that has them may be stripped, the code is always there.
//!
//! ```text
//! 64 48 8b 04 25 i32    mov rax, fs:[tls]       the present goroutine
//! 48 8b 58 u8           mov rbx, [rax + g.m]
//! 48 3b 83 u32          cmp rax, [rbx + m.curg]
//! 75 i8                 jne bad
//! e8 i32                call gosave_systemstack_switch
//!     49 89 6e u8       mov [r14 + g.sched.bp], rbp
//! 48 8b 5a u8           mov rbx, [rdx + g.sched.sp], up to Go 1.19 at least; or
//! 48 8b 62 u8           mov rsp, [rdx + g.sched.sp]
//! ```
//! In this order, other instructions between them; and of the second function
//!
//! ```text
//! 48 89 8b u32          mov [rbx + m.vdsoPC], rcx
//! 48 89 93 u32          mov [rbx + m.vdsoSP], rdx
//! ```//! A program of which the code reads otherwise has its goroutines unknown.

use profiler_common::go::GoOffsets;

/// Bytes of code that are looked at: the function has some 140, of which these come in the first 70; the other one some 50.
const CODE_BYTES: usize = 96;
/// Goroutines and their threads are structures of some hundred bytes.
const LARGEST_OFFSET: u32 = 4096;

/// The offsets. `read` fills bytes of the code from an address on, which are zero where there is none; `systemstack` is the
/// function's own, `nanotime` that of one which calls into the vDSO.
pub fn offsets(read: impl Fn(u64, &mut [u8]), systemstack: u64, nanotime: Option<u64>) -> Option<GoOffsets> {
    let mut bytes = [0; CODE_BYTES];
    read(systemstack, &mut bytes);
    let mut code = Code { bytes: &bytes, at: 0 };
    let tls = i32::from_le_bytes(code.after(&[0x64, 0x48, 0x8b, 0x04, 0x25])?);
    let [g_m] = code.after(&[0x48, 0x8b, 0x58])?;
    let m_curg = u32::from_le_bytes(code.after(&[0x48, 0x3b, 0x83])?);
    let [jump, _, call] = code.next()?;
    let distance = i32::from_le_bytes(code.next()?);
    if (jump, call) != (0x75, 0xe8) || m_curg > LARGEST_OFFSET {
        return None;
    }
    let save = systemstack.wrapping_add(code.at as u64).wrapping_add_signed(i64::from(distance));
    let mut direct = code;
    let [sched_sp] = code.after(&[0x48, 0x8b, 0x5a]).or_else(|| direct.after(&[0x48, 0x8b, 0x62]))?;
    let mut bytes = [0; CODE_BYTES];
    read(save, &mut bytes);
    let [sched_bp] = Code { bytes: &bytes, at: 0 }.after(&[0x49, 0x89, 0x6e])?;
    let m_vdso_sp = nanotime.and_then(|nanotime| vdso_sp(&read, nanotime)).unwrap_or(0);
    let [g_m, sched_sp, sched_bp] = [g_m, sched_sp, sched_bp].map(u32::from);
    Some(GoOffsets { tls, g_m, m_curg, sched_sp, sched_bp, m_vdso_sp })
}

/// Where the first call of a function whose address is in `rax` ends (`ff d0`).
pub fn first_call_end(read: impl Fn(u64, &mut [u8]), function: u64) -> Option<u64> {
    let mut bytes = [0; 2 * CODE_BYTES];
    read(function, &mut bytes);
    let mut code = Code { bytes: &bytes, at: 0 };
    let [] = code.after(&[0xff, 0xd0])?;
    Some(function.wrapping_add(code.at as u64))
}

fn vdso_sp(read: impl Fn(u64, &mut [u8]), nanotime: u64) -> Option<u32> {
    let mut bytes = [0; CODE_BYTES];
    read(nanotime, &mut bytes);
    let mut code = Code { bytes: &bytes, at: 0 };
    let [_pc, offset] = [code.after(&[0x48, 0x89, 0x8b])?, code.after(&[0x48, 0x89, 0x93])?];
    Some(u32::from_le_bytes(offset)).filter(|&offset| offset <= LARGEST_OFFSET)
}

#[derive(Clone, Copy)]
struct Code<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Code<'_> {
    /// The bytes behind the next place where `opcode` stands.
    fn after<const N: usize>(&mut self, opcode: &[u8]) -> Option<[u8; N]> {
        let rest = self.bytes.get(self.at..)?;
        self.at += rest.windows(opcode.len()).position(|window| window == opcode)? + opcode.len();
        self.next()
    }

    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let next = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `runtime.systemstack` of Go 1.19.8, as `objdump` shows it, at 0x1000, and what it calls, at 0x2000.
    const SYSTEMSTACK: &[u8] =
        b"\x48\x8b\x7c\x24\x08\x64\x48\x8b\x04\x25\xf8\xff\xff\xff\x48\x8b\x58\x30\x48\x3b\x43\x50\
        \x74\x5b\x48\x8b\x13\x48\x39\xd0\x74\x53\x48\x3b\x83\xc0\x00\x00\x00\x75\x52\xe8\xd2\x0f\x00\x00\
        \x64\x48\x89\x14\x25\xf8\xff\xff\xff\x49\x89\xd6\x48\x8b\x5a\x38\x48\x89\xdc";
    const SAVE: &[u8] = b"\x4c\x8d\x0d\xd9\x0d\x00\x00\x4d\x89\x4e\x40\x4c\x8d\x4c\x24\x08\x4d\x89\x4e\x38\
        \x49\xc7\x46\x58\x00\x00\x00\x00\x49\x89\x6e\x68";

    /// `runtime.nanotime1`, at 0x3000.
    const NANOTIME: &[u8] =
        b"\x48\x83\xec\x18\x48\x89\x6c\x24\x10\x48\x8d\x6c\x24\x10\x49\x89\xe4\x49\x8b\x5e\x30\
        \x48\x8b\x8b\x28\x03\x00\x00\x48\x8b\x93\x20\x03\x00\x00\x48\x89\x0c\x24\x48\x89\x54\x24\x08\
        \x48\x8d\x54\x24\x20\x48\x8b\x4a\xf8\x48\x89\x8b\x28\x03\x00\x00\x48\x89\x93\x20\x03\x00\x00";

    fn read(systemstack: &[u8]) -> Option<GoOffsets> {
        let place = |from: u64, bytes: &mut [u8]| {
            let code = match from {
                0x1000 => systemstack,
                0x2000 => SAVE,
                0x3000 => NANOTIME,
                _ => return,
            };
            bytes[..code.len()].copy_from_slice(code);
        };
        offsets(place, 0x1000, Some(0x3000))
    }

    #[test]
    fn the_offsets_of_go_1_19() {
        // As `go tool compile -live` of runtime2.go has them: m.curg at 192, gobuf from 56 on.
        let expected =
            GoOffsets { tls: -8, g_m: 48, m_curg: 192, sched_sp: 56, sched_bp: 104, m_vdso_sp: 0x320 };
        assert_eq!(read(SYSTEMSTACK), Some(expected));
    }

    #[test]
    fn the_stack_pointer_may_be_loaded_directly() {
        let mut code = SYSTEMSTACK.to_vec();
        let at = code.windows(3).position(|window| window == [0x48, 0x8b, 0x5a]).unwrap();
        code[at + 2] = 0x62;
        assert_eq!(read(&code).map(|offsets| offsets.sched_sp), Some(56));
    }

    #[test]
    fn the_first_call_of_a_register_ends_what_runs_on_the_other_stack() {
        // The end of `runtime.asmcgocall` of Go 1.19.8: mov rdi, rbx; mov rcx, rbx; call rax; …; call rax
        let code = b"\x48\x89\xdf\x48\x89\xd9\xff\xd0\x48\x8b\x7c\x24\x30\xff\xd0";
        let place = |_: u64, bytes: &mut [u8]| bytes[..code.len()].copy_from_slice(code);
        assert_eq!(first_call_end(place, 0x1000), Some(0x1008));
        assert_eq!(first_call_end(|_, _| {}, 0x1000), None);
    }

    #[test]
    fn other_code_has_no_offsets() {
        assert_eq!(read(b"\xc3"), None);
        for end in 0..SYSTEMSTACK.len() - 7 {
            assert_eq!(read(&SYSTEMSTACK[..end]), None, "{end} bytes");
        }
    }
}
