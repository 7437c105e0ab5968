//! The filter of system calls (seccomp).
//!
//! Two programs. The first knows what the profiler calls, measured with strace and read from the libraries: any other call
//! is answered as by a kernel that lacks it (`ENOSYS`), for which the C library has another way. The second names what
//! nobody but an attacker would call, and answers that it is not permitted (`EPERM`). Nothing kills the process: a recording
//! must not be lost because a library has learned a new call.

use anyhow::{Context as _, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter, apply_filter_all_threads,
};

use super::calls;

/// What depends on the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Servers may be asked.
    pub network: bool,
    /// The one process that may be sent a signal.
    pub signalled: Option<u32>,
}

type Rules = std::collections::BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts all threads of this process, and those to come. The process gives up gaining privileges by an exec.
///
/// # Errors
/// The kernel has no such filters, or a thread has one already.
pub fn install(allowed: &Allowed) -> Result<()> {
    let known = program(known(allowed)?, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)?;
    let refused = program(refused()?, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))?;
    // Of two refusals, the kernel gives the error of the program that was installed last.
    apply_filter_all_threads(&known).context("the kernel refuses the system call filter")?;
    apply_filter_all_threads(&refused).context("the kernel refuses the second system call filter")
}

/// Restricts the calling thread, further than the others, to waiting and to asking for the programs' run time.
pub fn install_for_keeper() -> Result<()> {
    let mut rules: Rules = calls::WAITING.iter().map(|&call| (call, vec![])).collect();
    rules.insert(libc::SYS_bpf, vec![is(0, calls::BPF_ENABLE_STATS)?]);
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    apply_filter(&program(rules, refusal, SeccompAction::Allow)?)
        .context("the kernel refuses the filter for one thread")
}

fn known(allowed: &Allowed) -> Result<Rules> {
    let lists = [calls::COMMON, calls::OLD, if allowed.network { calls::NETWORK } else { &[] }];
    let mut rules: Rules = lists.into_iter().flatten().map(|&call| (call, vec![])).collect();
    let bpf = calls::BPF_COMMANDS.iter().map(|&command| is(0, command)).collect::<Result<_>>()?;
    rules.insert(libc::SYS_bpf, bpf);
    // New processes and threads, but not in namespaces of their own: there they would have capabilities again.
    let same_namespaces = SeccompCondition::new(0, Length::Dword, Op::MaskedEq(calls::NAMESPACE_FLAGS), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![same_namespaces])?]);
    if let Some(process) = allowed.signalled {
        rules.insert(libc::SYS_kill, vec![is(0, u64::from(process))?]);
    }
    // A thread's own signals: `abort` and panics.
    rules.insert(libc::SYS_tgkill, vec![is(0, u64::from(std::process::id()))?]);
    Ok(rules)
}

fn refused() -> Result<Rules> {
    let lists = [calls::REFUSED, calls::REFUSED_OLD];
    let mut rules: Rules = lists.into_iter().flatten().map(|&call| (call, vec![])).collect();
    let others = calls::BPF_COMMANDS
        .iter()
        .map(|&command| SeccompCondition::new(0, Length::Dword, Op::Ne, command))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_bpf, vec![SeccompRule::new(others)?]);
    // What types on the terminal for the user.
    let typing = calls::TYPING.iter().map(|&request| is(1, request)).collect::<Result<_>>()?;
    rules.insert(libc::SYS_ioctl, typing);
    Ok(rules)
}

/// An argument that has exactly this value. The kernel looks at its lower half alone, as these calls do.
fn is(argument: u8, value: u64) -> Result<SeccompRule> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, Length::Dword, Op::Eq, value)?])?)
}

fn program(rules: Rules, otherwise: SeccompAction, if_listed: SeccompAction) -> Result<BpfProgram> {
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, if_listed, architecture)?.try_into()?)
}
