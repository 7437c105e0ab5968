//! Which privilege is missing, reported before the kernel refuses something in its own words.

use rustix::thread::{CapabilitySet, capabilities};

/// Capabilities without which nothing can be recorded, with what each is for.
pub const NEEDED: &[(CapabilitySet, &str, &str)] = &[
    (CapabilitySet::BPF, "cap_bpf", "load the kernel programs"),
    (CapabilitySet::PERFMON, "cap_perfmon", "sample the CPUs and read kernel memory"),
    (CapabilitySet::SYS_PTRACE, "cap_sys_ptrace", "read the memory maps of the target"),
    (CapabilitySet::DAC_READ_SEARCH, "cap_dac_read_search", "read the target's files"),
];

/// Capabilities without which something is missing from the result, with what. They are in the line that
/// fixes it, too.
pub const WANTED: &[(CapabilitySet, &str, &str)] = &[
    (
        CapabilitySet::SYSLOG,
        "cap_syslog",
        "names of kernel functions, unless the kernel shows kernel addresses to everybody",
    ),
    (
        CapabilitySet::CHECKPOINT_RESTORE,
        "cap_checkpoint_restore",
        "names and stacks in files that were deleted or replaced",
    ),
];

/// A privilege is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot record: this process lacks {missing}\n  try: sudo {command}\n  or:  sudo setcap {all}+ep {executable}"
)]
pub struct Denied {
    missing: String,
    command: String,
    all: String,
    executable: String,
}

/// Checks this process's effective capabilities.
///
/// # Errors
/// What is missing and what it is for, and the line that fixes it.
pub fn check() -> Result<(), Denied> {
    let executable =
        std::env::current_exe().map_or_else(|_| "profiler".to_owned(), |path| path.display().to_string());
    let command = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    decide(effective(), command.collect::<Vec<_>>().join(" "), executable)
}

/// The calling thread's effective capabilities.
pub fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

fn decide(effective: CapabilitySet, command: String, executable: String) -> Result<(), Denied> {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(capability, _, _)| !effective.contains(*capability))
        .map(|(_, name, purpose)| format!("{name} (to {purpose})"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let needed = NEEDED.iter().map(|&(_, name, _)| name);
    let all = needed.chain(WANTED.iter().map(|(_, name, _)| *name)).collect::<Vec<_>>().join(",");
    Err(Denied { missing: missing.join(", "), command, all, executable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named_with_its_purpose_and_the_line_that_mends_it() {
        let effective = !CapabilitySet::BPF;
        let denied = decide(effective, "profiler record -a".into(), "/usr/bin/profiler".into()).unwrap_err();
        let text = denied.to_string();
        assert!(text.contains("lacks cap_bpf (to load the kernel programs)\n"), "{text}");
        assert!(text.contains("try: sudo profiler record -a\n"), "{text}");
        assert!(
            text.contains("setcap cap_bpf,cap_perfmon,")
                && text.ends_with("cap_syslog,cap_checkpoint_restore+ep /usr/bin/profiler"),
            "{text}"
        );
    }

    #[test]
    fn what_only_betters_the_result_is_not_asked_for() {
        let needed = NEEDED.iter().fold(CapabilitySet::empty(), |all, (capability, _, _)| all | *capability);
        assert_eq!(decide(needed, String::new(), String::new()), Ok(()));
    }
}
