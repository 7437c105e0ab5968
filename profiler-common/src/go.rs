//! Where a Go program keeps its goroutines.

/// Offsets by which the goroutine is found that a thread runs for. Value of the map `GO_PROCESSES`, keyed by the process's id
/// in the profiler's PID namespace.
///
/// `runtime.systemstack` and `runtime.asmcgocall` go on on the thread's own stack, that of the goroutine `g0`. The one that
/// they came from is `g.m.curg`, and has where it stands in `sched`:
/// <https://github.com/golang/go/blob/go1.19.8/src/runtime/asm_amd64.s#L448>.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GoOffsets {
    /// Of the present goroutine's address in the thread's own storage, from its base; negative.
    pub tls: i32,
    /// `g.m`.
    pub g_m: u32,
    /// `m.curg`.
    pub m_curg: u32,
    /// `g.sched.sp`.
    pub sched_sp: u32,
    /// `g.sched.bp`.
    pub sched_bp: u32,
    /// `m.vdsoSP`: where the stack goes on below a call into the vDSO, which runs on the thread's stack too; 0 if unknown.
    pub m_vdso_sp: u32,
}

/// `g.stack.hi`: `stack` is the first field of a goroutine, and `hi` its second.
pub const G_STACK_HI: u32 = 8;

const _: () = assert!(size_of::<GoOffsets>() == 24, "kernel/user ABI");
