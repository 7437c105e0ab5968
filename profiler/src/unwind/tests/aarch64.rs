//! aarch64, on any host: a call leaves the return address in a register, and it may be signed.

use super::*;
use profiler_report::recording::Method;

/// A stack pointer as Linux gives it, so that 48 bits are an address's.
const SP: u64 = 0x7fff_ffff_0000;
/// A signature, in the bits above the address.
const SIGNED: u64 = 0x002b << 48;

/// A function whose frame is the stack pointer at its start.
fn unwinder(instructions: &[u8]) -> ArchUnwinder<Arm> {
    let (frames, fde) = eh_frame_of(30, &[0x0c, 31, 0], b"zR", instructions);
    let file = elf(&frames, Some(&eh_frame_hdr(fde)));
    let image = Arc::new(parse_image(file.as_slice(), u64::MAX).expect("an image"));
    let mapping = Mapping { start: BASE, end: BASE + FILE_BYTES as u64, file_offset: 0, image: Some(0) };
    ArchUnwinder::new([mapping].into(), |_| Some(image.clone()))
}

#[track_caller]
fn check(
    instructions: &[u8],
    (ip, fp, lr): (u64, u64, u64),
    stack: &[u64],
    callers: &[u64],
    (end, method): (StackEnd, Method),
) {
    let mut out = vec![];
    let registers = Registers { ip, sp: SP, fp, lr };
    let unwound = unwinder(instructions).unwind(Captured::new(registers, &bytes(stack)), 64, &mut out);
    let expected: Vec<Location> = [&[ip], callers]
        .concat()
        .into_iter()
        .map(|address| Location::File { image: 0, file_offset: address - BASE })
        .collect();
    assert_eq!((out, unwound.end, unwound.method), (expected, end, method));
}

const LACKING: StackEnd = StackEnd::Broken(Broken::NoUnwindInfo);

/// `stp x29, x30, [sp, #-16]!`: the frame is 16 bytes, and both lie in it.
const FRAME: &[u8] = &[0x0e, 16, 0x9d, 2, 0x9e, 1];

#[test]
fn a_leaf_returns_to_the_link_register() {
    // Its caller is the same function, which as a caller cannot be a leaf: it has gone nowhere.
    check(&[], (FUNCTION, 0, BASE + 0x1050), &[0], &[BASE + 0x104f], (LACKING, Method::Tables));
}

#[test]
fn a_signed_return_address_in_the_link_register_is_stripped() {
    check(&[], (FUNCTION, 0, SIGNED | (BASE + 0x1050)), &[0], &[BASE + 0x104f], (LACKING, Method::Tables));
}

#[test]
fn a_signed_return_address_on_the_stack_is_stripped() {
    let stack = [0, SIGNED | (BASE + 0x1050), 0, 0];
    check(FRAME, (FUNCTION, 0, 7), &stack, &[BASE + 0x104f], (StackEnd::Complete, Method::Tables));
}

#[test]
fn a_rule_that_reads_memory_strips_too() {
    // DW_CFA_def_cfa_expression with DW_OP_breg31 16 and DW_OP_deref; x29 and x30 below what it gives.
    let instructions = [0x0f, 3, 0x8f, 16, 0x06, 0x9d, 2, 0x9e, 1];
    let stack = [0, SIGNED | (BASE + 0x1050), SP + 16, 0];
    // The caller's own frame would be told by what lies above the snapshot.
    check(&instructions, (FUNCTION, 0, 7), &stack, &[BASE + 0x104f], (StackEnd::Cut, Method::Tables));
}

#[test]
fn an_undefined_link_register_is_the_threads_start() {
    check(&[0x07, 30], (FUNCTION, 0, BASE + 0x1050), &[0], &[], (StackEnd::Complete, Method::Tables));
}

#[test]
fn frame_records_are_followed_where_there_are_no_tables() {
    // Not innermost, so the frame pointer's record is the caller's: [x29, x30].
    let stack = [SP + 16, SIGNED | (BASE + 0x1301), 0, 0];
    let start = (UNCOVERED, SP, 0);
    check(&[], start, &stack, &[BASE + 0x1300], (StackEnd::Complete, Method::FramePointers));
}

#[test]
fn a_stack_that_goes_on_above_the_snapshot_is_cut() {
    check(FRAME, (FUNCTION, 0, 7), &[0], &[], (StackEnd::Cut, Method::Tables));
}
