//! Which privilege is missing, told before the kernel refuses something in its own words.

use std::fs;

/// Capabilities that recording needs (include/uapi/linux/capability.h), with what each is for.
pub const NEEDED: &[(u32, &str, &str)] = &[
    (39, "cap_bpf", "load the kernel programs"),
    (38, "cap_perfmon", "sample the CPUs and read kernel memory"),
    (19, "cap_sys_ptrace", "read the memory maps of the target"),
    (21, "cap_sys_admin", "measure the programs' run time and open mapped files"),
    (2, "cap_dac_read_search", "read the target's files"),
    (34, "cap_syslog", "read the kernel's symbol addresses"),
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
/// What is missing and what it is for, and the line that mends it.
pub fn check() -> Result<(), Denied> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let executable =
        std::env::current_exe().map_or_else(|_| "profiler".to_owned(), |path| path.display().to_string());
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    decide(effective(&status), command, executable)
}

/// The effective set in `/proc/PID/status`.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn decide(effective: u64, command: String, executable: String) -> Result<(), Denied> {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(bit, _, _)| effective >> bit & 1 == 0)
        .map(|(_, name, purpose)| format!("{name} (to {purpose})"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let all = NEEDED.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(",");
    Err(Denied { missing: missing.join(", "), command, all, executable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named_with_its_purpose_and_the_line_that_mends_it() {
        let denied = decide(!(1 << 39), "profiler record -a".into(), "/usr/bin/profiler".into()).unwrap_err();
        let text = denied.to_string();
        assert!(text.contains("lacks cap_bpf (to load the kernel programs)\n"), "{text}");
        assert!(text.contains("try: sudo profiler record -a\n"), "{text}");
        assert!(
            text.contains("setcap cap_bpf,cap_perfmon,") && text.ends_with("+ep /usr/bin/profiler"),
            "{text}"
        );
    }

    #[test]
    fn root_lacks_nothing() {
        assert_eq!(
            decide(effective("Name:\tx\nCapEff:\t000001fffeffffff\n"), String::new(), String::new()),
            Ok(())
        );
    }
}
