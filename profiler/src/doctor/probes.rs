//! What a recording attaches, by the kernel's own answers.

use super::{
    Facts, Finding,
    privileges::{CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, Capability, is_refused, missing},
    requirements::{OLDEST, later_kernel},
};
use crate::instruments::{
    About, Instruments, Probe, on_cpu,
    trial::{Attached, Attempt, Tried},
};
use profiler_report::recording::InstrumentId;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![load(facts), scheduler(facts), seeder(facts)];
    for about in Instruments::abouts() {
        findings.extend(about.probe.as_ref().map(|probe| instrument(facts, about, probe)));
        if *about == on_cpu::ABOUT {
            findings.push(cycles(facts));
        }
    }
    findings.push(run_time(facts));
    findings
}

/// Why the probes of these facts cannot be tried; nothing if they can.
pub fn why_untried(facts: &Facts) -> Option<String> {
    not_tried(facts, &[CAP_BPF, CAP_PERFMON])
}

fn not_tried(facts: &Facts, needed: &[Capability]) -> Option<String> {
    let lacking = missing(facts, needed);
    if !lacking.is_empty() {
        return Some(format!("not tried: needs {}", lacking.join(" and ")));
    }
    let refused = is_refused(facts.bpf_call, true) || is_refused(facts.perf_call, true);
    refused.then(|| "not tried: a seccomp filter refuses the system call".to_owned())
}

/// A probe that was tried works or not; one that was not is impossible. `since`: when kernels got it.
fn judge<T>(facts: &Facts, finding: Finding, tried: Option<&Tried<T>>, since: (u32, u32)) -> Finding {
    let finding = finding.probe();
    match tried {
        Some(Ok(_)) => finding,
        Some(Err(why)) => {
            let mend = later_kernel(&facts.release, since);
            let mend: Vec<&str> = mend.iter().map(String::as_str).collect();
            Finding { found: String::new(), ..finding }.impossible(why.clone(), &mend)
        }
        None => {
            let why =
                why_untried(facts).unwrap_or_else(|| "not tried: kernel programs not loaded".to_owned());
            Finding { found: String::new(), ..finding }.impossible(why, &[])
        }
    }
}

fn attached(facts: &Facts) -> Option<&Attached> {
    facts.trial.as_ref()?.attached.as_ref()
}

fn load(facts: &Facts) -> Finding {
    let finding = Finding::required("kernel programs", "loaded, maps created");
    judge(facts, finding, facts.trial.as_ref().map(|trial| &trial.load), OLDEST)
}

fn scheduler(facts: &Facts) -> Finding {
    let found = "attached: switches, wake-ups, forks, execs";
    let tried = attached(facts).map(|attached| &attached.scheduler);
    judge(facts, Finding::required("scheduler events", found), tried, OLDEST)
}

/// What an instrument attaches.
fn instrument(facts: &Facts, about: &About, probe: &Probe) -> Finding {
    let tried = attempt(facts, about.id).map(|attempt| &attempt.tried);
    let source = tried.and_then(|tried| tried.as_ref().ok().copied().flatten());
    let found = source.map_or_else(|| probe.works.to_owned(), |source| format!("{} ({source})", probe.works));
    let Some(lost) = probe.lost else {
        return judge(facts, Finding::required(probe.name, found), tried, probe.since);
    };
    let refusal = tried.and_then(|tried| tried.as_ref().err());
    let fix = refusal.and_then(|why| probe.fixes.iter().find(|(words, _)| why.contains(words)));
    let fix = fix.map(|(_, command)| *command);
    lost_if_refused(judge(facts, Finding::optional(probe.name, found), tried, probe.since), lost, fix)
}

fn attempt(facts: &Facts, id: InstrumentId) -> Option<&Attempt> {
    attached(facts)?.of(id)
}

/// What else drives the sampler than the hardware's counter cannot see code that runs with interrupts off.
fn cycles(facts: &Facts) -> Finding {
    let finding = Finding::optional("hardware counters", "cycles drive the on-CPU sampler").probe();
    let lost = "samples of code with interrupts disabled";
    if facts.virtual_machine {
        // Nobody can change it, and a machine that has all that it can have is ready.
        let found = format!("not used in a virtual machine, by design: no {lost}");
        return Finding { found, ..finding };
    }
    let tried = attempt(facts, on_cpu::ABOUT.id).map(|attempt| &attempt.tried);
    match tried {
        Some(Ok(Some("cycles"))) => finding,
        Some(Ok(_)) => {
            Finding { found: "this machine has no cycle counter".into(), ..finding }.degraded(lost, &[])
        }
        // What refuses the sampler refuses it with any source.
        _ => judge(facts, finding, tried, OLDEST),
    }
}

fn seeder(facts: &Facts) -> Finding {
    let tried = attached(facts).map(|attached| &attached.seeder);
    judge(facts, Finding::required("task iterator", "attached and run"), tried, OLDEST)
}

fn run_time(facts: &Facts) -> Finding {
    let finding = Finding::optional("run-time statistics", "the kernel measures the programs");
    let finding = finding.probe();
    match &facts.trial {
        Some(trial) if trial.run_time => finding,
        trial => {
            let lost = "the cost of the kernel programs: it is missing in the report, and the budget counts only the profiler's own CPU time";
            let why = not_tried(facts, &[CAP_SYS_ADMIN]).or_else(|| why_untried(facts));
            let why = why.filter(|_| trial.is_none() || !facts.has(CAP_SYS_ADMIN));
            let found = why.unwrap_or_else(|| "the kernel refuses them".to_owned());
            // Where the rest works, only that capability is missing, and the machine's owner can do without it.
            let mend = trial.is_some().then_some("sudo sysctl kernel.bpf_stats_enabled=1");
            Finding { found, ..finding }.degraded(lost, mend.as_slice())
        }
    }
}

/// A refusal of what is optional, as a loss.
fn lost_if_refused(finding: Finding, lost: &str, mend: Option<&str>) -> Finding {
    let super::Verdict::Impossible { why, mend: known } = &finding.verdict else { return finding };
    let mend: Vec<&str> = known.iter().map(String::as_str).chain(mend).collect();
    let found = why.clone();
    Finding { found, ..finding.clone() }.degraded(lost, &mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{
            Answer, Diagnosis, Outcome,
            facts::{check, healthy},
        },
        instruments::trial::Trial,
    };

    fn with(change: impl FnOnce(&mut Attached)) -> Facts {
        let mut facts = healthy();
        change(facts.trial.as_mut().and_then(|trial| trial.attached.as_mut()).unwrap());
        facts
    }

    /// An instrument's attempt came out like this.
    fn tried(id: InstrumentId, tried: Tried<Option<&'static str>>) -> Facts {
        with(|attached| {
            attached.instruments.iter_mut().find(|attempt| attempt.id == id).unwrap().tried = tried;
        })
    }

    #[track_caller]
    fn check_outcome(facts: &Facts, expected: Outcome) {
        assert_eq!(Diagnosis::of(facts).outcome(), expected);
    }

    #[test]
    fn on_a_healthy_machine_everything_works() {
        let diagnosis = Diagnosis::of(&healthy());
        for finding in &diagnosis.findings {
            assert_eq!(finding.verdict, crate::doctor::Verdict::Works, "{}", finding.name);
        }
        check_outcome(&healthy(), Outcome::Works);
    }

    #[test]
    fn the_rate_that_is_told_is_the_one_that_is_tried() {
        let works = on_cpu::ABOUT.probe.as_ref().unwrap().works;
        assert!(works.ends_with(&format!("{} Hz", crate::doctor::SAMPLE_HZ)), "{works}");
    }

    #[test]
    fn a_refused_scheduler_hook_stops_everything() {
        let facts =
            with(|attached| attached.scheduler = Err("refuses `sched_switch`: Invalid argument".into()));
        check(&facts, "scheduler events", "impossible", &["refuses `sched_switch`: Invalid argument"]);
        check_outcome(&facts, Outcome::CannotRun);
    }

    #[test]
    fn a_kernel_without_sleepable_iterators_loses_stacks_of_waiting_threads() {
        let mut facts = tried(InstrumentId::OffCpu, Err("unknown func".into()));
        facts.release = "5.15.0".into();
        check(
            &facts,
            "off-CPU sampler",
            "degraded",
            &["unknown func; lost: stacks of", "Linux 5.18 or later"],
        );
        check_outcome(&facts, Outcome::Degraded);
    }

    #[test]
    fn a_kernel_without_block_events_loses_requests() {
        let facts =
            tried(InstrumentId::BlockIo, Err("this kernel has no tracepoint `block_rq_issue`".into()));
        check(&facts, "block events", "degraded", &["no tracepoint", "lost: disk requests"]);
        check_outcome(&facts, Outcome::Degraded);
    }

    #[test]
    fn cycles_are_not_missed_in_a_virtual_machine() {
        let facts = Facts { virtual_machine: true, ..tried(InstrumentId::OnCpu, Ok(Some("cpu-clock"))) };
        check(&facts, "hardware counters", "works", &["by design", "interrupts disabled"]);
        check(&facts, "on-CPU sampler", "works", &["cpu-clock"]);
        check_outcome(&facts, Outcome::Works);
    }

    #[test]
    fn a_machine_without_counters_is_told_apart_from_a_virtual_one() {
        let facts = tried(InstrumentId::OnCpu, Ok(Some("cpu-clock")));
        check(&facts, "hardware counters", "degraded", &["has no cycle counter"]);
    }

    #[test]
    fn what_could_not_be_tried_names_the_capability() {
        let facts =
            Facts { capabilities: !(1 << CAP_BPF.0 | 1 << CAP_SYS_ADMIN.0), trial: None, ..healthy() };
        check(&facts, "scheduler events", "impossible", &["not tried: needs cap_bpf"]);
        check(&facts, "task iterator", "impossible", &["not tried: needs cap_bpf"]);
        check(&facts, "off-CPU sampler", "degraded", &["not tried: needs cap_bpf"]);
        check(&facts, "run-time statistics", "degraded", &["not tried: needs cap_sys_admin"]);
        check_outcome(&facts, Outcome::CannotRun);
    }

    #[test]
    fn nothing_is_tried_that_a_filter_kills_for() {
        let facts = Facts { seccomp: 2, bpf_call: Answer::Killed, trial: None, ..healthy() };
        check(&facts, "kernel programs", "impossible", &["not tried", "seccomp"]);
    }

    #[test]
    fn programs_that_do_not_load_leave_nothing_to_attach() {
        let trial = Trial { load: Err("no memory".into()), attached: None, run_time: true };
        let facts = Facts { trial: Some(trial), ..healthy() };
        check(&facts, "kernel programs", "impossible", &["no memory"]);
        check(&facts, "scheduler events", "impossible", &["kernel programs not loaded"]);
    }

    #[test]
    fn mapping_events_without_locked_memory_name_the_setting() {
        let facts =
            tried(InstrumentId::Mappings, Err("does not tell: Operation not permitted (os error 1)".into()));
        check(&facts, "mapping events", "degraded", &["very short-lived", "kernel.perf_event_mlock_kb=516"]);
    }

    #[test]
    fn a_kernel_without_contention_events_loses_its_own_locks() {
        let mut facts =
            tried(InstrumentId::Locks, Err("this kernel has no tracepoint `contention_begin`".into()));
        facts.release = "5.15.0".into();
        check(&facts, "contention events", "degraded", &["kernel locks", "Linux 5.19 or later"]);
        check_outcome(&facts, Outcome::Degraded);
    }
}
