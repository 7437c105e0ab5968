//! Unwinds living processes: this one, whose call chain is known, and `sleep`, whose registers the kernel shows.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use object::{Object, ObjectSegment, ObjectSymbol};

use super::*;
use crate::read_at::ReadAt;
use crate::unwind::{Captured, Registers, parse_image};

/// Bytes of stack that a test takes: more than its call chain has.
const ENOUGH: usize = 256 * 1024;

#[cfg(target_arch = "x86_64")]
#[expect(clippy::inline_always, reason = "a frame of its own would be gone when the stack is read")]
#[inline(always)]
fn own_registers() -> Registers {
    let (ip, sp, fp): (u64, u64, u64);
    // SAFETY: only reads registers.
    unsafe {
        std::arch::asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) ip, out(reg) sp, out(reg) fp,
                        options(nomem, nostack));
    }
    Registers { ip, sp, fp, lr: 0 }
}

#[cfg(target_arch = "aarch64")]
#[expect(clippy::inline_always, reason = "a frame of its own would be gone when the stack is read")]
#[inline(always)]
fn own_registers() -> Registers {
    let (ip, sp, fp, lr): (u64, u64, u64, u64);
    // SAFETY: only reads registers.
    unsafe {
        std::arch::asm!("adr {}, .", "mov {}, sp", "mov {}, x29", "mov {}, x30",
                        out(reg) ip, out(reg) sp, out(reg) fp, out(reg) lr, options(nomem, nostack));
    }
    Registers { ip, sp, fp, lr }
}

/// The stack of a process from `sp` up to its end or to `most` bytes.
fn stack_of(pid: u32, sp: u64, most: usize) -> Vec<u8> {
    let maps = fs::read(format!("/proc/{pid}/maps")).expect("maps");
    let mut lines = maps.split(|byte| *byte == b'\n').filter_map(parse_line);
    let end = lines.find(|line| (line.start..line.end).contains(&sp)).expect("the stack's mapping").end;
    let mut bytes = vec![0; most.min((end - sp) as usize)];
    let memory = File::open(format!("/proc/{pid}/mem")).expect("mem");
    memory.read_exact_at(&mut bytes, sp).expect("the stack");
    bytes
}

struct Snapshot {
    registers: Registers,
    stack: Vec<u8>,
}

#[inline(never)]
fn chain_inner(most: usize) -> Snapshot {
    let registers = own_registers();
    std::hint::black_box(Snapshot { registers, stack: stack_of(std::process::id(), registers.sp, most) })
}

#[inline(never)]
fn chain_middle(most: usize) -> Snapshot {
    std::hint::black_box(chain_inner(most))
}

#[inline(never)]
fn chain_outer(depth: u32, most: usize) -> Snapshot {
    std::hint::black_box(if depth == 0 { chain_middle(most) } else { chain_outer(depth - 1, most) })
}

fn unwind(processes: &mut Processes, pid: u32, snapshot: &Snapshot) -> (Vec<Location>, StackEnd) {
    let mut out = Vec::new();
    let unwound = processes.unwind(pid, Captured::new(snapshot.registers, &snapshot.stack), 0, &mut out);
    (out, unwound.end)
}

/// The functions of this program among the frames, looked up in its symbol table.
fn own_names(processes: &Processes, frames: &[Location]) -> Vec<String> {
    let exe = fs::read("/proc/self/exe").expect("own binary");
    let object = object::File::parse(exe.as_slice()).expect("an ELF file");
    let own = fs::read_link("/proc/self/exe").expect("a path");
    let own = processes.images().iter().position(|image| image.path == own.to_string_lossy());
    let own = own.expect("the own image") as u32;
    let mut names = Vec::new();
    for frame in frames {
        let Location::File { image, file_offset } = *frame else { continue };
        let in_file = |segment: &object::Segment<'_, '_>| {
            let (from, size) = segment.file_range();
            (from..from + size).contains(&file_offset)
        };
        let Some(segment) = object.segments().find(in_file).filter(|_| image == own) else { continue };
        let svma = file_offset - segment.file_range().0 + segment.address();
        let symbol = object.symbols().find(|s| (s.address()..s.address() + s.size()).contains(&svma));
        names.push(symbol.and_then(|s| Some(s.name().ok()?.to_owned())).unwrap_or_default());
    }
    names
}

#[track_caller]
fn check_chain(depth: u32, functions: &[&str]) {
    let snapshot = std::thread::spawn(move || chain_outer(depth, ENOUGH)).join().expect("a thread");
    let mut processes = Processes::new(Limits::default());
    let (frames, end) = unwind(&mut processes, std::process::id(), &snapshot);
    let names = own_names(&processes, &frames);
    let found: Vec<bool> = names.iter().zip(functions).map(|(name, part)| name.contains(part)).collect();
    assert!(found.len() == functions.len() && found.iter().all(|found| *found), "{names:?}");
    assert_eq!(end, StackEnd::Complete);
}

#[test]
fn a_call_chain_is_unwound_to_the_threads_start() {
    check_chain(2, &["chain_inner", "chain_middle", "chain_outer", "chain_outer", "chain_outer"]);
}

#[test]
fn a_deep_recursion_is_unwound() {
    let mut functions = vec!["chain_inner", "chain_middle"];
    functions.extend([("chain_outer"); 301]);
    check_chain(300, &functions);
}

#[test]
fn a_recursion_beyond_the_bound_keeps_its_inner_frames() {
    let snapshot = chain_outer(1000, ENOUGH);
    let mut processes = Processes::new(Limits { frames: 100, ..Limits::default() });
    let (frames, end) = unwind(&mut processes, std::process::id(), &snapshot);
    assert_eq!((frames.len(), end), (100, StackEnd::Broken(Broken::TooDeep)));
}

#[test]
fn a_short_snapshot_is_cut() {
    let snapshot = chain_outer(100, 1024);
    let mut processes = Processes::new(Limits::default());
    let (frames, end) = unwind(&mut processes, std::process::id(), &snapshot);
    assert!(frames.len() > 1, "{frames:?}");
    assert_eq!(end, StackEnd::Cut);
}

#[test]
fn an_empty_snapshot_keeps_the_first_frame() {
    let mut snapshot = chain_outer(1, 1024);
    snapshot.stack.clear();
    let mut processes = Processes::new(Limits::default());
    let (frames, end) = unwind(&mut processes, std::process::id(), &snapshot);
    assert_eq!((frames.len(), end), (1, StackEnd::Broken(Broken::StackUnreadable)));
}

#[test]
fn a_stack_of_garbage_is_broken() {
    let mut snapshot = chain_outer(1, 64 * 1024);
    snapshot.stack.fill(0x5a);
    let mut processes = Processes::new(Limits::default());
    let (frames, end) = unwind(&mut processes, std::process::id(), &snapshot);
    assert_eq!((frames.len(), end), (1, StackEnd::Broken(Broken::NoModule)));
}

#[test]
fn without_unwind_tables_the_image_is_still_known() {
    let snapshot = chain_outer(1, ENOUGH);
    let mut processes = Processes::new(Limits { unwind_bytes: 0, ..Limits::default() });
    let (frames, _) = unwind(&mut processes, std::process::id(), &snapshot);
    assert!(own_names(&processes, &frames)[0].contains("chain_inner"));
    assert!(processes.counts().without_tables > 0);
}

#[test]
fn a_process_that_is_gone_keeps_its_sample() {
    let mut child = sleep("/bin/sleep");
    let pid = child.id();
    stop(&mut child);
    let snapshot =
        Snapshot { registers: Registers { ip: 0x1234, ..Registers::default() }, stack: Vec::new() };
    let (frames, end) = unwind(&mut Processes::new(Limits::default()), pid, &snapshot);
    assert_eq!(frames, [Location::Unmapped { address: 0x1234 }]);
    assert_eq!(end, StackEnd::Broken(Broken::ProcessGone));
}

fn sleep(program: impl AsRef<std::ffi::OsStr>) -> Child {
    Command::new(program).arg("600").spawn().expect("sleep")
}

/// By another process: children that other tests start meanwhile would hold a descriptor of ours for a moment, and nobody can
/// run a file that is open for writing.
fn copy_of_sleep(to: &Path) {
    let copied = Command::new("cp").arg("/bin/sleep").arg(to).status().expect("cp runs");
    assert!(copied.success(), "{copied}");
}

fn stop(child: &mut Child) {
    child.kill().expect("a child to kill");
    child.wait().expect("a child to wait for");
}

/// Waits until a child blocks in a system call, and takes what the kernel shows of its registers. The frame pointer
/// is not among them, but `sleep` and the C library do not use one.
fn blocked(pid: u32) -> Snapshot {
    let is_sleeping = |line: &str| line.starts_with(&format!("{} ", libc::SYS_clock_nanosleep));
    for _ in 0..500 {
        let line = fs::read_to_string(format!("/proc/{pid}/syscall")).expect("syscall");
        let fields: Vec<&str> = line.split_whitespace().collect();
        if is_sleeping(&line) {
            let value = |field: &str| u64::from_str_radix(field.trim_start_matches("0x"), 16).expect("hex");
            let registers = Registers { ip: value(fields[8]), sp: value(fields[7]), fp: 0, lr: 0 };
            return Snapshot { registers, stack: stack_of(pid, registers.sp, ENOUGH) };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("sleep does not sleep");
}

#[cfg(target_arch = "x86_64")]
fn image_of(processes: &Processes, frame: &Location) -> String {
    match frame {
        Location::File { image, .. } => processes.images()[*image as usize].path.clone(),
        Location::Unmapped { .. } => String::new(),
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_sleeping_program_is_unwound_from_the_c_library_to_its_start() {
    let mut child = sleep("/bin/sleep");
    let snapshot = blocked(child.id());
    let mut processes = Processes::new(Limits::default());
    let (frames, end) = unwind(&mut processes, child.id(), &snapshot);
    stop(&mut child);
    let inner = image_of(&processes, &frames[0]);
    let outer = image_of(&processes, frames.last().expect("frames"));
    assert!(inner.contains("libc"), "{inner}");
    assert!(outer.ends_with("/sleep"), "{outer}");
    assert_eq!(end, StackEnd::Complete);
    // `_start` is the program's entry: the return address lies a few instructions behind it.
    let program = fs::read("/bin/sleep").expect("sleep");
    let object = object::File::parse(program.as_slice()).expect("an ELF file");
    let segment = object.segments().find(|s| (s.address()..s.address() + s.size()).contains(&object.entry()));
    let segment = segment.expect("the segment of the entry");
    let entry = object.entry() - segment.address() + segment.file_range().0;
    let Some(Location::File { file_offset, .. }) = frames.last() else { panic!("{frames:?}") };
    assert!((entry..entry + 64).contains(file_offset), "{file_offset:#x} is not just behind {entry:#x}");
}

#[test]
fn a_deleted_program_is_still_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("sleep");
    copy_of_sleep(&program);
    let mut child = sleep(&program);
    let snapshot = blocked(child.id());
    fs::remove_file(&program).expect("to delete");
    let mut processes = Processes::new(Limits::default());
    let (_, _) = unwind(&mut processes, child.id(), &snapshot);
    stop(&mut child);
    let image = processes.images().iter().find(|image| *image.path == *program.to_string_lossy());
    let image = image.expect("the deleted program");
    // By its mapping it is found with privileges only; without them it must not be taken for something else.
    // SAFETY: has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        let original = parse_image(&File::open("/bin/sleep").expect("sleep"), 0).expect("an image").build_id;
        assert!(!original.is_empty());
        assert_eq!(image.build_id, original);
        let file = image.file.as_ref().expect("an open file").file();
        assert_eq!(ReadAt::size(file).expect("a size"), fs::metadata("/bin/sleep").expect("sleep").len());
    } else {
        assert!(image.build_id.is_empty() && image.file.is_none());
    }
}

#[test]
fn a_replaced_program_is_not_read_in_place_of_the_mapped_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("sleep");
    copy_of_sleep(&program);
    let mut child = sleep(&program);
    blocked(child.id());
    fs::remove_file(&program).expect("to delete");
    fs::copy("/bin/cat", &program).expect("a copy");
    let mut processes = Processes::new(Limits::default());
    processes.refresh(child.id(), 0).expect("maps");
    stop(&mut child);
    let wrong = parse_image(&File::open("/bin/cat").expect("cat"), 0).expect("an image").build_id;
    assert!(!wrong.is_empty());
    assert!(processes.images().iter().all(|image| image.build_id != wrong));
}

#[test]
fn a_child_has_its_parents_mappings_before_they_are_read() {
    let snapshot = chain_outer(1, ENOUGH);
    let mut processes = Processes::new(Limits::default());
    let (expected, end) = unwind(&mut processes, std::process::id(), &snapshot);
    let nobody = u32::MAX - 1;
    processes.forked(std::process::id(), nobody, 0);
    assert_eq!(unwind(&mut processes, nobody, &snapshot), (expected, end));
    assert!(processes.refresh(nobody, 0).is_err());
    assert_eq!(unwind(&mut processes, nobody, &snapshot).1, end);
    processes.replaced(nobody, 0);
    assert_eq!(unwind(&mut processes, nobody, &snapshot).1, StackEnd::Broken(Broken::ProcessGone));
}

#[test]
fn code_that_is_mapped_later_is_found_once_the_pause_is_over() {
    let mut processes = Processes::new(Limits::default());
    let pid = std::process::id();
    processes.refresh(pid, 0).expect("own maps");
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("code");
    fs::copy("/bin/cat", &program).expect("a copy");
    let code = map_code(&program);
    let snapshot = Snapshot {
        registers: Registers { ip: code, sp: 0x1000, fp: 0x2000, lr: 0 },
        stack: vec![0; 4096 + 64],
    };
    let mut at = |now_ns| {
        let mut out = Vec::new();
        processes.unwind(pid, Captured::new(snapshot.registers, &snapshot.stack), now_ns, &mut out);
        processes.images().iter().any(|image| *image.path == *program.to_string_lossy())
    };
    assert!(!at(FIRST_PAUSE_NS - 1));
    assert!(at(FIRST_PAUSE_NS));
}

/// Maps a program as code, as `dlopen` does, and leaves it mapped.
fn map_code(path: &std::path::Path) -> u64 {
    use std::os::fd::AsRawFd;
    let file = File::open(path).expect("the program");
    let (start, flags) = (std::ptr::null_mut(), libc::MAP_PRIVATE);
    // SAFETY: a new private mapping of an open file, at a place that the kernel chooses.
    let code =
        unsafe { libc::mmap(start, 4096, libc::PROT_READ | libc::PROT_EXEC, flags, file.as_raw_fd(), 0) };
    assert_ne!(code, libc::MAP_FAILED);
    code as u64
}

#[test]
fn processes_with_the_same_layout_share_it() {
    let mut processes = Processes::new(Limits::default());
    let own = std::process::id();
    processes.refresh(own, 0).expect("own maps");
    processes.forked(own, u32::MAX - 1, 0);
    processes.forked(own, u32::MAX - 2, 0);
    assert_eq!(processes.spaces.len(), 1);
    for tgid in [own, u32::MAX - 1, u32::MAX - 2] {
        processes.forget(tgid);
    }
    assert_eq!(processes.spaces.len(), 0);
}

#[test]
fn the_process_sampled_longest_ago_is_forgotten_first() {
    let mut processes = Processes::new(Limits { processes: 8, ..Limits::default() });
    let own = std::process::id();
    processes.refresh(own, 0).expect("own maps");
    for child in 0..8 {
        processes.forked(own, u32::MAX - 1 - child, 0);
    }
    assert!(!processes.by_tgid.contains_key(&own));
    assert!(processes.by_tgid.contains_key(&(u32::MAX - 8)));
    assert_eq!(processes.counts().processes_forgotten, 2);
}
