//! What is known of the machine and of this process: plain values, as the system reports them.

use super::privileges::Capability;
use crate::{instruments::trial::Trial, kernel::Types};

/// Everything that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    pub architecture: String,
    /// The kernel's types; None where nobody has looked.
    pub types: Option<Result<Types, String>>,

    /// The effective set.
    pub capabilities: u64,
    /// Path of this program, for lines to type.
    pub executable: String,
    /// Neither sudo nor file capabilities raise privileges (`no_new_privs`).
    pub no_new_privileges: bool,
    /// Not the initial user namespace.
    pub user_namespace: bool,

    /// The active mode in `/sys/kernel/security/lockdown`; None where the kernel has no such thing.
    pub lockdown: Option<String>,
    pub perf_event_paranoid: Option<i64>,
    pub perf_event_max_sample_rate: Option<u64>,
    pub unprivileged_bpf_disabled: Option<i64>,
    pub bpf_jit_enable: Option<i64>,
    pub kptr_restrict: Option<i64>,
    /// The line of the first function of `/proc/kallsyms`: `ffffffff81000000 T _stext`.
    pub first_function: String,
    pub tracefs: bool,
    /// The kernel counts each thread's waits for a CPU.
    pub schedstat: bool,
    pub virtual_machine: bool,

    /// The mode in `/proc/self/status`: 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// How the kernel answers bpf(2) and perf_event_open(2), if there is a filter.
    pub bpf_call: Answer,
    pub perf_call: Answer,
    /// Which kind of container this seems to be.
    pub container: Option<String>,
    /// Depth of this PID namespace; None if it is below the initial one by a number that `/proc` does not show.
    pub pid_level: Option<u32>,
    pub cgroup2: bool,

    /// `RLIMIT_MEMLOCK` in bytes; None is unlimited.
    pub locked_memory: Option<u64>,
    /// The least memory that is left on the machine or in a cgroup.
    pub room: Option<Room>,

    /// None where the probes were not tried.
    pub trial: Option<Trial>,
}

/// How a system call without meaning was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    NotAsked,
    /// The kernel's error number.
    Error(i32),
    /// The process that called was killed.
    Killed,
}

/// Memory that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    /// The cgroup that limits it; None is the machine.
    pub cgroup: Option<String>,
}

impl Facts {
    /// Whether the effective set has this capability.
    pub fn has(&self, (bit, _): Capability) -> bool {
        self.capabilities >> bit & 1 == 1
    }
}

/// A machine on which everything works, for tests that change one fact.
#[cfg(test)]
pub fn healthy() -> Facts {
    use crate::instruments::{
        Instruments,
        trial::{Attached, Attempt},
    };
    use profiler_report::recording::InstrumentId;
    let attempt = |about: &'static crate::instruments::About| {
        let source = (about.id == InstrumentId::OnCpu).then_some("cycles");
        Some(Attempt { id: about.id, probe: about.probe.as_ref()?, tried: Ok(source) })
    };
    Facts {
        release: "6.18.44".into(),
        architecture: "x86_64".into(),
        types: Some(Ok(Types { fields: Ok(()), maps_charged_to_cgroups: true })),
        capabilities: u64::MAX,
        executable: "/usr/bin/profiler".into(),
        no_new_privileges: false,
        user_namespace: false,
        lockdown: Some("none".into()),
        perf_event_paranoid: Some(2),
        perf_event_max_sample_rate: Some(100_000),
        unprivileged_bpf_disabled: Some(2),
        bpf_jit_enable: Some(1),
        kptr_restrict: Some(1),
        first_function: "ffffffff81000000 T _stext".into(),
        tracefs: true,
        schedstat: true,
        virtual_machine: false,
        seccomp: 0,
        bpf_call: Answer::NotAsked,
        perf_call: Answer::NotAsked,
        container: None,
        pid_level: Some(0),
        cgroup2: true,
        locked_memory: Some(8 << 20),
        room: Some(Room { bytes: 4 << 30, cgroup: None }),
        trial: Some(Trial {
            load: Ok(()),
            attached: Some(Attached {
                scheduler: Ok(()),
                seeder: Ok(()),
                instruments: Instruments::abouts().into_iter().filter_map(attempt).collect(),
                kernel_bytes: 11 << 20,
            }),
            run_time: true,
        }),
    }
}

/// Checks the verdict and the words of one finding.
#[cfg(test)]
#[track_caller]
pub fn check(facts: &Facts, name: &str, verdict: &str, words: &[&str]) {
    let diagnosis = super::Diagnosis::of(facts);
    let finding = diagnosis.findings.iter().find(|finding| finding.name == name);
    let finding = finding.unwrap_or_else(|| panic!("no finding `{name}`"));
    assert_eq!(finding.verdict.name(), verdict, "{finding:?}");
    let told = format!("{}\n{}", finding.sentence(), finding.verdict.mend().join("\n"));
    for word in words {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
}
