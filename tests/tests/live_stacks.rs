//! Stacks of programs whose call chains are known: how much of them is seen, and what is said of the rest.

use profiler_tests::harness::Live;
use profiler_tests::report::Report;
use serde_json::Value;

/// Functions named `descend` of the deepest stack on the CPU.
fn deepest(report: &Report) -> usize {
    let stacks = report.0["stacks"]["on_cpu"].as_array().expect("stacks on the CPU");
    let descents = |stack: &Value| {
        let frames = stack["frames"].as_array().into_iter().flatten();
        frames.filter(|frame| frame.as_str().is_some_and(|name| name.ends_with("descend"))).count()
    };
    stacks.iter().map(descents).max().expect("a stack on the CPU")
}

/// A recursion 1,000 deep does not fit into the default snapshot: its inner frames are there, under a mark. With 64 KiB
/// it is whole: a frame of `descend` takes at most 48 bytes of the stack.
#[test]
fn deep_recursion_is_cut_and_says_so_or_whole_with_a_larger_snapshot() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let pid = workload.pid().to_string();
    let report = live.record(&["-p", &pid, "-d", "2"]);
    assert!(
        report.has_stack("on_cpu", &["[cut]", "descend", "descend", "bottom_spin"]),
        "{:#}",
        report.0["stacks"]
    );
    assert!(report.has_stack("off_cpu", &["[cut]", "descend", "descend", "bottom_sleep"]));
    assert!(report.number("/quality/stacks_cut_ratio") > 0.9, "{:#}", report.0["quality"]);
    let in_16_kib = deepest(&report);
    assert!((100..1000).contains(&in_16_kib), "{in_16_kib} frames");

    let report = live.record(&["-p", &pid, "-d", "2", "--stack-bytes", "64k"]);
    assert!(report.number("/quality/stacks_complete_ratio") > 0.99, "{:#}", report.0["quality"]);
    // `descend` is called for the depths 1000, 999, …, 0.
    assert_eq!(deepest(&report), 1001);
}
