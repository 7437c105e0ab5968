//! The kernel and its settings.

use super::{
    Facts, Finding, SAMPLE_HZ,
    privileges::{CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYSLOG},
};
use profiler_report::recording::InstrumentId;

/// Where the kernel runs its oldest part of what the programs use (`bpf_task_pt_regs`).
pub const OLDEST: (u32, u32) = (5, 15);

pub fn check(facts: &Facts) -> Vec<Finding> {
    vec![
        kernel(facts),
        types(facts),
        lockdown(facts),
        perf_event_paranoid(facts),
        sample_rate(facts, SAMPLE_HZ),
        unprivileged_bpf(facts),
        jit(facts),
        kptr_restrict(facts),
        schedstat(facts),
        tracefs(facts),
    ]
}

fn kernel(facts: &Facts) -> Finding {
    let found = Finding::required("kernel", format!("Linux {}, {}", facts.release, facts.architecture));
    match facts.architecture.as_str() {
        "x86_64" => found,
        _ => found.degraded("confidence: nothing has been recorded on this architecture", &[]),
    }
}

/// The first two numbers of a release.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What fixes a probe that came with a later kernel; nothing where the kernel is not older than that.
pub fn later_kernel(release: &str, needed: (u32, u32)) -> Vec<String> {
    match version(release) {
        Some(present) if present < needed => vec![format!("Linux {}.{} or later", needed.0, needed.1)],
        _ => vec![],
    }
}

fn types(facts: &Facts) -> Finding {
    let finding = Finding::required("BTF", "the kernel's types are published");
    match &facts.types {
        None => finding,
        Some(Err(why)) => Finding { found: String::new(), ..finding }.impossible(
            why.clone(),
            &["a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all current distributions ship"],
        ),
        Some(Ok(types)) => match &types.fields {
            Ok(()) => Finding { found: "has every field that the programs read".into(), ..finding },
            Err(why) => Finding { found: String::new(), ..finding }.impossible(why.clone(), &[]),
        },
    }
}

/// The mode `confidentiality` makes the kernel refuse programs that read its memory; `integrity` does not concern us.
pub fn lockdown(facts: &Facts) -> Finding {
    let mode = facts.lockdown.as_deref().unwrap_or("missing in this kernel");
    let finding = Finding::required("lockdown", mode);
    // A kernel that has loaded and attached them is the better witness.
    let loads = facts.trial.as_ref().and_then(|trial| trial.attached.as_ref());
    let loads = loads.is_some_and(|attached| attached.scheduler.is_ok());
    if mode == "confidentiality" && !loads {
        let why = "programs cannot read kernel memory";
        return finding
            .impossible(why, &["boot with lockdown=integrity, or without lockdown= and Secure Boot"]);
    }
    finding
}

/// What the setting allows to those who lack `cap_perfmon`: above 0, no events of a whole CPU.
fn perf_event_paranoid(facts: &Facts) -> Finding {
    let Some(value) = facts.perf_event_paranoid else {
        let finding = Finding::required("perf_event_paranoid", "");
        return finding
            .impossible("the kernel has no perf events", &["a kernel built with CONFIG_PERF_EVENTS=y"]);
    };
    let finding = Finding::required("perf_event_paranoid", value.to_string());
    if value > PARANOIA_OF_THE_KERNEL && !facts.has(CAP_SYS_ADMIN) && is_sampler_refused(facts) {
        return finding.impossible(
            "above 2, this kernel (like Debian's) allows perf events only with cap_sys_admin",
            &["sudo sysctl kernel.perf_event_paranoid=2"],
        );
    }
    if facts.has(CAP_PERFMON) || facts.has(CAP_SYS_ADMIN) {
        return Finding { found: format!("{value} (cap_perfmon overrides it)"), ..finding };
    }
    if value > 0 {
        return finding.impossible("above 0, sampling whole CPUs needs cap_perfmon: see capabilities", &[]);
    }
    finding
}

/// Higher values are those of distributions, which give them meanings of their own.
const PARANOIA_OF_THE_KERNEL: i64 = 2;

fn is_sampler_refused(facts: &Facts) -> bool {
    let attached = facts.trial.as_ref().and_then(|trial| trial.attached.as_ref());
    attached
        .and_then(|attached| attached.of(InstrumentId::OnCpu))
        .is_some_and(|attempt| attempt.tried.is_err())
}

/// The kernel lowers this limit by itself when its interrupts take long.
pub fn sample_rate(facts: &Facts, hz: u32) -> Finding {
    let Some(most) = facts.perf_event_max_sample_rate else {
        return Finding::required("perf_event_max_sample_rate", "no limit");
    };
    let finding = Finding::required("perf_event_max_sample_rate", format!("{most} Hz"));
    if u64::from(hz) > most {
        let why = format!("the kernel refuses the {hz} Hz of the on-CPU sampler");
        return finding.impossible(why, &["sudo sysctl kernel.perf_event_max_sample_rate=100000"]);
    }
    finding
}

fn unprivileged_bpf(facts: &Facts) -> Finding {
    let Some(value) = facts.unprivileged_bpf_disabled else {
        let finding = Finding::required("unprivileged_bpf_disabled", "");
        return finding.impossible("the kernel has no bpf", &["a kernel built with CONFIG_BPF_SYSCALL=y"]);
    };
    let finding = Finding::required("unprivileged_bpf_disabled", value.to_string());
    if facts.has(CAP_BPF) || facts.has(CAP_SYS_ADMIN) {
        return Finding { found: format!("{value} (cap_bpf overrides it)"), ..finding };
    }
    // With 0 too: without privileges, only socket filters may be loaded.
    finding.impossible("loading tracing programs needs cap_bpf: see capabilities", &[])
}

pub fn jit(facts: &Facts) -> Finding {
    match facts.bpf_jit_enable {
        Some(0) => Finding::optional("bpf_jit_enable", "0").degraded(
            "speed: programs are interpreted, several times slower",
            &["sudo sysctl net.core.bpf_jit_enable=1"],
        ),
        Some(value) => Finding::optional("bpf_jit_enable", value.to_string()),
        None => Finding::optional("bpf_jit_enable", "setting not found"),
    }
}

pub fn kptr_restrict(facts: &Facts) -> Finding {
    let value = facts.kptr_restrict.map_or_else(|| "setting not found".to_owned(), |value| value.to_string());
    let finding = Finding::optional("kptr_restrict", value);
    let lost = "the names of kernel functions";
    let address = facts.first_function.split_whitespace().next().unwrap_or_default();
    if address.is_empty() {
        return finding.degraded(
            format!("{lost}: there is no /proc/kallsyms"),
            &["a kernel built with CONFIG_KALLSYMS=y"],
        );
    }
    if address.bytes().any(|digit| digit != b'0') {
        return finding;
    }
    if facts.kptr_restrict.is_some_and(|value| value >= 2) {
        return finding.degraded(lost, &["sudo sysctl kernel.kptr_restrict=1"]);
    }
    let why = if facts.has(CAP_SYSLOG) { "the kernel hides kernel addresses" } else { "needs cap_syslog" };
    finding.degraded(format!("{lost}: {why}"), &[])
}

pub fn schedstat(facts: &Facts) -> Finding {
    if facts.schedstat {
        return Finding::optional("schedstat", "the kernel counts each thread's run-queue time");
    }
    Finding::optional("schedstat", "missing in this kernel").degraded(
        "the cross-check with the kernel's own counters",
        &["a kernel built with CONFIG_SCHED_INFO=y"],
    )
}

/// Programs attach by the kernel's types, not by tracefs.
fn tracefs(facts: &Facts) -> Finding {
    Finding::unused("tracefs", if facts.tracefs { "mounted" } else { "not mounted" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{check, healthy};

    #[test]
    fn a_kernel_without_types_cannot_record() {
        let facts = Facts { types: Some(Err("cannot read /sys/kernel/btf/vmlinux".into())), ..healthy() };
        check(&facts, "BTF", "impossible", &["cannot read", "CONFIG_DEBUG_INFO_BTF=y"]);
    }

    #[test]
    fn of_the_modes_of_lockdown_only_confidentiality_matters() {
        let with = |mode: Option<&str>, trial| {
            let lockdown = mode.map(str::to_owned);
            Facts { lockdown, trial, ..healthy() }
        };
        check(&with(None, None), "lockdown", "works", &["missing in this kernel"]);
        check(&with(Some("integrity"), None), "lockdown", "works", &["integrity"]);
        check(&with(Some("confidentiality"), None), "lockdown", "impossible", &["lockdown=integrity"]);
        check(&with(Some("confidentiality"), healthy().trial), "lockdown", "works", &[]);
    }

    #[test]
    fn paranoia_binds_only_who_lacks_the_capability() {
        let facts = |value, capabilities| Facts { perf_event_paranoid: value, capabilities, ..healthy() };
        check(&facts(Some(4), u64::MAX), "perf_event_paranoid", "works", &["4 (cap_perfmon"]);
        check(&facts(Some(2), 0), "perf_event_paranoid", "impossible", &["cap_perfmon"]);
        check(&facts(Some(-1), 0), "perf_event_paranoid", "works", &["-1"]);
        check(&facts(None, u64::MAX), "perf_event_paranoid", "impossible", &["CONFIG_PERF_EVENTS=y"]);
    }

    #[test]
    fn a_distributions_paranoia_binds_those_with_the_capability_too() {
        let perfmon = 1 << CAP_PERFMON.0;
        let allowed = Facts { perf_event_paranoid: Some(3), capabilities: perfmon, ..healthy() };
        check(&allowed, "perf_event_paranoid", "works", &["3 (cap_perfmon"]);
        let mut refused = allowed;
        let attached = refused.trial.as_mut().unwrap().attached.as_mut().unwrap();
        let on_cpu =
            attached.instruments.iter_mut().find(|attempt| attempt.id == InstrumentId::OnCpu).unwrap();
        on_cpu.tried = Err("Permission denied".into());
        check(&refused, "perf_event_paranoid", "impossible", &["sysctl kernel.perf_event_paranoid=2"]);
    }

    #[test]
    fn a_limit_below_the_rate_refuses_the_sampler() {
        let facts = |most| Facts { perf_event_max_sample_rate: Some(most), ..healthy() };
        check(&facts(99), "perf_event_max_sample_rate", "works", &["99 Hz"]);
        let words = ["refuses the 99 Hz", "sysctl kernel.perf_event_max_sample_rate="];
        check(&facts(98), "perf_event_max_sample_rate", "impossible", &words);
    }

    #[test]
    fn bpf_without_the_capability_is_impossible_whatever_the_setting() {
        for value in [0, 1, 2] {
            let facts = Facts { unprivileged_bpf_disabled: Some(value), capabilities: 0, ..healthy() };
            check(&facts, "unprivileged_bpf_disabled", "impossible", &["cap_bpf"]);
        }
        let facts = Facts { unprivileged_bpf_disabled: None, ..healthy() };
        check(&facts, "unprivileged_bpf_disabled", "impossible", &["CONFIG_BPF_SYSCALL=y"]);
    }

    #[test]
    fn hidden_kernel_symbols_cost_their_names() {
        let hidden = |value, capabilities| Facts {
            first_function: "0000000000000000 T _stext".into(),
            kptr_restrict: Some(value),
            capabilities,
            ..healthy()
        };
        let words = ["2; lost: the names of kernel functions", "sudo sysctl kernel.kptr_restrict=1"];
        check(&hidden(2, u64::MAX), "kptr_restrict", "degraded", &words);
        check(&hidden(1, 0), "kptr_restrict", "degraded", &["cap_syslog"]);
        let facts = Facts { first_function: String::new(), ..healthy() };
        check(&facts, "kptr_restrict", "degraded", &["CONFIG_KALLSYMS=y"]);
    }

    #[test]
    fn an_interpreter_costs_speed() {
        let facts = Facts { bpf_jit_enable: Some(0), ..healthy() };
        check(&facts, "bpf_jit_enable", "degraded", &["sudo sysctl net.core.bpf_jit_enable=1"]);
    }

    #[test]
    fn without_schedstat_the_ledger_is_not_checked() {
        check(&Facts { schedstat: false, ..healthy() }, "schedstat", "degraded", &["CONFIG_SCHED_INFO=y"]);
    }

    #[test]
    fn tracefs_is_not_needed() {
        check(&Facts { tracefs: false, ..healthy() }, "tracefs", "works", &["not mounted"]);
    }

    #[test]
    fn an_architecture_on_which_nothing_ran_is_told() {
        check(&Facts { architecture: "aarch64".into(), ..healthy() }, "kernel", "degraded", &["aarch64"]);
    }

    #[test]
    fn only_an_older_kernel_is_told_to_become_newer() {
        assert_eq!(later_kernel("5.10.0-32-amd64", (5, 18)), ["Linux 5.18 or later"]);
        assert_eq!(later_kernel("6.1.0", (5, 18)), [] as [&str; 0]);
        assert_eq!(later_kernel("custom", (5, 18)), [] as [&str; 0]);
    }
}
