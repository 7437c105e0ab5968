//! From registers and a snapshot of the stack to code addresses.
//!
//! In: ELF bytes through [`ReadAt`](crate::read_at::ReadAt), the layout of an address space as [`Mapping`]s, and for each sample its
//! [`Registers`] and stack bytes. Out: [`Location`]s and how the stack ended. Opens no file and reads no `/proc`; that
//! is [`crate::process`]. This is the only importer of framehop.

mod arch;
mod compressed;
mod coverage;
mod elf;
mod evaluate;
mod index;
mod section;
mod signal;
mod stack;
mod tables;
mod unwinder;

pub use arch::{Arch, Arm, X86};
pub use elf::{Image, Malformed, Sections, parse_image};
pub use tables::Tables;
pub use unwinder::{ArchUnwinder, Unwinder, Unwound};

#[cfg(test)]
mod tests;

/// Registers of the user part of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub ip: u64,
    pub sp: u64,
    /// x86_64 `rbp`, aarch64 `x29`.
    pub fp: u64,
    /// aarch64 `x30`; not looked at on x86_64.
    pub lr: u64,
}

/// What was taken of a thread's user part at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    pub registers: Registers,
    /// Bytes of the stack, from `registers.sp` upward.
    pub stack: &'a [u8],
    /// The stacks on which this one continues, as far as they were taken.
    pub others: OtherStacks<'a>,
}

/// The stacks that a Go program's thread has left for its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtherStacks<'a> {
    /// Of the goroutine for which it runs.
    pub goroutine: Option<OtherStack<'a>>,
    /// Of whoever calls into the vDSO.
    pub vdso: Option<OtherStack<'a>>,
}

impl<'a> Captured<'a> {
    /// With one stack.
    pub const fn new(registers: Registers, stack: &'a [u8]) -> Self {
        Self { registers, stack, others: OtherStacks { goroutine: None, vdso: None } }
    }
}

/// The stack that a thread has left for another, up to where it will return to it.
#[derive(Clone, Copy, Debug)]
pub struct OtherStack<'a> {
    /// Here stands the return address.
    pub sp: u64,
    pub fp: u64,
    /// Bytes from `sp` upward.
    pub bytes: &'a [u8],
}

/// Where a frame's code lies. A return address is already moved back into the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// In a file, or in the vDSO; `image` counts as [`crate::process::Processes::images`] does.
    File { image: u32, file_offset: u64 },
    /// In memory without a file (JIT code), or in no known mapping.
    Unmapped { address: u64 },
}

/// One executable mapping of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    /// Where in the file the mapping starts; 0 without a file.
    pub file_offset: u64,
    pub image: Option<u32>,
}

impl Mapping {
    fn locate(&self, address: u64) -> Location {
        match self.image {
            Some(image) => {
                Location::File { image, file_offset: (address - self.start).wrapping_add(self.file_offset) }
            }
            None => Location::Unmapped { address },
        }
    }
}
