//! One layout of an address space, ready to unwind stacks in it.

use std::sync::Arc;

use framehop::{Error, FrameAddress, Unwinder as _};
use gimli::UnwindContext;
use profiler_common::go::GoOffsets;

use super::arch::{Arch, Native};
use super::coverage::{Coverage, Judgement, is_gap, judge, with_row};
use super::evaluate::Tracked;
use super::stack::Snapshot;
use super::{Captured, Image, Location, Mapping, OtherStack, OtherStacks, Registers, signal};
use crate::runtimes::go::Outermost;
use profiler_report::recording::{Broken, Method, StackEnd};

/// Places for judged addresses. 4,096 × 16 B = 64 KiB.
const JUDGED: usize = 4096;
/// A free place. No mapping has this address.
const FREE: u64 = u64::MAX;
/// Caches of rules, each of which has 509 places: framehop's own constant, and too few for a server's code.
const CACHES: usize = 4;
/// How far above the snapshot the frame pointer may lead and still count as one: the usual limit of a stack.
/// Elsewhere the register holds a program's own value.
const STACK_LIMIT_BYTES: u64 = 8 << 20;

/// Unwinds stacks in one layout of an address space. Processes with the same layout (forks) can share it, so that
/// each finds the other's rules.
pub struct ArchUnwinder<A: Arch> {
    mappings: Arc<[Mapping]>,
    /// Parallel to `mappings`: the image and its bias, where the image is known.
    loaded: Vec<Option<(Arc<Image>, u64)>>,
    framehop: A::Engine,
    /// Knows no tables: follows the frame pointer.
    without_tables: A::Engine,
    rules: Box<[A::Cache]>,
    /// By address modulo its length.
    judged: Box<[(u64, Judged)]>,
    context: UnwindContext<usize>,
}

/// For the architecture that this runs on.
pub type Unwinder = ArchUnwinder<Native>;

/// How one stack was unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwound {
    pub end: StackEnd,
    pub method: Method,
    /// An address in no mapping was met: the layout may be out of date.
    pub met_unmapped: bool,
    /// The stack continues on that of a goroutine, which was not taken, and would be found by these.
    pub goroutines: Option<GoOffsets>,
}

/// What is known of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judged {
    tables: Judgement,
    /// A caller there has none itself.
    outermost: Option<Outermost>,
    /// The first code of a process, about which there is no table.
    entry: bool,
    mapping: u32,
}

const NOTHING: Judged = Judged { tables: Judgement::NOTHING, outermost: None, entry: false, mapping: 0 };

/// A stack while it is unwound.
struct Walk<'a, A: Arch> {
    at: FrameAddress,
    registers: A::Registers,
    snapshot: Snapshot<'a>,
    /// Where the stack continues, until it does.
    others: OtherStacks<'a>,
    goroutines: Option<GoOffsets>,
    method: Method,
    thorough: Thorough,
}

/// Whether each table is evaluated, to follow [`Arch::BASE`] too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thorough {
    No,
    /// A frame was met that needs it.
    Wanted,
    Yes {
        base: Option<u64>,
    },
}

impl<'a, A: Arch> Walk<'a, A> {
    fn new(Captured { registers, stack, others }: Captured<'a>) -> Self {
        Self {
            others,
            goroutines: None,
            at: FrameAddress::from_instruction_pointer(registers.ip),
            registers: A::innermost(registers),
            snapshot: Snapshot::new(registers.sp, stack),
            method: Method::Tables,
            thorough: Thorough::No,
        }
    }
}

impl<A: Arch> ArchUnwinder<A> {
    /// Does not read anything: `image` gives what was parsed before. `mappings` must be sorted and disjoint.
    pub fn new(mappings: Arc<[Mapping]>, image: impl Fn(u32) -> Option<Arc<Image>>) -> Self {
        let mut framehop = A::Engine::default();
        let load = |mapping: &Mapping| {
            let image = image(mapping.image?)?;
            let bias = image.bias(mapping.start, mapping.end, mapping.file_offset)?;
            if let Some(tables) = &image.tables {
                framehop.add_module(tables.module(mapping, bias));
            }
            Some((image, bias))
        };
        let loaded = mappings.iter().map(load).collect();
        Self {
            mappings,
            loaded,
            framehop,
            without_tables: A::Engine::default(),
            rules: (0..CACHES).map(|_| A::cache()).collect(),
            judged: vec![(FREE, NOTHING); JUDGED].into(),
            context: UnwindContext::new(),
        }
    }

    /// Appends the frames of one stack to `out`, innermost first and at most `max_frames`.
    pub fn unwind(&mut self, captured: Captured<'_>, max_frames: usize, out: &mut Vec<Location>) -> Unwound {
        let first = out.len();
        let mut walk = Walk::new(captured);
        let mut unwound = self.walk(&mut walk, max_frames, out);
        if walk.thorough == Thorough::Wanted {
            out.truncate(first);
            walk = Walk { thorough: Thorough::Yes { base: None }, ..Walk::new(captured) };
            unwound = self.walk(&mut walk, max_frames, out);
        }
        unwound
    }

    fn walk(&mut self, walk: &mut Walk<'_, A>, max_frames: usize, out: &mut Vec<Location>) -> Unwound {
        let mut met_unmapped = false;
        let mut frames = 0;
        let end = loop {
            let judged = self.judge(walk.at.address_for_lookup());
            let mapping = judged.map(|judged| judged.mapping as usize);
            met_unmapped |= mapping.is_none();
            // A caller that is no code is no caller: the step that led here was a guess.
            if mapping.is_none() && frames > 0 {
                break StackEnd::Broken(Broken::NoModule);
            }
            if frames == max_frames {
                break StackEnd::Broken(Broken::TooDeep);
            }
            let judged = judged.unwrap_or(NOTHING);
            out.push(self.locate(mapping, judged, walk.at));
            frames += 1;
            if walk.snapshot.is_empty() {
                break StackEnd::Broken(Broken::StackUnreadable);
            }
            match self.step(mapping, judged, walk) {
                Ok(caller) => walk.at = caller,
                Err(end) => break end,
            }
        };
        Unwound { end, method: walk.method, met_unmapped, goroutines: walk.goroutines }
    }

    fn locate(&self, mapping: Option<usize>, judged: Judged, at: FrameAddress) -> Location {
        let address = at.address_for_lookup();
        let Some(mapping) = mapping.map(|index| &self.mappings[index]) else {
            return Location::Unmapped { address };
        };
        // Nobody has called the code that a handler returns to: it begins there.
        let begins = judged.tables.signal && at.address() < mapping.end;
        mapping.locate(if begins { at.address() } else { address })
    }

    /// From one frame to its caller, or how the stack ends there.
    fn step(
        &mut self,
        mapping: Option<usize>,
        judged: Judged,
        walk: &mut Walk<'_, A>,
    ) -> Result<FrameAddress, StackEnd> {
        let in_file = mapping.is_some_and(|index| self.mappings[index].image.is_some());
        let lacking = StackEnd::Broken(if in_file { Broken::NoUnwindInfo } else { Broken::NoModule });
        if let Some(outermost) = judged.outermost
            && let Some(step) = self.step_from_outermost(mapping, outermost, walk)
        {
            return step;
        }
        if judged.entry {
            return Err(StackEnd::Complete);
        }
        match judged.tables.coverage {
            Coverage::Refused => Err(lacking),
            Coverage::End => Err(StackEnd::Complete),
            Coverage::None => self.step_without_tables(mapping, lacking, walk),
            Coverage::Rule | Coverage::Evaluated => {
                let before = walk.registers;
                let step = self.step_by_tables(mapping, judged.tables, lacking, walk);
                self.step_over_signal(step, before, walk)
            }
        }
    }

    /// From a function of Go's runtime that has no caller on its stack; none where it has one after all.
    fn step_from_outermost(
        &self,
        mapping: Option<usize>,
        outermost: Outermost,
        walk: &mut Walk<'_, A>,
    ) -> Option<Result<FrameAddress, StackEnd>> {
        let innermost = !walk.at.is_return_address();
        match outermost {
            Outermost::First => (!innermost).then_some(Err(StackEnd::Complete)),
            Outermost::Switched | Outermost::SwitchedForFirstCall => {
                // A stack was taken if the thread runs for the goroutine, on whichever stack it is by now.
                let other = walk.others.goroutine.take();
                (!innermost || other.is_some()).then(|| self.step_to_other_stack(mapping, other, walk))
            }
            Outermost::IntoVdso => {
                // Innermost, it may have left its stack or not; its frame pointer tells that it has set up its frame.
                let fp = A::get(&walk.registers).fp;
                let own = |other: &OtherStack<'_>| !innermost || other.sp.wrapping_sub(8) == fp;
                let other = walk.others.vdso.take_if(|other| own(other));
                (!innermost || other.is_some()).then(|| self.step_to_other_stack(mapping, other, walk))
            }
        }
    }

    /// From the function that has switched stacks to its caller, on the other one.
    fn step_to_other_stack<'w>(
        &self,
        mapping: Option<usize>,
        other: Option<OtherStack<'w>>,
        walk: &mut Walk<'w, A>,
    ) -> Result<FrameAddress, StackEnd> {
        let Some(OtherStack { sp, fp, bytes }) = other else {
            let image = mapping.and_then(|index| self.loaded[index].as_ref());
            walk.goroutines = image.and_then(|(image, _)| image.goroutines);
            return Err(StackEnd::Broken(Broken::OtherStack));
        };
        walk.snapshot = Snapshot::new(sp, bytes);
        let caller = walk.snapshot.peek(sp).map_err(|()| StackEnd::Broken(Broken::StackUnreadable))?;
        walk.registers = A::innermost(Registers { ip: caller, sp: sp.wrapping_add(8), fp, lr: 0 });
        if let Thorough::Yes { base } = &mut walk.thorough {
            *base = None;
        }
        FrameAddress::from_return_address(caller).ok_or(StackEnd::Broken(Broken::OtherStack))
    }

    fn step_by_tables(
        &mut self,
        mapping: Option<usize>,
        judgement: Judgement,
        lacking: StackEnd,
        walk: &mut Walk<'_, A>,
    ) -> Result<FrameAddress, StackEnd> {
        let before = A::get(&walk.registers);
        let by_rule = judgement.coverage == Coverage::Rule && walk.thorough == Thorough::No;
        let caller = if by_rule {
            let cache = &mut self.rules[(walk.at.address_for_lookup() / 509) as usize % CACHES];
            let mut read = |address| walk.snapshot.read(address);
            self.framehop.unwind_frame(walk.at, &mut walk.registers, cache, &mut read)
        } else {
            Ok(self.evaluate(mapping, walk))
        };
        if let Some(distance) = walk.snapshot.take_beyond() {
            let near = distance <= STACK_LIMIT_BYTES;
            // Elsewhere is another stack, as after a signal's own.
            return Err(if near { StackEnd::Cut } else { StackEnd::Broken(Broken::OtherStack) });
        }
        match caller {
            Ok(Some(caller)) if judgement.signal => Ok(FrameAddress::from_instruction_pointer(caller)),
            Ok(Some(_)) if stuck::<A>(walk.at, before.sp, A::get(&walk.registers).sp) => Err(lacking),
            Ok(Some(caller)) => FrameAddress::from_return_address(caller).ok_or(StackEnd::Complete),
            Ok(None) if by_rule => Err(StackEnd::Complete),
            Err(Error::CouldNotReadStack(_)) => Err(StackEnd::Broken(Broken::OtherStack)),
            Ok(None) | Err(_) => Err(lacking),
        }
    }

    /// What framehop does not know how to do.
    fn evaluate(&mut self, mapping: Option<usize>, walk: &mut Walk<'_, A>) -> Option<u64> {
        let (image, bias) = self.loaded[mapping?].as_ref()?;
        let svma = walk.at.address_for_lookup().wrapping_sub(*bias);
        let before = A::get(&walk.registers);
        let base = if let Thorough::Yes { base } = walk.thorough { base } else { None };
        let tracked = Tracked { frame: before, base };
        let caller = with_row(image.tables.as_ref()?, svma, &mut self.context, |row| {
            if walk.thorough == Thorough::No && row.is_by_base::<A>() {
                walk.thorough = Thorough::Wanted;
            }
            row.caller::<A>(tracked, &mut |address| walk.snapshot.read(address))
        })?;
        if let Thorough::Yes { base } = &mut walk.thorough {
            *base = caller.base;
        }
        A::set(&mut walk.registers, caller.frame);
        Some(A::get(&walk.registers).ip)
    }

    /// A program may return from its signals by code of its own, whose tables say nothing of it or, as Go's, the wrong
    /// thing. So where they lead astray, a signal's frame is looked for.
    fn step_over_signal(
        &mut self,
        step: Result<FrameAddress, StackEnd>,
        before: A::Registers,
        walk: &mut Walk<'_, A>,
    ) -> Result<FrameAddress, StackEnd> {
        let astray = match step {
            Ok(caller) => self.judge(caller.address_for_lookup()).is_none(),
            Err(StackEnd::Broken(_)) => true,
            Err(_) => false,
        };
        if !(astray && walk.at.is_return_address()) {
            return step;
        }
        self.interrupted(before, walk).map_or(step, Ok)
    }

    /// What a signal interrupted whose frame lies at the stack pointer.
    fn interrupted(&self, registers: A::Registers, walk: &mut Walk<'_, A>) -> Option<FrameAddress> {
        let found = signal::interrupted::<A>(A::get(&registers).sp, &walk.snapshot)?;
        self.find(found.ip)?;
        A::set(&mut walk.registers, found);
        walk.method = Method::FramePointers;
        Some(FrameAddress::from_instruction_pointer(found.ip))
    }

    fn step_without_tables(
        &mut self,
        mapping: Option<usize>,
        lacking: StackEnd,
        walk: &mut Walk<'_, A>,
    ) -> Result<FrameAddress, StackEnd> {
        walk.method = Method::FramePointers;
        let innermost = !walk.at.is_return_address();
        let has_tables = mapping.is_some_and(|index| self.has_tables(index));
        if innermost && has_tables {
            // A gap between tables: mostly a leaf that has saved nothing.
            let mut read = |address| walk.snapshot.peek(address);
            let leaf = A::leaf_caller(&walk.registers, &mut read);
            if let Some(caller) = leaf.filter(|caller| self.find(caller.ip.wrapping_sub(1)).is_some()) {
                A::set(&mut walk.registers, caller);
                return FrameAddress::from_return_address(caller.ip).ok_or(lacking);
            }
        }
        if !innermost && let Some(found) = self.interrupted(walk.registers, walk) {
            return Ok(found);
        }
        self.step_by_frame_pointer(lacking, walk)
    }

    fn step_by_frame_pointer(
        &mut self,
        lacking: StackEnd,
        walk: &mut Walk<'_, A>,
    ) -> Result<FrameAddress, StackEnd> {
        let before = A::get(&walk.registers);
        let mut read = |address| walk.snapshot.read(address);
        let cache = &mut self.rules[0];
        let caller = self.without_tables.unwind_frame(walk.at, &mut walk.registers, cache, &mut read);
        if let Some(distance) = walk.snapshot.take_beyond() {
            return Err(if distance <= STACK_LIMIT_BYTES { StackEnd::Cut } else { lacking });
        }
        match caller {
            Ok(Some(_)) if stuck::<A>(walk.at, before.sp, A::get(&walk.registers).sp) => Err(lacking),
            Ok(Some(caller)) => FrameAddress::from_return_address(caller).ok_or(StackEnd::Complete),
            // A chain that ended where it had not begun is none.
            Ok(None) if walk.at.is_return_address() => Err(StackEnd::Complete),
            Ok(None) | Err(_) => Err(lacking),
        }
    }

    fn has_tables(&self, mapping: usize) -> bool {
        self.loaded[mapping].as_ref().is_some_and(|(image, _)| image.tables.is_some())
    }

    fn find(&self, address: u64) -> Option<usize> {
        let index = self.mappings.partition_point(|mapping| mapping.end <= address);
        self.mappings.get(index).filter(|mapping| mapping.start <= address).map(|_| index)
    }

    /// What is known about an address, remembered; none if it lies in no mapping.
    fn judge(&mut self, address: u64) -> Option<Judged> {
        if address == FREE {
            return None;
        }
        let place = (address % JUDGED as u64) as usize;
        if self.judged[place].0 != address {
            let mapping = self.find(address)?;
            self.judged[place] =
                (address, Judged { mapping: mapping as u32, ..self.judge_in(mapping, address) });
        }
        Some(self.judged[place].1)
    }

    fn judge_in(&mut self, mapping: usize, address: u64) -> Judged {
        let Some((image, bias)) = &self.loaded[mapping] else { return NOTHING };
        let svma = address.wrapping_sub(*bias);
        // framehop looks no further than 4 GiB above the bias.
        let near = address >= *bias && u32::try_from(svma).is_ok();
        let tables = image.tables.as_ref().filter(|_| near);
        let judged = tables.map_or(Judgement::NOTHING, |tables| judge::<A>(tables, svma, &mut self.context));
        let gap = judged.coverage == Coverage::None;
        let entry = tables.zip(image.entry_of(svma)).is_some_and(|(tables, at)| gap && is_gap(tables, at));
        Judged { tables: judged, outermost: image.outermost(svma), entry, mapping: 0 }
    }
}

/// Whether a step has not gone up the stack.
fn stuck<A: Arch>(at: FrameAddress, before: u64, after: u64) -> bool {
    let may_stay = A::LEAF_KEEPS_SP && !at.is_return_address();
    after < before || (after == before && !may_stay)
}
