//! What differs between the architectures. Both are compiled everywhere, so that each is tested on every host.

use std::fmt;
use std::sync::Arc;

use framehop::aarch64::{CacheAarch64, PtrAuthMask, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{MayAllocateDuringUnwind, Module};
use gimli::{AArch64, Register, X86_64};

use super::Registers;

/// One architecture, as framehop and as DWARF know it.
pub trait Arch: 'static {
    type Engine: framehop::Unwinder<UnwindRegs = Self::Registers, Cache = Self::Cache, Module = Module<Arc<[u8]>>>
        + Default;
    type Registers: Copy + fmt::Debug;
    type Cache;

    /// Numbers of the stack pointer, of the frame pointer, and of the column of the return address.
    const SP: Register;
    const FP: Register;
    const RETURN: Register;
    /// A register by which a few functions find their frame, and which only a walk that evaluates each frame's table
    /// follows: glibc's lazy binding (`_dl_runtime_resolve`) uses `rbx`.
    const BASE: Option<Register>;
    /// Whether a function that is called and saves nothing has its caller's stack pointer.
    const LEAF_KEEPS_SP: bool;

    fn cache() -> Self::Cache;
    /// The registers of the innermost frame.
    fn innermost(registers: Registers) -> Self::Registers;
    /// The registers of a frame; `ip` is where it was left.
    fn get(registers: &Self::Registers) -> Frame;
    /// Those of a caller, whose `ip` was found in memory.
    fn set(registers: &mut Self::Registers, frame: Frame);
    /// Where a function that has saved nothing returns to.
    fn leaf_caller(
        registers: &Self::Registers,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Option<Frame>;
}

/// The registers that unwinding follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub ip: u64,
    pub sp: u64,
    pub fp: u64,
}

/// x86_64.
#[derive(Debug)]
pub struct X86;

impl Arch for X86 {
    type Engine = UnwinderX86_64<Arc<[u8]>>;
    type Registers = UnwindRegsX86_64;
    type Cache = CacheX86_64<MayAllocateDuringUnwind>;

    const SP: Register = X86_64::RSP;
    const FP: Register = X86_64::RBP;
    const RETURN: Register = X86_64::RA;
    const BASE: Option<Register> = Some(X86_64::RBX);
    const LEAF_KEEPS_SP: bool = false;

    fn cache() -> Self::Cache {
        CacheX86_64::new()
    }

    fn innermost(registers: Registers) -> Self::Registers {
        UnwindRegsX86_64::new(registers.ip, registers.sp, registers.fp)
    }

    fn get(registers: &Self::Registers) -> Frame {
        Frame { ip: registers.ip(), sp: registers.sp(), fp: registers.bp() }
    }

    fn set(registers: &mut Self::Registers, frame: Frame) {
        *registers = UnwindRegsX86_64::new(frame.ip, frame.sp, frame.fp);
    }

    fn leaf_caller(
        registers: &Self::Registers,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Option<Frame> {
        let ip = read(registers.sp()).ok()?;
        Some(Frame { ip, sp: registers.sp().checked_add(8)?, fp: registers.bp() })
    }
}

/// aarch64.
#[derive(Debug)]
pub struct Arm;

impl Arch for Arm {
    type Engine = UnwinderAarch64<Arc<[u8]>>;
    type Registers = UnwindRegsAarch64;
    type Cache = CacheAarch64<MayAllocateDuringUnwind>;

    const SP: Register = AArch64::SP;
    const FP: Register = AArch64::X29;
    const RETURN: Register = AArch64::X30;
    const BASE: Option<Register> = None;
    const LEAF_KEEPS_SP: bool = true;

    fn cache() -> Self::Cache {
        CacheAarch64::new()
    }

    /// Pointer authentication uses the bits above those of an address; the stack lies near the top of the address space.
    fn innermost(registers: Registers) -> Self::Registers {
        let mask = PtrAuthMask::from_max_known_address(registers.sp.max(1));
        UnwindRegsAarch64::new_with_ptr_auth_mask(mask, registers.lr, registers.sp, registers.fp)
    }

    fn get(registers: &Self::Registers) -> Frame {
        Frame { ip: registers.lr(), sp: registers.sp(), fp: registers.fp() }
    }

    fn set(registers: &mut Self::Registers, frame: Frame) {
        registers.set_lr(frame.ip);
        registers.set_sp(frame.sp);
        registers.set_fp(frame.fp);
    }

    fn leaf_caller(registers: &Self::Registers, _: &mut dyn FnMut(u64) -> Result<u64, ()>) -> Option<Frame> {
        Some(Self::get(registers))
    }
}

#[cfg(target_arch = "x86_64")]
pub type Native = X86;
#[cfg(target_arch = "aarch64")]
pub type Native = Arm;
