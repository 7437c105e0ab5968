//! The floor: kernel programs that do nothing, on the hooks that the profiler uses.
//!
//! Raw tracepoints, while the profiler's programs are attached by the kernel's types (`tp_btf`): the kernel calls both in the
//! same way (`bpf_trace_run*` in kernel/trace/bpf_trace.c, entered from the tracepoint), and they differ in what the verifier
//! knows of their arguments. What is not here: the iterator, which the profiler runs itself, and perf's own rings.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread::available_parallelism;

use anyhow::{Context, Result};

const TRACEPOINTS: [&str; 4] = ["sched_switch", "sched_waking", "task_newtask", "sched_process_exec"];
const SAMPLES_A_SECOND: u64 = 99;

/// `r0 = 0; exit`, as the kernel reads instructions.
const NOTHING: [u64; 2] = [0xb7, 0x95];

// linux/bpf.h and linux/perf_event.h.
const BPF_PROG_LOAD: i32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;
const BPF_PROG_TYPE_PERF_EVENT: u32 = 7;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_CPU_CLOCK: u64 = 0;
const PERF_FLAG_FD_CLOEXEC: u64 = 8;
/// `freq`, the eleventh of the bit fields: the number is a rate.
const PERF_ATTR_FREQ: u64 = 1 << 10;
/// `_IOW('$', 8, u32)`
const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

/// The part of `union bpf_attr` with which a program is loaded.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    program_type: u32,
    instructions: u32,
    first_instruction: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The part of `union bpf_attr` with which a raw tracepoint is opened.
#[repr(C)]
#[derive(Default)]
struct RawTracepoint {
    name: u64,
    program: u32,
    padding: u32,
}

/// The first version of `perf_event_attr`, which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    sample_rate: u64,
    sample_type: u64,
    read_format: u64,
    bits: u64,
    wake_up: u32,
    breakpoint_type: u32,
    config1: u64,
}

const _: () = assert!(size_of::<ProgramLoad>() == 64 && size_of::<PerfEvent>() == 64);
const _: () = assert!(size_of::<RawTracepoint>() == 16);

/// Attached until this is dropped.
#[derive(Debug)]
pub struct Empty {
    #[expect(dead_code, reason = "held for their effect: closing them detaches the programs")]
    held: Vec<OwnedFd>,
}

impl Empty {
    /// Attaches an empty program to each hook.
    pub fn attach() -> Result<Self> {
        let mut held = Vec::new();
        let on_tracepoint = load(BPF_PROG_TYPE_RAW_TRACEPOINT)?;
        for name in TRACEPOINTS {
            held.push(open_tracepoint(name, &on_tracepoint)?);
        }
        let on_event = load(BPF_PROG_TYPE_PERF_EVENT)?;
        for cpu in 0..available_parallelism()?.get() {
            held.push(open_clock(cpu, &on_event)?);
        }
        Ok(Self { held })
    }
}

fn load(program_type: u32) -> Result<OwnedFd> {
    let attributes = ProgramLoad {
        program_type,
        instructions: NOTHING.len() as u32,
        first_instruction: NOTHING.as_ptr() as u64,
        licence: c"Dual MIT/GPL".as_ptr() as u64,
        ..ProgramLoad::default()
    };
    bpf(BPF_PROG_LOAD, &attributes).context("the kernel does not load an empty program")
}

fn open_tracepoint(name: &str, program: &OwnedFd) -> Result<OwnedFd> {
    let text = CString::new(name)?;
    let attributes = RawTracepoint {
        name: text.as_ptr() as u64,
        program: program.as_raw_fd() as u32,
        ..RawTracepoint::default()
    };
    bpf(BPF_RAW_TRACEPOINT_OPEN, &attributes)
        .with_context(|| format!("cannot attach an empty program to `{name}`"))
}

/// The clock of one CPU, which interrupts it at the profiler's rate.
fn open_clock(cpu: usize, program: &OwnedFd) -> Result<OwnedFd> {
    let attributes = PerfEvent {
        kind: PERF_TYPE_SOFTWARE,
        size: size_of::<PerfEvent>() as u32,
        config: PERF_COUNT_SW_CPU_CLOCK,
        sample_rate: SAMPLES_A_SECOND,
        bits: PERF_ATTR_FREQ,
        ..PerfEvent::default()
    };
    // SAFETY: the kernel reads `size` bytes of the attributes, which outlive the call.
    let event = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)
    };
    let event = descriptor(event).with_context(|| format!("cannot open the clock of CPU {cpu}"))?;
    // SAFETY: this request takes a number, the descriptor of a program that is open.
    let set = unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()) };
    if set < 0 {
        return Err(io::Error::last_os_error()).context("the clock takes no empty program");
    }
    Ok(event)
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of the attributes, and what they point to; the callers keep both alive.
    descriptor(unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) })
}

fn descriptor(result: i64) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a system call has just returned it as a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
