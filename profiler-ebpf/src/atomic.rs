//! Adds to numbers in maps that several CPUs may add to at once.
//!
//! One instruction each, which all kernels know (`BPF_XADD`). `core` offers no such operation for BPF, because it would return
//! the old value, which only kernels since 5.12 can; LLVM's assembler does.

/// Adds to a number of 8 bytes.
///
/// # Safety
/// `to` points into a map, aligned to 8 bytes.
#[inline(always)]
pub unsafe fn add(to: *mut u64, number: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: by the caller's word.
    unsafe {
        core::arch::asm!("lock *(u64 *)({to} + 0) += {number}", to = in(reg) to, number = in(reg) number);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: by the caller's word.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(to).fetch_add(number, core::sync::atomic::Ordering::Relaxed);
    }
}

/// Adds one to a number of 4 bytes.
///
/// # Safety
/// `to` points into a map, aligned to 4 bytes.
#[inline(always)]
pub unsafe fn increment(to: *mut u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: by the caller's word.
    unsafe {
        core::arch::asm!("lock *(u32 *)({to} + 0) += {one}", to = in(reg) to, one = in(reg) 1_u64);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: by the caller's word.
    unsafe {
        core::sync::atomic::AtomicU32::from_ptr(to).fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }
}
