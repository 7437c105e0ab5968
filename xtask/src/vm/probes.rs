//! What became of each probe on a kernel, by its own report of a recording and by what the kernel says is attached.
//!
//! In: [`Results`]. Out: a verdict for each probe. A probe that neither works nor says why it does not is broken.

use serde_json::Value;

use super::results::Results;

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Works,
    /// Another way to the same end.
    Fallback(String),
    /// Not there, and the report says so.
    Off(String),
    /// Not there, or without effect, and that is our fault.
    Broken(String),
}

/// A probe, and how its verdict is found.
pub struct Probe {
    pub name: &'static str,
    judge: fn(&Seen) -> Verdict,
}

/// The probes, in the order of docs/kernel-programs.md, and what they rest on.
pub const PROBES: &[Probe] = &[
    Probe { name: "`sched_switch`: the ledger", judge: switch },
    Probe { name: "`sched_waking`, `task_newtask`, `sched_process_exec`", judge: tracepoints },
    Probe { name: "`on_cpu_tick`: stacks on the CPU", judge: on_cpu },
    Probe { name: "`seed_threads`: existing threads", judge: seed },
    Probe { name: "`sample_off_cpu`: stacks of waiting threads", judge: off_cpu },
    Probe { name: "`sample_off_cpu`, limited to the recorded processes", judge: limited },
    Probe { name: "`sample_off_cpu` with `--stack-bytes`", judge: small },
    Probe { name: "`-a`: threads first seen at a switch", judge: whole_system },
    Probe { name: "`--cgroup`: processes that start in it", judge: cgroup },
    Probe { name: "`block_io_start`, `block_rq_*`: requests to disks", judge: requests },
    Probe { name: "user registers", judge: registers },
    Probe { name: "the interrupted task", judge: current_task },
    Probe { name: "mappings and execs, by perf", judge: mappings },
    Probe { name: "run times of the programs", judge: run_times },
];

impl Probe {
    pub fn verdict(&self, seen: &Seen) -> Verdict {
        (self.judge)(seen)
    }
}

/// What is known of a recording.
pub struct Seen<'a> {
    results: &'a Results,
    report: Value,
}

impl<'a> Seen<'a> {
    /// Without a report, everything is broken for the reason that is given.
    pub fn new(results: &'a Results) -> Result<Self, String> {
        let report = results.file("probe.json").and_then(|text| serde_json::from_str(text).ok());
        report.map(|report| Self { results, report }).ok_or_else(|| {
            let error = results.file("probe.err").unwrap_or_default().trim();
            if error.is_empty() { "there is no report".into() } else { brief(error) }
        })
    }

    fn number(&self, pointer: &str) -> f64 {
        self.report.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
    }

    fn is_loaded(&self, program: &str) -> bool {
        let programs = self.report.pointer("/cost/programs").and_then(Value::as_array);
        programs.is_some_and(|all| all.iter().any(|known| known["name"] == program))
    }

    /// Has the kernel a link of this kind, with all of these words?
    fn links(&self, kind: &str, words: &[&str]) -> usize {
        let has = |link: &&String| link.contains(kind) && words.iter().all(|word| link.contains(word));
        self.results.links.iter().filter(has).count()
    }

    /// The sentence of the report that tells why something is missing.
    fn skipped(&self, beginning: &str) -> Option<String> {
        let skips = self.report.pointer("/quality/skipped").and_then(Value::as_array)?;
        let found = skips
            .iter()
            .filter_map(|skip| skip["sentence"].as_str())
            .find(|text| text.starts_with(beginning))?;
        Some(found.to_owned())
    }

    fn has_stack(&self, kind: &str, function: &str) -> bool {
        let stacks = self.report.pointer(&format!("/stacks/{kind}")).and_then(Value::as_array);
        let holds = |stack: &Value| {
            stack["frames"]
                .as_array()
                .is_some_and(|all| all.iter().any(|f| f.as_str().is_some_and(|f| f.contains(function))))
        };
        stacks.is_some_and(|all| all.iter().any(holds))
    }

    fn has_helper(&self, name: &str) -> bool {
        self.results.helpers.iter().any(|known| known == name)
    }
}

/// Works, or else it is broken.
fn works_if(condition: bool, otherwise: &str) -> Verdict {
    if condition { Verdict::Works } else { Verdict::Broken(otherwise.into()) }
}

fn switch(seen: &Seen) -> Verdict {
    if seen.number("/ledger/residual_ratio") > 0.01 || seen.number("/ledger/thread_seconds") == 0.0 {
        return Verdict::Broken("the books do not close".into());
    }
    if seen.is_loaded("sched_switch_without_state") {
        return Verdict::Fallback("the tracepoint does not have the state; it is read from the task".into());
    }
    works_if(seen.is_loaded("sched_switch"), "it is not loaded")
}

fn tracepoints(seen: &Seen) -> Verdict {
    let is_missing = |hook: &&&str| seen.links(&format!("tp_name:{hook} "), &[]) == 0;
    match ["sched_waking", "task_newtask", "sched_process_exec"].iter().find(is_missing) {
        Some(hook) => Verdict::Broken(format!("`{hook}` is not attached")),
        None => Verdict::Works,
    }
}

fn on_cpu(seen: &Seen) -> Verdict {
    if !seen.has_stack("on_cpu", "bottom_spin") {
        return Verdict::Broken("no stack of the spinning thread".into());
    }
    match seen.skipped("sampling by CPU clock instead of hardware cycles") {
        Some(why) => Verdict::Fallback(why),
        None => Verdict::Works,
    }
}

fn seed(seen: &Seen) -> Verdict {
    let threads = seen.report["threads"].as_array().map_or(0, Vec::len);
    works_if(threads == 3 && seen.is_loaded("seed_threads"), &format!("{threads} of 3 threads were found"))
}

const NO_WAITING_STACKS: &str = "no stacks of waiting threads";

fn off_cpu(seen: &Seen) -> Verdict {
    match seen.skipped(NO_WAITING_STACKS) {
        Some(why) => Verdict::Off(why),
        None => works_if(seen.has_stack("off_cpu", "bottom_sleep"), "no stack of the sleeping thread"),
    }
}

fn limited(seen: &Seen) -> Verdict {
    if seen.skipped(NO_WAITING_STACKS).is_some() {
        return Verdict::Off("not needed".into());
    }
    let (all, of_all) =
        (seen.links("link_type:iter", &["task_type:"]), seen.links("link_type:iter", &["task_type:ALL"]));
    match all - of_all {
        0 => Verdict::Fallback("each pass looks at all tasks, and keeps those that have an account".into()),
        _ => Verdict::Works,
    }
}

fn small(seen: &Seen) -> Verdict {
    match off_cpu(seen) {
        Verdict::Off(why) => Verdict::Off(why),
        _ => target(seen, "small"),
    }
}

fn whole_system(seen: &Seen) -> Verdict {
    target(seen, "all")
}

fn cgroup(seen: &Seen) -> Verdict {
    target(seen, "cgroup")
}

fn target(seen: &Seen, name: &str) -> Verdict {
    let error = seen.results.file(&format!("{name}.err")).unwrap_or_default();
    works_if(seen.results.targets.iter().any(|known| known == name), &brief(error))
}

fn requests(seen: &Seen) -> Verdict {
    if let Some(why) = seen.skipped("disk requests are not followed") {
        return Verdict::Off(why);
    }
    let is_attached = |hook: &str| seen.links(&format!("tp_name:{hook} "), &[]) > 0;
    match ["block_rq_issue", "block_rq_requeue", "block_rq_complete"].iter().find(|hook| !is_attached(hook)) {
        Some(hook) => Verdict::Broken(format!("`{hook}` is not attached")),
        None if is_attached("block_io_start") => Verdict::Works,
        None => Verdict::Fallback(
            "`block_io_start` is missing: arrival is when the kernel allocates the request; its submitter is known when \
             it goes to the device"
                .into(),
        ),
    }
}

fn registers(seen: &Seen) -> Verdict {
    if seen.number("/quality/counts/registers_unreadable") > 0.0 {
        return Verdict::Broken("registers could not be read".into());
    }
    if seen.has_helper("task_pt_regs") {
        return Verdict::Works;
    }
    Verdict::Fallback(
        "`bpf_task_pt_regs` is missing: registers are read from the top of the kernel stack".into(),
    )
}

fn current_task(seen: &Seen) -> Verdict {
    if seen.has_helper("get_current_task_btf") {
        return Verdict::Works;
    }
    Verdict::Fallback(
        "`bpf_get_current_task_btf` is missing: `bpf_get_current_task` and reads of kernel memory".into(),
    )
}

fn mappings(seen: &Seen) -> Verdict {
    match seen.skipped("mappings are only read from /proc") {
        Some(why) => Verdict::Off(why),
        None => Verdict::Works,
    }
}

fn run_times(seen: &Seen) -> Verdict {
    let programs = seen.report.pointer("/cost/programs").and_then(Value::as_array);
    let measured = programs.is_some_and(|all| all.iter().any(|program| program["runs"].as_f64() > Some(0.0)));
    works_if(measured, "none was measured")
}

/// Of what the profiler printed, the sentence and the verifier's last words.
fn brief(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    let statistics = ["processed ", "verification time", "stack depth", "subprog ", ":"];
    let is_word = |line: &&str| !line.is_empty() && !statistics.iter().any(|word| line.starts_with(word));
    let last = error.lines().map(str::trim).rfind(is_word).unwrap_or_default();
    if first == last { first.into() } else { format!("{first} … {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(text: &str) -> Vec<Verdict> {
        let results = Results::parse(text);
        let seen = Seen::new(&results).unwrap();
        PROBES.iter().map(|probe| probe.verdict(&seen)).collect()
    }

    const OLD: &str = r#"{"ledger": {"residual_ratio": 0.0, "thread_seconds": 9.0},
        "threads": [{}, {}, {}], "quality": {"counts": {}, "skipped": [
            {"sentence": "sampling by CPU clock instead of hardware cycles (x)"},
            {"sentence": "no stacks of waiting threads on this kernel: y"}]},
        "stacks": {"on_cpu": [{"frames": ["main", "deep_stack::bottom_spin"]}], "off_cpu": []},
        "cost": {"programs": [{"name": "sched_switch_without_state", "runs": 7}, {"name": "seed_threads", "runs": 0}]}}"#;

    #[test]
    fn an_old_kernel_has_fallbacks_and_gaps_with_reasons() {
        let link = |hook| format!("@@link pos:0 link_type:raw_tracepoint prog_id:7 tp_name:{hook} \n");
        let hooks = ["sched_waking", "task_newtask", "sched_process_exec"];
        let of_requests = ["block_rq_issue", "block_rq_requeue", "block_rq_complete"];
        let links = [hooks, of_requests].concat().into_iter().map(link).collect::<String>();
        let found = verdicts(&format!(
            "{links}@@target all 0\n@@target small 1\n@@target cgroup 0\n@@begin probe.json\n{OLD}\n@@end probe.json\n"
        ));
        let kinds: Vec<_> =
            found.iter().map(|verdict| format!("{verdict:?}").chars().next().unwrap()).collect();
        assert_eq!(String::from_iter(kinds), "FWFWOOOWWFFFWW", "{found:?}");
    }

    #[test]
    fn without_a_report_the_profilers_words_are_the_reason() {
        let text = "@@begin probe.err\nprofiler: refused\nR2 unbounded\nprocessed 7 insns\n@@end probe.err\n";
        let why = Seen::new(&Results::parse(text)).err();
        assert_eq!(why.as_deref(), Some("profiler: refused … R2 unbounded"));
    }
}
