//! Unwinds the saved snapshots and compares with the frames that are written beside them.
#![cfg(target_arch = "x86_64")]

mod saved;

use profiler::unwind::{Captured, Location};

#[test]
fn each_saved_snapshot_has_its_frames() {
    let mut unwinder = saved::unwinder();
    let cases = saved::cases();
    assert!(cases.len() >= 20, "{} snapshots", cases.len());
    for case in cases {
        let mut found = vec![];
        let unwound = unwinder.unwind(Captured::new(case.registers, &case.stack), 512, &mut found);
        let found: Vec<u64> = found
            .iter()
            .map(|frame| match *frame {
                Location::File { file_offset, .. } => saved::BASE + file_offset,
                Location::Unmapped { address } => address,
            })
            .collect();
        let end = format!("{:?} by {:?}", unwound.end, unwound.method);
        assert_eq!((end, found), (case.end, case.frames), "{}", case.name);
    }
}

/// Some of them in numbers, so that neither the file nor the program can change unseen.
#[track_caller]
fn check(name: &str, end: &str, frames: &[u64]) {
    let cases = saved::cases();
    let case = cases.iter().find(|case| case.name == name).expect("a snapshot of that name");
    assert_eq!((case.end.as_str(), case.frames.as_slice()), (end, frames));
}

#[test]
fn a_handler_was_called_by_what_it_interrupted() {
    // handler, restore, interrupted between two instructions, begin, _start
    let frames = [0x40_0170, 0x40_0135, 0x40_02c7, 0x40_03be, 0x40_015a];
    check("handler+0x0, 1", "Complete by Tables", &frames);
}

#[test]
fn a_recursion_of_40_is_whole() {
    let cases = saved::cases();
    let case = cases.iter().find(|case| case.name == "recursion+0x0, 41").expect("a snapshot of that name");
    // 41 times recursion, begin, _start
    assert_eq!((case.end.as_str(), case.frames.len()), ("Complete by Tables", 43));
}

#[test]
fn a_recursion_of_1000_gives_its_first_frames_and_says_so() {
    let cases = saved::cases();
    let case = cases.iter().find(|case| case.name == "recursion+0x0, 1042").expect("a snapshot of that name");
    // Of the 1,001 there are as many as its 1,024 bytes hold, 16 each, and the innermost.
    assert_eq!((case.end.as_str(), case.frames.len()), ("Cut by Tables", 65));
}
