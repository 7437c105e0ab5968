//! Reads the facts: the only part of the doctor that does I/O. What cannot be read is as if it were not there.

use std::{fs, path::Path};

use super::{Answer, Facts, SAMPLE_HZ, probes};
use crate::{host, instruments::trial::try_probes, kernel, symbolize::KernelSymbols};

mod calls;
mod memory;

/// `/proc/self/ns/pid` of the initial namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Names of containers are bounded: they come from whoever started one.
const MOST_NAME: usize = 64;

/// All facts, with a trial of the probes if the privileges are there.
pub fn facts() -> Facts {
    let mut facts = settings();
    facts.types = Some(kernel::read_types());
    facts.virtual_machine = host::is_virtual_machine();
    if probes::why_untried(&facts).is_none() {
        facts.trial = Some(try_probes(SAMPLE_HZ));
    }
    facts
}

/// What can be read in a moment: neither the kernel's types nor the probes are touched.
pub fn settings() -> Facts {
    let status = text("/proc/self/status");
    let seccomp = field(&status, "Seccomp").and_then(|mode| mode.parse().ok()).unwrap_or(0);
    let capabilities = field(&status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let mounts = text("/proc/self/mountinfo");
    let (bpf_call, perf_call) = match seccomp {
        0 => (Answer::NotAsked, Answer::NotAsked),
        _ => (calls::bpf(), calls::perf_event_open()),
    };
    Facts {
        release: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        types: None,
        capabilities: capabilities.unwrap_or(0),
        executable: std::env::current_exe()
            .map_or_else(|_| "profiler".to_owned(), |path| path.display().to_string()),
        no_new_privileges: field(&status, "NoNewPrivs") == Some("1"),
        user_namespace: is_nested_user_namespace(&text("/proc/self/uid_map")),
        lockdown: active_mode(&text("/sys/kernel/security/lockdown")),
        perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
        perf_event_max_sample_rate: number("/proc/sys/kernel/perf_event_max_sample_rate"),
        unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
        bpf_jit_enable: number("/proc/sys/net/core/bpf_jit_enable"),
        kptr_restrict: number("/proc/sys/kernel/kptr_restrict"),
        first_function: KernelSymbols::open().first_function(),
        tracefs: mounts.lines().any(|line| line.contains(" - tracefs ")),
        schedstat: Path::new("/proc/self/schedstat").exists(),
        virtual_machine: false,
        seccomp,
        bpf_call,
        perf_call,
        container: container(&signs_of_a_container()),
        pid_level: pid_level(&pid_namespace(), field(&status, "NSpid").unwrap_or_default()),
        cgroup2: mounts.lines().any(|line| line.contains(" - cgroup2 ")),
        locked_memory: calls::locked_memory(),
        room: memory::room(&mounts),
        trial: None,
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    text(path).trim().parse().ok()
}

/// `Seccomp:\t2` in `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim())
}

/// `none [integrity] confidentiality`.
fn active_mode(modes: &str) -> Option<String> {
    let active = modes.split_whitespace().find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'))?;
    Some(active.to_owned())
}

/// The initial one maps every id to itself: `0 0 4294967295`. A kernel without user namespaces has no such file.
fn is_nested_user_namespace(uid_map: &str) -> bool {
    let numbers: Vec<&str> = uid_map.split_whitespace().collect();
    !numbers.is_empty() && numbers != ["0", "0", "4294967295"]
}

fn pid_namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default()
}

/// `NSpid` has an id for each level from that of `/proc` on: in a container, whose `/proc` is its own, just one.
fn pid_level(namespace: &str, ids: &str) -> Option<u32> {
    if namespace.is_empty() || namespace == INITIAL_PID_NAMESPACE {
        return Some(0);
    }
    match ids.split_whitespace().count() {
        0 | 1 => None,
        several => Some(several as u32 - 1),
    }
}

/// What containers leave to be seen from inside.
#[derive(Default)]
struct Signs {
    dockerenv: bool,
    containerenv: bool,
    /// systemd's name for the container that it runs in.
    systemd: String,
    kubernetes: bool,
    cgroup: String,
}

fn signs_of_a_container() -> Signs {
    Signs {
        dockerenv: Path::new("/.dockerenv").exists(),
        containerenv: Path::new("/run/.containerenv").exists(),
        systemd: text("/run/systemd/container"),
        kubernetes: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        cgroup: text("/proc/self/cgroup"),
    }
}

fn container(signs: &Signs) -> Option<String> {
    let in_cgroup = |name: &str| signs.cgroup.contains(name);
    if signs.kubernetes || in_cgroup("kubepods") {
        return Some("Kubernetes".into());
    }
    if signs.dockerenv || in_cgroup("/docker") {
        return Some("Docker".into());
    }
    if signs.containerenv || in_cgroup("libpod") {
        return Some("Podman".into());
    }
    if in_cgroup("/lxc") {
        return Some("LXC".into());
    }
    let name = signs.systemd.trim();
    (!name.is_empty()).then(|| name.chars().take(MOST_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_the_active_one() {
        assert_eq!(active_mode("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(active_mode(""), None);
    }

    #[test]
    fn the_initial_user_namespace_maps_every_id_to_itself() {
        assert!(!is_nested_user_namespace("         0          0 4294967295\n"));
        assert!(is_nested_user_namespace("         0     100000      65536\n"));
        assert!(!is_nested_user_namespace(""));
    }

    #[test]
    fn the_level_is_what_proc_shows_of_it() {
        assert_eq!(pid_level("pid:[4026531836]", "812"), Some(0));
        assert_eq!(pid_level("pid:[4026532281]", "812\t3"), Some(1));
        assert_eq!(pid_level("pid:[4026532281]", "812\t30\t3"), Some(2));
        assert_eq!(pid_level("pid:[4026532281]", "3"), None);
    }

    #[track_caller]
    fn check_container(signs: &Signs, expected: Option<&str>) {
        assert_eq!(container(signs).as_deref(), expected);
    }

    #[test]
    fn containers_are_known_by_what_they_leave() {
        check_container(&Signs { dockerenv: true, ..Signs::default() }, Some("Docker"));
        check_container(&Signs { containerenv: true, ..Signs::default() }, Some("Podman"));
        check_container(
            &Signs { systemd: "systemd-nspawn\n".into(), ..Signs::default() },
            Some("systemd-nspawn"),
        );
        let cgroup = "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-a.scope\n".to_owned();
        check_container(&Signs { cgroup, ..Signs::default() }, Some("Kubernetes"));
        check_container(&Signs { cgroup: "0::/user.slice\n".into(), ..Signs::default() }, None);
    }

    #[test]
    fn a_field_of_status_is_found_by_its_whole_name() {
        let status = "CapPrm:\t0\nSeccomp_filters:\t3\nSeccomp:\t2\n";
        assert_eq!(field(status, "Seccomp"), Some("2"));
    }
}
