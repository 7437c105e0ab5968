//! What a recording may cost, and what is given up to keep to it.

use profiler_tests::harness::Live;
use serde_json::Value;

/// `(at_seconds, detail)` of each step.
fn steps(report: &Value) -> Vec<(f64, String)> {
    let steps = report["cost"]["steps"].as_array().expect("steps");
    let step = |step: &Value| {
        let detail = step["detail"].as_str().expect("a detail").to_owned();
        (step["at_seconds"].as_f64().expect("a time"), detail)
    };
    steps.iter().map(step).collect()
}

/// The switches of two threads that wake each other cost more than a ten-thousandth of this machine, whatever else is given up.
#[test]
fn what_cannot_keep_to_its_budget_loses_detail_and_ends_with_its_books_closed() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("pipe_pingpong", &[]);
    let pid = workload.pid().to_string();
    let report = live.record(&["--max-overhead", "0.01%", "-d", "40", "-p", &pid]);
    let steps = steps(&report.0);
    let details: Vec<_> = steps.iter().map(|(_, detail)| detail.as_str()).collect();
    let expected =
        ["half_rate", "quarter_rate", "no_optional_probes", "few_off_cpu_stacks", "ledger_only", "detached"];
    assert_eq!(details, expected);
    // A step takes two seconds above the budget, the last one five: 15 in all, and more on a machine that is late.
    let end = steps[5].0;
    assert!((14.9..33.0).contains(&end), "{steps:?}");
    let elapsed = report.elapsed();
    assert!((elapsed - end).abs() < 1.0, "{elapsed} s, the last step after {end} s");
    // The ledger went on to the end: each thread's states add up to the time that it was there.
    for thread in report.0["threads"].as_array().expect("threads") {
        let states = thread["states"].as_object().expect("states");
        let sum: f64 = states.values().map(|seconds| seconds.as_f64().expect("seconds")).sum();
        let [there, residual] =
            ["elapsed_seconds", "residual_seconds"].map(|key| thread[key].as_f64().expect("seconds"));
        assert!((sum + residual - there).abs() < 1e-6 && residual < 0.01 * there, "{thread:#}");
    }
}

#[test]
fn a_recording_within_its_budget_keeps_its_detail() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("duty_cycle", &[]);
    let report = live.record(&["--max-overhead", "50%", "-d", "4", "-p", &workload.pid().to_string()]);
    assert_eq!(steps(&report.0), []);
    let (cost, budget) = (report.number("/cost/machine_ratio"), report.number("/cost/budget_ratio"));
    assert!(cost < budget && (budget - 0.5).abs() < 1e-9, "{cost} of {budget}");
}
