//! A program of our own, run one instruction at a time.
//!
//! In: a command. Out: for each stop, the thread and its registers, and the bytes of its memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Why a thread has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After one instruction.
    Step,
    /// Before a signal is delivered; it is delivered with the next step.
    Signal,
    /// A new thread, before its first instruction.
    Start,
}

/// A process whose threads are stopped by us.
pub struct Tracee {
    pub pid: i32,
    memory: File,
    /// The signal that the next step delivers, by thread.
    pending: Vec<(i32, i32)>,
    known: Vec<i32>,
    alive: bool,
}

impl Tracee {
    /// Starts a program and stops it at its first instruction.
    pub fn start(mut command: Command) -> Self {
        // SAFETY: between fork and exec, this makes one system call and touches no memory of ours.
        let child = unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        // Waited for by `next`.
        let pid = child.spawn().expect("the program starts").id() as i32;
        let memory = File::open(format!("/proc/{pid}/mem")).expect("the child's memory");
        let tracee = Self { pid, memory, pending: vec![], known: vec![pid], alive: true };
        wait(pid);
        let options = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
        // SAFETY: the child is stopped; the request takes a number.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options) }, 0);
        tracee
    }

    /// Lets the program's only thread run until it is about to execute the instruction at `address`.
    pub fn run_to(&self, address: u64) {
        let before = self.word(address);
        let breakpoint = (before & !0xff) | 0xcc;
        // SAFETY: the child is stopped; the requests take numbers and, for the registers, a struct of ours.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_POKETEXT, self.pid, address, breakpoint), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_CONT, self.pid, 0, 0), 0);
            wait(self.pid);
            assert_eq!(libc::ptrace(libc::PTRACE_POKETEXT, self.pid, address, before), 0);
            let mut registers = self.registers(self.pid);
            registers.rip -= 1;
            assert_eq!(registers.rip, address, "where the program has stopped");
            assert_eq!(libc::ptrace(libc::PTRACE_SETREGS, self.pid, 0, &raw const registers), 0);
        }
    }

    /// Lets a thread execute one instruction.
    pub fn step(&mut self, tid: i32) {
        let at = self.pending.iter().position(|&(thread, _)| thread == tid);
        let signal = at.map_or(0, |at| self.pending.swap_remove(at).1);
        // SAFETY: takes numbers only. It fails if the thread is gone, which the next wait tells.
        unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, tid, 0, signal) };
    }

    /// Waits for the next thread that stops; none when the process has ended.
    pub fn next(&mut self) -> Option<(i32, Stop)> {
        loop {
            let (tid, status) = wait(-1);
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                if tid == self.pid {
                    self.alive = false;
                    assert_eq!(status, 0, "the program failed");
                    return None;
                }
                continue;
            }
            if !self.known.contains(&tid) {
                self.known.push(tid);
                return Some((tid, Stop::Start));
            }
            let signal = libc::WSTOPSIG(status);
            if signal != libc::SIGTRAP {
                self.pending.push((tid, signal));
                return Some((tid, Stop::Signal));
            }
            return Some((tid, Stop::Step));
        }
    }

    #[expect(clippy::unused_self, reason = "the thread is stopped because this is its tracer")]
    pub fn registers(&self, tid: i32) -> libc::user_regs_struct {
        // SAFETY: the struct is made of integers, for which zero is valid; the kernel writes within it.
        unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, tid, 0, &raw mut registers), 0);
            registers
        }
    }

    /// Fills `bytes` from the memory at `address`, as far as there is any, and says how far.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> usize {
        self.memory.read_at(bytes, address).unwrap_or(0)
    }

    pub fn word(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if self.alive {
            // SAFETY: the child is stopped by us, so its id is its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
    }
}

/// Waits for a child of this thread of ours, so that tests can run side by side.
fn wait(pid: i32) -> (i32, i32) {
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let tid = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(tid > 0, "waiting for the program: {}", io::Error::last_os_error());
    (tid, status)
}
