//! Makes the saved snapshots: runs the program of `tests/saved` and takes it at chosen instructions.
//!
//! The frames that are saved are those that [`Truth`] has seen, and how a stack has to end is stated here: nothing of it is
//! an unwinder's answer.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::Command;

use object::{Object, ObjectSymbol};

use super::saved;
use super::tracee::{Stop, Tracee};
use super::truth::{Point, Truth};

const TABLES: &str = "Complete by Tables";
const GUESSED: &str = "Complete by FramePointers";
const CUT: &str = "Cut by Tables";

/// Bytes of the stack that are kept of a deep recursion.
const CUT_BYTES: u64 = 1024;
/// How often `recursion` begins until it is 40 and 1,000 deep.
const DEEP: usize = 41;
const DEEPEST: usize = DEEP + 1001;

/// Compiles the program and writes the snapshots.
pub fn save() {
    let folder = saved::folder();
    let program = folder.join("program");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O2", "-fomit-frame-pointer", "-fno-stack-protector", "-fcf-protection=none"]);
    compiler.args(["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"]);
    compiler.args(["-Wl,--eh-frame-hdr", "program.c", "-o", "program"]).current_dir(&folder);
    assert!(compiler.status().expect("gcc runs").success());
    let bytes = std::fs::read(&program).expect("the program");
    let object = object::File::parse(bytes.as_slice()).expect("an ELF file");
    let functions: Vec<(String, u64, u64)> = object
        .symbols()
        .filter(|symbol| symbol.size() > 0 && symbol.kind() == object::SymbolKind::Text)
        .map(|symbol| (symbol.name().expect("a name").to_owned(), symbol.address(), symbol.size()))
        .collect();
    let mut command = Command::new(&program);
    command.env_clear();
    let text = Recorder { functions, seen: HashMap::new(), text: String::new() }.run(Tracee::start(command));
    std::fs::write(folder.join("stacks"), text).expect("the folder is writable");
    let mut strip = Command::new("strip");
    strip.args(["--strip-all", "--remove-section=.comment", "program"]).current_dir(&folder);
    assert!(strip.status().expect("strip runs").success());
}

struct Recorder {
    functions: Vec<(String, u64, u64)>,
    /// How often each instruction was executed.
    seen: HashMap<u64, usize>,
    text: String,
}

impl Recorder {
    fn run(mut self, mut tracee: Tracee) -> String {
        let mut truth = Truth::default();
        let top = tracee.registers(tracee.pid).rsp + 8;
        let mut stop = Some((tracee.pid, Stop::Start));
        let mut delivering = false;
        while let Some((tid, why)) = stop {
            let registers = tracee.registers(tid);
            let point = Point { ip: registers.rip, sp: registers.rsp };
            if why == Stop::Signal {
                delivering = true;
            } else {
                if delivering {
                    truth.interrupted(&tracee, point);
                    delivering = false;
                } else {
                    truth.stepped(&tracee, point);
                }
                self.take(&tracee, &registers, &truth, top);
            }
            tracee.step(tid);
            stop = tracee.next();
        }
        self.text
    }

    fn take(&mut self, tracee: &Tracee, registers: &libc::user_regs_struct, truth: &Truth, top: u64) {
        let (ip, sp) = (registers.rip, registers.rsp);
        let met = self.seen.entry(ip).and_modify(|met| *met += 1).or_insert(1);
        let met = *met;
        let function = self.functions.iter().find(|(_, start, size)| (*start..start + size).contains(&ip));
        let Some((name, start, _)) = function.cloned() else { return };
        // The order of its instructions is that of their first execution: these functions do not jump.
        let index = self.seen.keys().filter(|&&seen| (start..ip).contains(&seen)).count();
        let Some(end) = end(&name, index, met) else { return };
        if name == "interrupted" && index == 1 {
            // SAFETY: takes numbers; the child is stopped by us.
            unsafe { libc::syscall(libc::SYS_tgkill, tracee.pid, tracee.pid, libc::SIGUSR1) };
        }
        let other_stack = sp < top - (1 << 20);
        let top = match end {
            CUT => sp + CUT_BYTES,
            _ if other_stack => sp + 32,
            _ => top,
        };
        let words: Vec<String> = (sp..top).step_by(8).map(|at| format!("{:x}", tracee.word(at))).collect();
        let (mut frames, _) = truth.frames(tracee, Point { ip, sp });
        if end == CUT {
            frames.truncate(1 + truth.callers_below(top));
        }
        if other_stack {
            let first = self.functions.iter().find(|(name, ..)| name == "on_new_stack").expect("it is there");
            let own = |frame: &u64| (first.1..first.1 + first.2).contains(frame);
            frames.truncate(frames.iter().position(own).expect("called by it") + 1);
        }
        let frames: Vec<String> = frames.iter().map(|frame| format!("{frame:x}")).collect();
        let _ = writeln!(
            self.text,
            "{name}+{:#x}, {met}: {ip:x} {sp:x} {:x}\n  {}\n  = {end}: {}",
            ip - start,
            registers.rbp,
            words.join(" "),
            frames.join(" "),
        );
    }
}

/// How a stack that is taken there has to end; none if it is not taken.
fn end(function: &str, index: usize, met: usize) -> Option<&'static str> {
    let tables = match function {
        // Once from each of its callers.
        "leaf" => index == 0 && matches!(met, 1 | 6 | 8),
        "recursion" if index == 0 && met == DEEPEST => return Some(CUT),
        "recursion" => index == 0 && met == DEEP,
        // Its first and last instructions find the frame by `r10`, which no snapshot has.
        "aligned_and_alloca" => met == 1 && matches!(index, 0 | 11..=15),
        "bare_leaf" if met == 1 => return Some(GUESSED),
        "bare_framed" if met == 1 && index == 3 => return Some(GUESSED),
        // The last one has the stack pointer of its caller before and after, which is not its frame.
        "bare_leaf" | "bare_framed" | "on_new_stack" => false,
        _ => met == 1,
    };
    tables.then_some(TABLES)
}
