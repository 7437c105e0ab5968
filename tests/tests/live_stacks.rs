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

/// A recursion 1,000 deep does not fit into 16 KiB: its inner frames are there, under a mark.
#[test]
fn deep_recursion_is_cut_and_says_so() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "2", "--stack-bytes", "16k"]);
    let stacks = &report.0["stacks"];
    assert!(report.has_stack("on_cpu", &["[cut]", "descend", "descend", "bottom_spin"]), "{stacks:#}");
    assert!(report.has_stack("off_cpu", &["[cut]", "descend", "descend", "bottom_sleep"]), "{stacks:#}");
    let frames = deepest(&report);
    assert!((100..1000).contains(&frames), "{frames} frames");
}

/// Of a thread whose stack was cut, more is taken: then the recursion is whole, because a frame of `descend` takes at most
/// 48 bytes. Two samples on the CPU show that more is needed, and a third may be on its way; off the CPU none is.
#[test]
fn deep_recursion_becomes_whole_by_itself() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "4"]);
    let quality = &report.0["quality"];
    let samples =
        report.number("/quality/counts/oncpu_samples") + report.number("/quality/counts/offcpu_samples");
    assert!(report.number("/quality/stacks_cut_ratio") * samples < 3.5, "{quality:#}");
    assert!(report.number("/quality/stacks_broken_ratio") == 0.0, "{quality:#}");
    // `descend` is called for the depths 1000, 999, …, 0.
    assert_eq!(deepest(&report), 1001);
}
