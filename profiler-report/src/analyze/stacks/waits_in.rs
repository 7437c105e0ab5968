//! Which kernel function says what a stack does in the kernel.
//!
//! In: the names of a kernel stack. Out: the innermost one that is neither how each wait goes to sleep nor how each
//! system call and interrupt enters the kernel.

/// The telling function of a kernel stack, given innermost first.
pub fn telling<'a>(mut functions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    functions.find(|function| !is_plumbing(function)).filter(|function| !is_entry(function))
}

/// Whether a kernel function only passes on a wait that its caller asked for.
fn is_plumbing(function: &str) -> bool {
    const EXACT: &[&str] =
        &["__cond_resched", "_cond_resched", "context_switch", "__switch_to", "__switch_to_asm"];
    const PREFIXES: &[&str] =
        &["schedule", "__schedule", "io_schedule", "preempt_schedule", "finish_task_switch"];
    EXACT.contains(&function) || PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}

/// Whether a kernel function stands at the root of all system calls, or of all interrupts and faults.
fn is_entry(function: &str) -> bool {
    const EXACT: &[&str] =
        &["do_syscall_64", "x64_sys_call", "invoke_syscall", "el0_svc_common", "do_el0_svc", "el0_svc"];
    const PREFIXES: &[&str] = &["entry_SYSCALL_", "asm_", "el0t_64_", "el0_svc_common"];
    EXACT.contains(&function) || PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(functions: &[&str], expected: Option<&str>) {
        assert_eq!(telling(functions.iter().copied()), expected);
    }

    #[test]
    fn what_every_wait_has_tells_nothing() {
        check(&["__schedule", "schedule", "schedule_timeout", "unix_stream_read"], Some("unix_stream_read"));
        check(&["io_schedule_timeout", "preempt_schedule_irq", "schedule"], None);
    }

    #[test]
    fn the_way_into_the_kernel_tells_nothing() {
        check(&["do_syscall_64", "entry_SYSCALL_64_after_hwframe"], None);
        check(&["asm_sysvec_apic_timer_interrupt"], None);
    }

    #[test]
    fn a_futex_is_no_plumbing() {
        check(&["schedule", "futex_wait_queue", "do_syscall_64"], Some("futex_wait_queue"));
    }
}
