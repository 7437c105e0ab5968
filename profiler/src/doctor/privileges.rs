//! What this process may do.

use std::borrow::Cow;

use super::{Answer, Facts, Finding};
use crate::kernel::{NEEDED, WANTED};

/// Bit and name of a capability (include/uapi/linux/capability.h).
pub type Capability = (u32, &'static str);

pub const CAP_SYS_ADMIN: Capability = (21, "cap_sys_admin");
pub const CAP_SYSLOG: Capability = (34, "cap_syslog");
pub const CAP_PERFMON: Capability = (38, "cap_perfmon");
pub const CAP_BPF: Capability = (39, "cap_bpf");

/// Those without which nothing is recorded.
fn needed() -> Vec<Capability> {
    NEEDED.iter().map(|&(set, name, _)| (set.bits().trailing_zeros(), name)).collect()
}

/// Those without which something is lost, with what.
fn wanted() -> Vec<(Capability, &'static str)> {
    WANTED.iter().map(|&(set, name, lost)| ((set.bits().trailing_zeros(), name), lost)).collect()
}

/// The line that gives a program all of them.
fn setcap(program: &str) -> String {
    let names = needed().into_iter().chain(wanted().into_iter().map(|(capability, _)| capability));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    format!("sudo setcap {}+ep {program}", names.join(","))
}

pub fn check(facts: &Facts) -> Vec<Finding> {
    vec![capabilities(facts), wanted_capabilities(facts), user_namespace(facts), seccomp(facts)]
}

fn capabilities(facts: &Facts) -> Finding {
    let missing = missing(facts, &needed());
    if missing.is_empty() {
        return Finding::required("capabilities", format!("all {} needed", NEEDED.len()));
    }
    let program = quoted(&facts.executable);
    let mut mend = vec![format!("sudo {program} doctor"), setcap(&program)];
    if facts.container.is_some() {
        let all: Vec<&str> = needed().iter().map(|&(_, name)| name).collect();
        let options: Vec<String> = all.iter().map(|name| format!("--cap-add={name}")).collect();
        mend.push(format!("start the container with {}", options.join(" ")));
    }
    if facts.no_new_privileges {
        mend = vec!["start it without no_new_privs, which disables sudo and setcap".to_owned()];
    }
    let mend: Vec<&str> = mend.iter().map(String::as_str).collect();
    Finding::required("capabilities", "").impossible(format!("lacks {}", missing.join(", ")), &mend)
}

fn wanted_capabilities(facts: &Facts) -> Finding {
    let finding = Finding::optional("wanted capabilities", "all of them");
    let missing: Vec<_> = wanted().into_iter().filter(|&(capability, _)| !facts.has(capability)).collect();
    if missing.is_empty() {
        return finding;
    }
    let names: Vec<&str> = missing.iter().map(|((_, name), _)| *name).collect();
    let lost: Vec<&str> = missing.iter().map(|(_, lost)| *lost).collect();
    let mend = setcap(&quoted(&facts.executable));
    let finding = Finding { found: format!("lacks {}", names.join(", ")), ..finding };
    finding.degraded(lost.join("; "), &[&mend])
}

/// Names of those that this process does not have.
pub fn missing(facts: &Facts, needed: &[Capability]) -> Vec<&'static str> {
    needed.iter().filter(|&&capability| !facts.has(capability)).map(|&(_, name)| name).collect()
}

/// A path as a shell takes it.
fn quoted(path: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+".contains(character);
    if path.chars().all(is_plain) {
        return path.into();
    }
    format!("'{}'", path.replace('\'', r"'\''")).into()
}

/// The kernel asks for bpf and perf events of whole CPUs in the initial user namespace.
pub fn user_namespace(facts: &Facts) -> Finding {
    if !facts.user_namespace {
        return Finding::required("user namespace", "the initial one");
    }
    Finding::required("user namespace", "a nested one").impossible(
        "its capabilities do not allow loading programs",
        &["run it as root on the host; in containers: not rootless, without userns-remap"],
    )
}

pub fn seccomp(facts: &Facts) -> Finding {
    if facts.seccomp == 0 {
        return Finding::required("seccomp", "no filter");
    }
    let finding = Finding::required("seccomp", "a filter");
    // Who lacks the capability gets EPERM from the kernel itself.
    let refuses_bpf = is_refused(facts.bpf_call, facts.has(CAP_BPF));
    let refused = [("bpf", refuses_bpf), ("perf_event_open", is_refused(facts.perf_call, true))];
    let refused: Vec<&str> = refused.iter().filter(|(_, refused)| *refused).map(|&(name, _)| name).collect();
    if !refused.is_empty() {
        let mend = [
            "in a container: --security-opt seccomp=unconfined, or a profile that allows bpf and perf_event_open",
            "in a systemd unit: SystemCallFilter=@system-service bpf perf_event_open",
        ];
        return finding.impossible(format!("it refuses {}", refused.join(" and ")), &mend);
    }
    let found = if facts.has(CAP_BPF) {
        "a filter that allows bpf and perf_event_open"
    } else {
        "a filter; whether it allows bpf is only visible with cap_bpf"
    };
    Finding { found: found.into(), ..finding }
}

/// `EPERM`, `EACCES` and `ENOSYS` are what filters answer with; `reaches_kernel`: the kernel itself would not.
pub fn is_refused(answer: Answer, reaches_kernel: bool) -> bool {
    match answer {
        Answer::NotAsked => false,
        Answer::Killed | Answer::Error(libc::ENOSYS) => true,
        Answer::Error(number) => reaches_kernel && matches!(number, libc::EPERM | libc::EACCES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{check, healthy};

    #[test]
    fn the_missing_capability_and_the_line_that_mends_it_are_named() {
        let facts = Facts {
            capabilities: !(1 << CAP_BPF.0),
            executable: "/opt/my tools/profiler".into(),
            ..healthy()
        };
        let words =
            ["lacks cap_bpf\n", "sudo '/opt/my tools/profiler' doctor", "setcap cap_bpf,cap_perfmon,"];
        check(&facts, "capabilities", "impossible", &words);
    }

    #[test]
    fn what_a_wanted_capability_would_bring_is_told() {
        let facts = Facts { capabilities: !(1 << 40), ..healthy() };
        let words =
            ["lacks cap_checkpoint_restore", "deleted or replaced", ",cap_syslog,cap_checkpoint_restore+ep"];
        check(&facts, "wanted capabilities", "degraded", &words);
    }

    #[test]
    fn in_a_container_its_start_is_the_place_to_give_capabilities() {
        let facts = Facts { capabilities: 0, container: Some("Docker".into()), ..healthy() };
        check(&facts, "capabilities", "impossible", &["--cap-add=cap_bpf --cap-add=cap_perfmon"]);
    }

    #[test]
    fn where_nothing_raises_privileges_neither_sudo_nor_setcap_is_advised() {
        let facts = Facts { capabilities: 0, no_new_privileges: true, ..healthy() };
        check(&facts, "capabilities", "impossible", &["no_new_privs"]);
        let finding = capabilities(&facts);
        assert!(!finding.verdict.mend().iter().any(|line| line.starts_with("sudo")), "{finding:?}");
    }

    #[test]
    fn a_nested_user_namespace_has_no_say() {
        check(
            &Facts { user_namespace: true, ..healthy() },
            "user namespace",
            "impossible",
            &["as root on the host"],
        );
    }

    #[test]
    fn a_filter_is_judged_by_what_it_does() {
        let facts = |bpf_call, perf_call| Facts { seccomp: 2, bpf_call, perf_call, ..healthy() };
        let (passes, eperm) = (Answer::Error(libc::EINVAL), Answer::Error(libc::EPERM));
        check(&facts(passes, Answer::Error(libc::EFAULT)), "seccomp", "works", &["that allows bpf"]);
        check(&facts(eperm, passes), "seccomp", "impossible", &["it refuses bpf\n", "seccomp=unconfined"]);
        check(&facts(passes, Answer::Killed), "seccomp", "impossible", &["it refuses perf_event_open\n"]);
    }

    #[test]
    fn without_the_capability_a_refusal_says_nothing_of_the_filter() {
        let facts = Facts {
            seccomp: 2,
            bpf_call: Answer::Error(libc::EPERM),
            perf_call: Answer::Error(libc::EFAULT),
            capabilities: 0,
            ..healthy()
        };
        check(&facts, "seccomp", "works", &["only visible with cap_bpf"]);
    }

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        assert_eq!(quoted("/a/it's"), r"'/a/it'\''s'");
        assert_eq!(quoted("/usr/bin/profiler-1.0"), "/usr/bin/profiler-1.0");
    }
}
