//! Unwinds stacks of words with tables of a few bytes, so that each expectation is a literal.
//!
//! The program under test is one ELF file whose file offsets are its addresses, mapped at [`BASE`]: `.text` at 0x1000,
//! of which the one entry of `.eh_frame` covers the first 0x100 bytes.

use std::sync::Arc;

use proptest::prelude::*;

use profiler_common::go::GoOffsets;

use super::*;
use crate::runtimes::go::Outermost;
use profiler_report::recording::{Broken, StackEnd};

mod aarch64;
mod files;

const BASE: u64 = 0x10_0000;
const SP: u64 = 0x7fff_0000;
/// In the covered function.
const FUNCTION: u64 = BASE + 0x1010;
/// In `.text`, but covered by no entry.
const UNCOVERED: u64 = BASE + 0x1210;
/// In memory without a file.
const JIT: u64 = 0x20_0010;

const EH_FRAME: usize = 0x2000;
const EH_FRAME_HDR: usize = 0x3000;
const NAMES: usize = 0x3800;
const SECTIONS: usize = 0x3c00;
const FILE_BYTES: usize = 0x4000;

/// `.eh_frame` with one CIE (CFA = rsp + 8, return address at CFA - 8) and one FDE with these instructions.
fn eh_frame(augmentation: &[u8], instructions: &[u8]) -> (Vec<u8>, u32) {
    eh_frame_of(16, &[0x0c, 7, 8, 0x90, 1], augmentation, instructions)
}

/// The same with the column of the return address, and what holds at the start of a function.
fn eh_frame_of(back: u8, start: &[u8], augmentation: &[u8], instructions: &[u8]) -> (Vec<u8>, u32) {
    let entry = |body: &[u8]| {
        let mut bytes = body.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        [&(bytes.len() as u32).to_le_bytes(), bytes.as_slice()].concat()
    };
    let head = [&[0, 0, 0, 0, 1], augmentation, &[0, 1, 0x78, back, 1, 0x03], start].concat();
    let cie = entry(&head);
    let to_cie = cie.len() as u32 + 4;
    let fixed = [to_cie.to_le_bytes(), 0x1000_u32.to_le_bytes(), 0x100_u32.to_le_bytes()].concat();
    let fde = entry(&[&fixed, [0].as_slice(), instructions].concat());
    (([cie.as_slice(), &fde, &[0; 4]]).concat(), cie.len() as u32)
}

/// `.eh_frame_hdr` whose table has this one entry, relative to its own address.
fn eh_frame_hdr(fde: u32) -> Vec<u8> {
    let relative = |svma: u32| svma.wrapping_sub(EH_FRAME_HDR as u32).to_le_bytes();
    let head: [u8; 4] = [1, 0x0b, 0x03, 0x3b];
    let frames = (EH_FRAME as u32).to_le_bytes();
    [head, frames, 1_u32.to_le_bytes(), relative(0x1000), relative(EH_FRAME as u32 + fde)].concat()
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The file, with an index of its table or without.
fn elf(eh_frame: &[u8], header: Option<&[u8]>) -> Vec<u8> {
    let mut file = vec![0; FILE_BYTES];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 32, &64_u64.to_le_bytes()); // program headers
    put(&mut file, 40, &(SECTIONS as u64).to_le_bytes());
    for (at, value) in [(52, 64_u16), (54, 56), (56, 1), (58, 64), (60, 5), (62, 4)] {
        put(&mut file, at, &value.to_le_bytes());
    }
    // PT_LOAD, readable and executable, the whole file at address 0.
    put(&mut file, 64, &1_u32.to_le_bytes());
    put(&mut file, 68, &5_u32.to_le_bytes());
    put(&mut file, 64 + 32, &(FILE_BYTES as u64).to_le_bytes());
    put(&mut file, 64 + 40, &(FILE_BYTES as u64).to_le_bytes());
    let names = b"\0.text\0.eh_frame\0.eh_frame_hdr\0.shstrtab\0";
    put(&mut file, NAMES, names);
    put(&mut file, EH_FRAME, eh_frame);
    put(&mut file, EH_FRAME_HDR, header.unwrap_or_default());
    let header_bytes = header.map_or(0, <[u8]>::len);
    let sections = [
        (1, 0x1000, 0x1000),
        (7, EH_FRAME, eh_frame.len()),
        (17, EH_FRAME_HDR, header_bytes),
        (31, NAMES, names.len()),
    ];
    for (index, (name, at, length)) in sections.into_iter().enumerate() {
        let section = SECTIONS + 64 * (index + 1);
        put(&mut file, section, &(name as u32).to_le_bytes());
        put(&mut file, section + 4, &1_u32.to_le_bytes());
        for (field, value) in [(16, at), (24, at), (32, length)] {
            put(&mut file, section + field, &(value as u64).to_le_bytes());
        }
    }
    file
}

/// An address space with that file, and with memory that has none.
fn unwinder(file: &[u8]) -> Unwinder {
    unwinder_of(parse_image(file, u64::MAX).unwrap_or_default())
}

fn unwinder_of(image: Image) -> Unwinder {
    let image = Arc::new(image);
    let mappings = [
        Mapping { start: BASE, end: BASE + FILE_BYTES as u64, file_offset: 0, image: Some(0) },
        Mapping { start: 0x20_0000, end: 0x20_1000, file_offset: 0, image: None },
    ];
    Unwinder::new(mappings.into(), |_| Some(image.clone()))
}

fn program(augmentation: &[u8], instructions: &[u8]) -> [Vec<u8>; 2] {
    let (frames, fde) = eh_frame(augmentation, instructions);
    [elf(&frames, Some(&eh_frame_hdr(fde))), elf(&frames, None)]
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn run(unwinder: &mut Unwinder, ip: u64, fp: u64, stack: &[u8]) -> (Vec<Location>, Unwound) {
    let mut out = Vec::new();
    let registers = Registers { ip, sp: SP, fp, lr: 0 };
    let unwound = unwinder.unwind(Captured::new(registers, stack), 64, &mut out);
    (out, unwound)
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::*;

    const NO_INFO: StackEnd = StackEnd::Broken(Broken::NoUnwindInfo);
    const NO_MODULE: StackEnd = StackEnd::Broken(Broken::NoModule);
    /// A value that a program keeps in `rbp` where it needs no frame pointer.
    const VALUE: u64 = 0x1234_5678_9abc;

    fn address(location: Location) -> u64 {
        match location {
            Location::File { file_offset, .. } => BASE + file_offset,
            Location::Unmapped { address } => address,
        }
    }

    #[track_caller]
    fn check_program(file: &[u8], (ip, fp): (u64, u64), stack: &[u64], callers: &[u64], end: StackEnd) {
        let (found, unwound) = run(&mut unwinder(file), ip, fp, &bytes(stack));
        let found: Vec<u64> = found.into_iter().map(address).collect();
        assert_eq!((found.as_slice(), unwound.end), ([&[ip], callers].concat().as_slice(), end));
    }

    /// With the index and without.
    #[track_caller]
    fn check(instructions: &[u8], start: (u64, u64), stack: &[u64], callers: &[u64], end: StackEnd) {
        for file in program(b"zR", instructions) {
            check_program(&file, start, stack, callers, end);
        }
    }

    #[test]
    fn a_return_address_is_looked_up_in_its_call() {
        check(&[], (FUNCTION, VALUE), &[BASE + 0x1050, 0], &[BASE + 0x104f], StackEnd::Complete);
    }

    #[test]
    fn a_call_at_the_end_of_a_function_belongs_to_it() {
        check(&[], (FUNCTION, VALUE), &[BASE + 0x1100, 0], &[BASE + 0x10ff], StackEnd::Complete);
    }

    #[test]
    fn an_undefined_return_address_is_the_threads_start() {
        check(&[0x07, 16], (FUNCTION, VALUE), &[BASE + 0x1050], &[], StackEnd::Complete);
    }

    #[test]
    fn a_stack_that_goes_on_above_the_snapshot_is_cut() {
        check(&[], (FUNCTION, VALUE), &[BASE + 0x1050], &[BASE + 0x104f], StackEnd::Cut);
    }

    /// With the index: without it, framehop takes the entry before an address for its own.
    #[track_caller]
    fn check_indexed(start: (u64, u64), stack: &[u64], callers: &[u64], end: StackEnd) {
        let [indexed, _] = program(b"zR", &[]);
        check_program(&indexed, start, stack, callers, end);
    }

    #[test]
    fn frame_pointers_are_followed_where_there_are_no_tables() {
        let stack = [0, 0, SP + 32, BASE + 0x1300, 0, JIT, 0];
        check_indexed((UNCOVERED, SP + 16), &stack, &[BASE + 0x12ff, JIT - 1], StackEnd::Complete);
        check_indexed((JIT, SP + 16), &stack, &[BASE + 0x12ff, JIT - 1], StackEnd::Complete);
    }

    #[test]
    fn a_leaf_function_without_tables_returns_to_what_is_on_top_of_the_stack() {
        let stack = [BASE + 0x1050, BASE + 0x1060, 0];
        let callers = [BASE + 0x104f, BASE + 0x105f];
        check_indexed((UNCOVERED, VALUE), &stack, &callers, StackEnd::Complete);
    }

    #[test]
    fn a_register_that_is_no_frame_pointer_is_not_followed() {
        check_indexed((UNCOVERED, VALUE), &[7, 0], &[], NO_INFO);
        check_indexed((UNCOVERED, 0), &[7, 0], &[], NO_INFO);
        check_indexed((JIT, VALUE), &[BASE + 0x1050, 0], &[], NO_MODULE);
    }

    #[test]
    fn a_frame_pointer_above_the_snapshot_is_a_cut() {
        check(&[], (JIT, SP + 4096), &[0, 0], &[], StackEnd::Cut);
    }

    #[test]
    fn a_caller_that_is_no_code_is_no_frame() {
        check(&[], (FUNCTION, VALUE), &[0xdead_0000, 0], &[], NO_MODULE);
    }

    const OFFSETS: GoOffsets =
        GoOffsets { tls: -8, g_m: 48, m_curg: 192, sched_sp: 56, sched_bp: 104, m_vdso_sp: 0 };

    /// A program that switches stacks in a function from 0x1040 on, and whose first function begins at 0x1080.
    #[track_caller]
    fn check_switch(other: Option<&[u64]>, callers: &[u64], end: StackEnd, goroutines: Option<GoOffsets>) {
        let [file, _] = program(b"zR", &[]);
        let mut image = parse_image(file.as_slice(), u64::MAX).expect("an image");
        image.outermost = vec![(0x1040..0x1080, Outermost::Switched), (0x1080..0x10c0, Outermost::First)];
        image.goroutines = Some(OFFSETS);
        let (stack, other) = (bytes(&[BASE + 0x1050, 7]), other.map(bytes));
        let mut captured = Captured::new(Registers { ip: FUNCTION, sp: SP, fp: VALUE, lr: 0 }, &stack);
        captured.others.goroutine =
            other.as_deref().map(|bytes| OtherStack { sp: 0xc0_0000_1000, fp: 0, bytes });
        let mut found = vec![];
        let unwound = unwinder_of(image).unwind(captured, 64, &mut found);
        let found: Vec<u64> = found.into_iter().map(address).collect();
        assert_eq!((&found[1..], unwound.end, unwound.goroutines), (callers, end, goroutines));
    }

    #[test]
    fn a_stack_goes_on_on_the_other_one_where_stacks_were_switched() {
        let (switched, inside, first) = (BASE + 0x1050, BASE + 0x1030, BASE + 0x1090);
        let other_stack = StackEnd::Broken(Broken::OtherStack);
        check_switch(None, &[switched - 1], other_stack, Some(OFFSETS));
        let callers = [switched - 1, inside - 1, first - 1];
        check_switch(Some(&[inside, first, 0]), &callers, StackEnd::Complete, None);
        check_switch(Some(&[inside]), &callers[..2], StackEnd::Cut, None);
        check_switch(Some(&[]), &callers[..1], StackEnd::Broken(Broken::StackUnreadable), None);
        // There is no third one.
        let callers = [switched - 1, inside - 1, switched - 1];
        check_switch(Some(&[inside, switched, 0]), &callers, other_stack, Some(OFFSETS));
    }

    #[test]
    fn a_call_into_the_vdso_goes_on_where_its_caller_stands() {
        let [file, _] = program(b"zR", &[]);
        let mut image = parse_image(file.as_slice(), u64::MAX).expect("an image");
        image.outermost = vec![(0x1040..0x1080, Outermost::IntoVdso), (0x1080..0x10c0, Outermost::First)];
        let mut unwinder = unwinder_of(image);
        let (inside, caller, first) = (BASE + 0x1050, BASE + 0x1030, BASE + 0x1090);
        let other = OtherStack { sp: 0xc0_0000_1000, fp: 0, bytes: &bytes(&[caller, first, 0]) };
        let mut check = |ip, fp, stack: &[u64], callers: &[u64]| {
            let stack = bytes(stack);
            let mut captured = Captured::new(Registers { ip, sp: SP, fp, lr: 0 }, &stack);
            captured.others.vdso = Some(other);
            let mut found = vec![];
            let end = unwinder.unwind(captured, 64, &mut found).end;
            let found: Vec<u64> = found.into_iter().map(address).collect();
            assert_eq!((&found[1..], end), (callers, StackEnd::Complete));
        };
        check(FUNCTION, VALUE, &[inside, 7], &[inside - 1, caller - 1, first - 1]);
        // In the function itself, with its own frame, its stack pointer may be anywhere …
        check(inside, other.sp - 8, &[7, 7], &[caller - 1, first - 1]);
        // … and before it has one, what was taken is not about it.
        check(inside, VALUE, &[first, 0], &[first - 1]);
    }

    /// It marks the free places of the table of judged addresses; the fuzzer found that it was taken for one.
    #[test]
    fn the_last_address_lies_in_no_mapping() {
        let [file, _] = program(b"zR", &[]);
        let (frames, unwound) = run(&mut unwinder(&file), u64::MAX, 0, &bytes(&[0]));
        assert_eq!(frames, [Location::Unmapped { address: u64::MAX }]);
        assert!(unwound.met_unmapped);
    }

    #[test]
    fn a_start_outside_of_code_is_kept() {
        check(&[], (0, 0), &[BASE + 0x1050, 0], &[], NO_MODULE);
    }

    #[test]
    fn an_expression_that_jumps_backward_is_not_evaluated() {
        // DW_CFA_def_cfa_expression with DW_OP_skip -3: back to itself.
        check(&[0x0f, 3, 0x2f, 0xfd, 0xff], (FUNCTION, VALUE), &[BASE + 0x1050, 0], &[], NO_INFO);
    }

    #[test]
    fn a_jump_hidden_behind_a_forward_jump_is_not_evaluated() {
        // DW_OP_skip +1 lands inside the operand of DW_OP_const4u, which is DW_OP_skip -3.
        let expression = [0x0f, 8, 0x2f, 0x01, 0x00, 0x0c, 0x2f, 0xfd, 0xff, 0x00];
        check(&expression, (FUNCTION, VALUE), &[BASE + 0x1050, 0], &[], NO_INFO);
    }

    #[test]
    fn a_frame_at_address_one_is_refused() {
        // DW_CFA_def_cfa_expression with DW_OP_lit1: the return address would lie at 1 - 8.
        for file in program(b"zR", &[0x0f, 1, 0x31]) {
            let (frames, unwound) = run(&mut unwinder(&file), FUNCTION, VALUE, &bytes(&[BASE + 0x1050, 0]));
            assert_eq!(frames.len(), 1);
            assert!(matches!(unwound.end, StackEnd::Broken(_)), "{unwound:?}");
        }
    }

    #[test]
    fn a_frame_that_does_not_advance_ends_the_stack() {
        // DW_CFA_def_cfa_expression with DW_OP_breg7 0: the caller has the same stack pointer.
        // DW_CFA_offset_extended_sf r16, -1 * -8: the return address lies above it.
        let instructions = [0x0f, 2, 0x77, 0, 0x11, 16, 0x7f];
        check(&instructions, (FUNCTION, VALUE), &[0, BASE + 0x1050, 0, 0], &[], NO_INFO);
    }

    #[test]
    fn what_a_signal_interrupted_is_no_call() {
        let [indexed, _] = program(b"zRS", &[]);
        check_program(&indexed, (FUNCTION, VALUE), &[BASE + 0x1050, 0], &[BASE + 0x1050], StackEnd::Complete);
    }

    #[test]
    fn too_many_frames_are_cut_off_and_said_so() {
        let stack = [BASE + 0x1050; 100];
        check(&[], (FUNCTION, VALUE), &stack, &[BASE + 0x104f; 63], StackEnd::Broken(Broken::TooDeep));
    }

    #[test]
    fn an_address_in_no_mapping_is_told() {
        let [file, _] = program(b"zR", &[]);
        let mut unwinder = unwinder(&file);
        assert!(run(&mut unwinder, FUNCTION, 0, &bytes(&[0xdead_0000])).1.met_unmapped);
        assert!(!run(&mut unwinder, FUNCTION, 0, &bytes(&[BASE + 0x1050, 0])).1.met_unmapped);
    }
}

#[test]
fn tables_over_the_budget_are_left_out_and_said_so() {
    let [file, _] = program(b"zR", &[]);
    let bytes = parse_image(file.as_slice(), u64::MAX).expect("an image").tables.expect("tables").bytes();
    for (budget, kept) in [(bytes, true), (bytes - 1, false)] {
        let image = parse_image(file.as_slice(), budget).expect("an image");
        assert_eq!((image.tables.is_some(), image.over_budget), (kept, !kept));
    }
}

#[test]
fn the_bias_is_that_of_the_segment_that_is_mapped() {
    let mut file = elf(&[], None);
    // The segment's file offset 0x1000 has address 0x3000; its mapping starts at 0x70_0000.
    put(&mut file, 64 + 8, &0x1000_u64.to_le_bytes());
    put(&mut file, 64 + 16, &0x3000_u64.to_le_bytes());
    let image = parse_image(file.as_slice(), 0).expect("an image");
    assert_eq!(image.bias(0x70_0000, 0x70_2000, 0x1000), Some(0x70_0000 - 0x3000));
    assert_eq!(image.bias(0x70_0000, 0x70_1000, 0), None);
}

#[test]
fn an_index_that_claims_more_rows_than_it_has_is_not_used() {
    let (frames, fde) = eh_frame(b"zR", &[]);
    let header = eh_frame_hdr(fde);
    // The number of rows as eight bytes: DW_EH_PE_udata8. The product with the size of a row would overflow.
    let claims =
        |rows: u64| [&[1, 0x0b, 0x04, 0x3b], &header[4..8], &rows.to_le_bytes(), &header[12..]].concat();
    for (rows, used) in [(1, true), (u64::MAX, false), (1 << 62, false)] {
        let image = parse_image(elf(&frames, Some(&claims(rows))).as_slice(), u64::MAX).expect("an image");
        let index = image.tables.expect("tables").index.bytes;
        assert_eq!(*index == *claims(rows), used, "{rows} rows");
    }
}

#[test]
fn what_is_no_elf_file_is_refused() {
    for file in [b"".as_slice(), b"#!/bin/sh\n", &[0x7f; 200]] {
        assert!(matches!(parse_image(file, 0), Err(Malformed::NotElf)));
    }
}

#[test]
fn headers_outside_of_the_file_are_refused() {
    let mut file = elf(&[], None);
    put(&mut file, 32, &(u64::MAX - 8).to_le_bytes());
    assert!(matches!(parse_image(file.as_slice(), 0), Err(Malformed::Truncated)));
}

/// Unwinds from the covered function, an uncovered one and JIT code. Must end, with no more frames than asked for.
fn survive(file: &[u8], stack: &[u8]) {
    let mut unwinder = unwinder(file);
    for ip in [FUNCTION, UNCOVERED, JIT] {
        let (frames, _) = run(&mut unwinder, ip, SP + 16, stack);
        assert!((1..=64).contains(&frames.len()));
    }
}

proptest! {
    #[test]
    fn any_instructions_are_survived(
        instructions in prop::collection::vec(any::<u8>(), 0..64),
        words in prop::collection::vec(BASE..BASE + 0x2000, 0..64),
    ) {
        for file in program(b"zR", &instructions) {
            survive(&file, &bytes(&words));
        }
    }

    #[test]
    fn any_damage_to_the_file_is_survived(
        damage in prop::collection::vec((0..9_usize, 0..256_usize, any::<u8>()), 1..16),
        words in prop::collection::vec(BASE..BASE + 0x2000, 0..64),
    ) {
        let [mut file, _] = program(b"zRS", &[0x0e, 16, 0x86, 2]);
        for (place, at, byte) in damage {
            let places = [0, EH_FRAME, EH_FRAME_HDR, NAMES, SECTIONS, SECTIONS + 256, EH_FRAME, EH_FRAME_HDR, 64];
            file[places[place] + at] = byte;
        }
        survive(&file, &bytes(&words));
    }

    #[test]
    fn any_bytes_are_survived(file in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut file = file;
        if file.len() >= 7 {
            put(&mut file, 0, b"\x7fELF\x02\x01\x01");
        }
        survive(&file, &file);
    }
}
