//! Facts about this machine and this process, and its clocks.

use std::{
    collections::BTreeSet,
    fs, io,
    time::{Duration, SystemTime},
};

/// CPU time of this thread.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CLOCK_MONOTONIC, the clock of the kernel programs (`bpf_ktime_get_ns`).
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec`, to a valid place; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since 1970.
pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// CPU time in user and in kernel mode.
pub fn cpu_ns(usage: &libc::rusage) -> u64 {
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// CPUs of the machine that are online, whichever of them this process may use.
pub fn online_cpus() -> u32 {
    // SAFETY: takes and returns numbers.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as u32
}

/// CPUs that are online and on which a thread may run.
///
/// # Errors
/// The kernel's: there is no such thread.
pub fn thread_cpus(tid: u32) -> io::Result<BTreeSet<u32>> {
    /// For 65,536 CPUs, above `NR_CPUS` of any architecture. The C library's own mask ends at 1,024.
    const WORDS: usize = 1024;
    let mut mask = [0_u64; WORDS];
    // SAFETY: `mask` has as many bytes as is said.
    let bytes =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, tid, size_of_val(&mask), mask.as_mut_ptr()) };
    if bytes < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..8 * bytes as u32).filter(|cpu| mask[*cpu as usize / 64] >> (cpu % 64) & 1 == 1).collect())
}

/// CPUs that may ever be online: as many as maps and buffers by CPU have room for.
pub fn possible_cpus() -> u32 {
    // SAFETY: takes and returns numbers.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }.max(1) as u32
}

/// This process's id in the initial PID namespace, as far as `/proc` shows it: the first of its ids.
pub fn initial_tgid() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let first = ids.and_then(|ids| ids.split_whitespace().next()?.parse().ok());
    first.unwrap_or_else(std::process::id)
}

/// Whether a hypervisor says that it is there: bit 31 of ECX in CPUID leaf 1, which x86_64 reserves for that.
pub fn is_virtual_machine() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.lines().find(|line| line.starts_with("flags")).is_some_and(|flags| flags.contains(" hypervisor"))
}

/// Lets a signal end the process again.
pub fn restore_default(signal: libc::c_int) {
    // SAFETY: sets the default action, no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Gives freed memory back to the kernel: attaching needs some 30 MB for a moment, recording a tenth of it.
#[cfg(target_env = "gnu")]
pub fn return_free_memory() {
    // SAFETY: takes a number; only free memory is touched.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators return memory by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn return_free_memory() {}
