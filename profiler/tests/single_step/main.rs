//! Unwinds programs at each of their instructions, from the first one on, and compares with the calls that were seen.
//!
//! So each prologue, epilogue, PLT stub, signal frame and leaf function on the way is unwound from each place in it.
#![cfg(target_arch = "x86_64")]

#[allow(dead_code, reason = "their frames are unwound by another test")]
#[path = "../saved/mod.rs"]
mod saved;
mod save;
mod tracee;
mod truth;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use object::Object;
use profiler::process::{Limits, MapsLine, Processes, parse_line};
use profiler::unwind::{Captured, Location, Registers};
use profiler_report::recording::{Broken, StackEnd};

use tracee::{Stop, Tracee};
use truth::{Point, Truth};

/// More than any of the stacks here.
const STACK_BYTES: usize = 24 * 1024;

/// A C or C++ program of this folder, compiled.
fn compile(folder: &Path, compiler: &str, source: &str, options: &[&str]) -> PathBuf {
    let program = folder.join(source.replace('.', "_"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/single_step").join(source);
    let mut command = Command::new(compiler);
    command.args(["-O2", "-g0", "-fomit-frame-pointer", "-pthread"]).args(options);
    let status = command.arg(source).arg("-o").arg(&program).status().expect("the compiler runs");
    assert!(status.success());
    program
}

/// What was found wrong, by where the thread was.
#[derive(Default)]
struct Outcome {
    unwound: usize,
    /// Wrong ones that claim to be complete.
    false_claims: usize,
    wrong: BTreeMap<String, (usize, String)>,
}

struct Run {
    tracee: Tracee,
    processes: Processes,
    maps: Vec<u8>,
    outcome: Outcome,
    /// Callers of the function at which the steps begin, and its stack pointer.
    above: Vec<String>,
    until_sp: u64,
    stack: Vec<u8>,
}

impl Run {
    fn new(command: Command) -> Self {
        Self {
            tracee: Tracee::start(command),
            processes: Processes::new(Limits::default()),
            maps: vec![],
            above: vec![],
            until_sp: u64::MAX,
            outcome: Outcome::default(),
            stack: vec![0; STACK_BYTES],
        }
    }

    /// Lets the program run to a function of its own, whose callers are taken from the first stack.
    fn to(mut self, symbol: u64) -> Self {
        let maps = self.read_maps();
        let program = maps.split(|&byte| byte == b'\n').find_map(parse_line).expect("a mapping");
        self.tracee.run_to(program.start + symbol);
        let registers = self.tracee.registers(self.tracee.pid);
        let (end, found) = self.unwind(&registers);
        assert!(end == StackEnd::Complete && found.len() > 2, "{end:?} {found:?}");
        self.above = found[1..].to_vec();
        self.until_sp = registers.rsp;
        self
    }

    /// Steps through the program and unwinds at each instruction.
    fn through(mut self) -> Outcome {
        let mut threads: HashMap<i32, Truth> = HashMap::from([(self.tracee.pid, Truth::default())]);
        let mut stop = Some((self.tracee.pid, Stop::Start));
        let mut delivering: Vec<i32> = vec![];
        while let Some((tid, why)) = stop {
            let registers = self.tracee.registers(tid);
            let truth = threads.entry(tid).or_default();
            let point = Point { ip: registers.rip, sp: registers.rsp };
            if point.sp > self.until_sp {
                break; // the function has returned
            }
            if why == Stop::Signal {
                delivering.push(tid);
            } else {
                match delivering.iter().position(|&thread| thread == tid) {
                    Some(at) => {
                        delivering.swap_remove(at);
                        truth.interrupted(&self.tracee, point);
                    }
                    None => truth.stepped(&self.tracee, point),
                }
                let (frames, here) = truth.frames(&self.tracee, point);
                self.check(&registers, &frames, here);
            }
            self.tracee.step(tid);
            stop = self.tracee.next();
        }
        self.outcome
    }

    fn check(&mut self, registers: &libc::user_regs_struct, expected: &[u64], here: usize) {
        let (end, mut found) = self.unwind(registers);
        let mut expected: Vec<String> = expected.iter().map(|&address| self.place(address)).collect();
        expected.extend_from_slice(&self.above);
        let other_stack = StackEnd::Broken(Broken::OtherStack);
        if (found == expected && end == StackEnd::Complete)
            || (here < expected.len() && found == expected[..here] && end == other_stack)
        {
            return;
        }
        self.outcome.false_claims += usize::from(end == StackEnd::Complete);
        let differ = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let culprit = expected[differ.saturating_sub(1).min(expected.len() - 1)].clone();
        let from = differ.saturating_sub(2);
        found.drain(..from.min(found.len()));
        expected.drain(..from.min(expected.len()));
        let entry = self.outcome.wrong.entry(culprit).or_default();
        entry.0 += 1;
        if entry.1.is_empty() || (end == StackEnd::Complete && !entry.1.starts_with("Complete")) {
            entry.1 = format!("{end:?}\n  found    {found:?}\n  expected {expected:?}");
        }
    }

    fn unwind(&mut self, registers: &libc::user_regs_struct) -> (StackEnd, Vec<String>) {
        let bytes = self.tracee.read(registers.rsp, &mut self.stack);
        let start = Registers { ip: registers.rip, sp: registers.rsp, fp: registers.rbp, lr: 0 };
        self.outcome.unwound += 1;
        // An hour between two samples, so that new mappings are always looked for.
        let now_ns = self.outcome.unwound as u64 * 3_600_000_000_000;
        let (pid, mut found) = (self.tracee.pid as u32, vec![]);
        let unwound =
            self.processes.unwind(pid, Captured::new(start, &self.stack[..bytes]), now_ns, &mut found);
        (unwound.end, found.iter().map(|location| self.place_of(location)).collect())
    }

    fn read_maps(&self) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/maps", self.tracee.pid)).expect("the child's maps")
    }

    /// A file and the offset in it, as text.
    fn place(&mut self, address: u64) -> String {
        if let Some(place) = place(&self.maps, address) {
            return place;
        }
        self.maps = self.read_maps();
        place(&self.maps, address).unwrap_or_else(|| format!("{address:#x}"))
    }

    fn place_of(&self, location: &Location) -> String {
        match *location {
            Location::File { image, file_offset } => {
                let path = &self.processes.images()[image as usize].path;
                format!("{}+{file_offset:#x}", path.rsplit('/').next().unwrap_or(path))
            }
            Location::Unmapped { address } => format!("{address:#x}"),
        }
    }
}

fn place(maps: &[u8], address: u64) -> Option<String> {
    let lines = maps.split(|&byte| byte == b'\n').filter_map(parse_line);
    let line: MapsLine<'_> = lines.into_iter().find(|line| (line.start..line.end).contains(&address))?;
    let path = String::from_utf8_lossy(&line.path).into_owned();
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    Some(format!("{name}+{:#x}", address - line.start + line.offset))
}

/// What may be wrong.
struct Allowed {
    /// Functions of the program itself.
    functions: &'static [&'static str],
    /// Stacks, among them those in the dynamic linker.
    stacks: usize,
    /// Stacks that claim to be complete.
    false_claims: usize,
}

/// Parts of the C runtime that are written without unwind information, and a function whose first and last instructions
/// find the frame by `r10`, which no sample has.
const WITHOUT_TABLES: &[&str] = &["_init", "_fini", "__do_global_dtors_aux", "aligned_and_alloca"];

const RUNTIME: &[&str] = &["_init", "_fini", "__do_global_dtors_aux"];

#[track_caller]
fn check(program: &Path, from: Option<&str>, at_least: usize, allowed: &Allowed) {
    let mut command = Command::new(program);
    // A library's own calls would be bound one by one.
    command.env("LD_BIND_NOW", if from.is_some() { "1" } else { "" });
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let own = program.file_name().expect("a name").to_string_lossy().into_owned();
    let bytes = std::fs::read(program).expect("the program");
    let object = object::File::parse(bytes.as_slice()).expect("an ELF file");
    let symbols = object.symbol_map();
    let run = Run::new(command);
    let from = from.map(|name| symbols.symbols().iter().find(|symbol| symbol.name() == name));
    let outcome = match from {
        Some(symbol) => run.to(symbol.expect("the function").address()).through(),
        None => run.through(),
    };
    let in_disallowed = |place: &&String| {
        let offset = place.strip_prefix(&format!("{own}+0x")).map(|offset| u64::from_str_radix(offset, 16));
        let Some(Ok(offset)) = offset else { return false };
        // A stripped program has no names.
        !allowed.functions.contains(&symbols.before(offset).map_or("", |symbol| symbol.name()))
    };
    let wrong: usize = outcome.wrong.values().map(|(count, _)| count).sum();
    println!("{own}: {} stacks, {wrong} wrong, {} claims", outcome.unwound, outcome.false_claims);
    for (place, (count, example)) in &outcome.wrong {
        println!("{count} × in {place}: {example}");
    }
    assert!(outcome.unwound >= at_least, "only {} stacks", outcome.unwound);
    assert_eq!(outcome.wrong.keys().filter(in_disallowed).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(wrong <= allowed.stacks, "{wrong} wrong");
    assert!(outcome.false_claims <= allowed.false_claims, "{} false claims", outcome.false_claims);
}

/// Each library function is bound at its first call: `_dl_runtime_resolve` finds its frame by `rbx`, which no sample has.
/// Where it is not the innermost function, `rbx` is found on the stack.
#[test]
fn each_instruction_of_a_c_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(folder.path(), "gcc", "calls.c", &["-Wl,-z,lazy"]);
    let allowed = Allowed { functions: WITHOUT_TABLES, stacks: 1000, false_claims: 1 };
    check(&program, None, 100_000, &allowed);
}

#[test]
fn each_instruction_of_a_c_program_that_is_bound_at_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-Wl,-z,now", "-fcf-protection", "-Wl,-z,ibtplt"];
    let program = compile(folder.path(), "gcc", "calls.c", &options);
    let allowed = Allowed { functions: WITHOUT_TABLES, stacks: 200, false_claims: 1 };
    check(&program, None, 100_000, &allowed);
}

/// Exceptions too. When libgcc hands over to a handler (`uw_install_context_1`), it writes the handler's address and
/// registers over those of its own caller's frame, so for some 20 instructions a throw its stack is not what its table says.
#[test]
fn each_instruction_of_a_cpp_program_with_exceptions() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compile(folder.path(), "g++", "throws.cpp", &["-Wl,-z,now"]);
    let allowed = Allowed { functions: RUNTIME, stacks: 800, false_claims: 800 };
    check(&program, Some("main"), 50_000, &allowed);
}

#[test]
fn each_instruction_of_a_program_that_others_have_built() {
    let allowed = Allowed { functions: &[""], stacks: 200, false_claims: 1 };
    check(Path::new("/bin/true"), None, 100_000, &allowed);
}

/// With `UPDATE_GOLDEN=1` it makes them; otherwise they are unwound in saved_snapshots.rs.
#[test]
fn the_saved_snapshots() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        save::save();
    }
    assert!(!saved::cases().is_empty());
}
