//! One layout of an address space, ready to unwind stacks in it.

use std::sync::Arc;

use framehop::{
    CacheNative, Error, FrameAddress, MayAllocateDuringUnwind, UnwindRegsNative, Unwinder as _,
    UnwinderNative,
};

use super::coverage::{Coverage, coverage};
use super::stack::Snapshot;
use super::{Image, Location, Mapping, Registers};
use crate::recording::{Broken, StackEnd};

/// Places for judged addresses. 1,024 × 16 B = 16 KiB, beside some 40 KiB of framehop's own cache of rules.
const JUDGED: usize = 1024;
/// How far above the snapshot the frame pointer may lead and still count as one: the usual limit of a stack.
/// Elsewhere the register holds a program's own value.
const STACK_LIMIT_BYTES: u64 = 8 << 20;

/// Unwinds stacks in one layout of an address space. Processes with the same layout (forks) can share it, so that
/// each finds the other's rules.
pub struct Unwinder {
    mappings: Arc<[Mapping]>,
    /// Parallel to `mappings`: the image and its bias, where the image has tables.
    loaded: Vec<Option<(Arc<Image>, u64)>>,
    framehop: UnwinderNative<Arc<[u8]>, MayAllocateDuringUnwind>,
    /// Knows no tables: follows the frame pointer.
    without_tables: UnwinderNative<Arc<[u8]>, MayAllocateDuringUnwind>,
    rules: CacheNative<MayAllocateDuringUnwind>,
    /// By address modulo its length. `u64::MAX` lies in no mapping: a free place.
    judged: Box<[(u64, Coverage)]>,
}

/// How one stack was unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwound {
    pub end: StackEnd,
    /// An address in no mapping was met: the layout may be out of date.
    pub met_unmapped: bool,
}

impl Unwinder {
    /// Does not read anything: `image` gives what was parsed before. `mappings` must be sorted and disjoint.
    pub fn new(mappings: Arc<[Mapping]>, image: impl Fn(u32) -> Option<Arc<Image>>) -> Self {
        let mut framehop = UnwinderNative::new();
        let load = |mapping: &Mapping| {
            let image = image(mapping.image?)?;
            let tables = image.tables.as_ref()?;
            let bias = image.bias(mapping.start, mapping.end, mapping.file_offset)?;
            framehop.add_module(tables.module(mapping, bias));
            Some((image, bias))
        };
        let loaded = mappings.iter().map(load).collect();
        Self {
            mappings,
            loaded,
            framehop,
            without_tables: UnwinderNative::new(),
            rules: CacheNative::new_in(),
            judged: vec![(u64::MAX, Coverage::None); JUDGED].into(),
        }
    }

    /// Appends the frames of one stack to `out`, innermost first and at most `max_frames`.
    pub fn unwind(
        &mut self,
        registers: Registers,
        stack: &[u8],
        max_frames: usize,
        out: &mut Vec<Location>,
    ) -> Unwound {
        let mut snapshot = Snapshot::new(registers.sp, stack);
        let mut at = FrameAddress::from_instruction_pointer(registers.ip);
        let mut registers = native_registers(registers);
        let mut met_unmapped = false;
        let mut frames = 0;
        let end = loop {
            let address = at.address_for_lookup();
            let mapping = self.find(address);
            met_unmapped |= mapping.is_none();
            // A caller that is no code is no caller: the step that led here was a guess.
            if mapping.is_none() && frames > 0 {
                break StackEnd::Broken(Broken::NoModule);
            }
            if frames == max_frames {
                break StackEnd::Broken(Broken::TooDeep);
            }
            out.push(mapping.map_or(Location::Unmapped { address }, |i| self.mappings[i].locate(address)));
            frames += 1;
            if stack.is_empty() {
                break StackEnd::Broken(Broken::StackUnreadable);
            }
            match self.step(at, mapping, &mut registers, &mut snapshot) {
                Ok(caller) => at = caller,
                Err(end) => break end,
            }
        };
        Unwound { end, met_unmapped }
    }

    /// From one frame to its caller, or how the stack ends there.
    fn step(
        &mut self,
        at: FrameAddress,
        mapping: Option<usize>,
        registers: &mut UnwindRegsNative,
        snapshot: &mut Snapshot<'_>,
    ) -> Result<FrameAddress, StackEnd> {
        let coverage = mapping.map_or(Coverage::None, |index| self.judge(index, at.address_for_lookup()));
        let in_file = mapping.is_some_and(|index| self.mappings[index].image.is_some());
        let lacking = StackEnd::Broken(if in_file { Broken::NoUnwindInfo } else { Broken::NoModule });
        if coverage == Coverage::Refused {
            return Err(lacking);
        }
        let before = *registers;
        let mut read = |address| snapshot.read(address);
        let mut caller = self.framehop.unwind_frame(at, registers, &mut self.rules, &mut read);
        // Between its entries a table says nothing, and framehop takes the innermost function there for a leaf that
        // has saved nothing. Where that leads out of the code, the frame pointer is the better guess.
        let astray = |caller: &Result<Option<u64>, Error>| {
            caller
                .is_ok_and(|caller| caller.is_none_or(|address| self.find(address.wrapping_sub(1)).is_none()))
        };
        if coverage == Coverage::None && in_file && !at.is_return_address() && astray(&caller) {
            *registers = before;
            caller = self.without_tables.unwind_frame(at, registers, &mut self.rules, &mut read);
        }
        let covered = coverage != Coverage::None;
        if let Some(distance) = snapshot.take_beyond() {
            return Err(match covered {
                _ if distance <= STACK_LIMIT_BYTES => StackEnd::Cut,
                true => StackEnd::Broken(Broken::StackUnreadable), // on another stack, as after a signal's own
                false => lacking,
            });
        }
        match caller {
            Ok(Some(caller)) if coverage == Coverage::SignalFrame => {
                Ok(FrameAddress::from_instruction_pointer(caller))
            }
            Ok(Some(_)) if stuck(at, before.sp(), registers.sp()) => Err(lacking),
            Ok(Some(caller)) => FrameAddress::from_return_address(caller).ok_or(StackEnd::Complete),
            // The frame pointer's chain ended where it had not begun.
            Ok(None) if !covered && !at.is_return_address() => Err(lacking),
            Ok(None) => Err(StackEnd::Complete),
            Err(Error::CouldNotReadStack(_)) if covered => Err(StackEnd::Broken(Broken::StackUnreadable)),
            Err(_) => Err(lacking),
        }
    }

    fn find(&self, address: u64) -> Option<usize> {
        let index = self.mappings.partition_point(|mapping| mapping.end <= address);
        self.mappings.get(index).filter(|mapping| mapping.start <= address).map(|_| index)
    }

    /// What the tables say about an address, remembered.
    fn judge(&mut self, mapping: usize, address: u64) -> Coverage {
        let Some((image, bias)) = &self.loaded[mapping] else { return Coverage::None };
        let place = &mut self.judged[(address % JUDGED as u64) as usize];
        if place.0 != address {
            // framehop looks no further than 4 GiB above the bias.
            let svma = address.checked_sub(*bias).filter(|&svma| u32::try_from(svma).is_ok());
            let found = image.tables.as_ref().zip(svma).map(|(tables, svma)| coverage(tables, svma));
            *place = (address, found.unwrap_or(Coverage::None));
        }
        place.1
    }
}

/// Whether a step has not gone up the stack. Only a leaf function of aarch64 has its caller's stack pointer.
fn stuck(at: FrameAddress, before: u64, after: u64) -> bool {
    let may_stay = cfg!(target_arch = "aarch64") && !at.is_return_address();
    after < before || (after == before && !may_stay)
}

#[cfg(target_arch = "x86_64")]
fn native_registers(registers: Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(registers.ip, registers.sp, registers.fp)
}

/// Pointer authentication uses the bits above those of an address; the stack lies near the top of the address space.
#[cfg(target_arch = "aarch64")]
fn native_registers(registers: Registers) -> UnwindRegsNative {
    let mask = framehop::aarch64::PtrAuthMask::from_max_known_address(registers.sp.max(1));
    UnwindRegsNative::new_with_ptr_auth_mask(mask, registers.lr, registers.sp, registers.fp)
}
