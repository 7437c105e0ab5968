//! One recording, several outputs: they agree with each other, and a saved capture gives the same answer.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use profiler_tests::harness::{Live, directory};
use profiler_tests::report::{Report, check_closed, check_near};
use profiler_tests::running::{Workload, run};

/// What a capture says later is what the live run said, byte for byte: text, JSON, folded stacks and flamegraph.
#[test]
fn capture_gives_the_same_answer_as_the_live_run() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &[]);
    let names = ["live.prof", "live.json", "live.folded", "live.svg"].map(|name| path(&live, name));
    let mut arguments = vec!["record", "-q", "-p"];
    let pid = workload.pid().to_string();
    arguments.extend([&pid, "-d", "2", "-o", "-"]);
    arguments.extend(names.iter().flat_map(|name| ["-o", name]));
    let recorded = live.run(&arguments);
    assert!(recorded.status.success(), "{recorded:?}");
    drop(workload);

    let later = live.run(&["report", &names[0]]);
    assert!(later.status.success(), "{later:?}");
    assert!(recorded.stdout.contains("timer"), "a report of a thread that sleeps: {recorded:?}");
    assert_eq!(later.stdout, recorded.stdout, "text");
    for extension in ["json", "folded", "svg"] {
        let again = path(&live, &format!("later.{extension}"));
        let rendered = live.run(&["report", &names[0], "-o", &again]);
        assert!(rendered.status.success(), "{rendered:?}");
        let first = fs::read(live.path(&format!("live.{extension}"))).expect("the live run's file");
        assert!(first == fs::read(&again).expect("the later file"), "{extension} differs");
    }
    check_folded_adds_up(&live);
    check_svg_is_valid(&names[3], &Report::read(&live.path("live.json")));
}

/// A part of a capture is whole windows, whose times are those of the strip; all windows together are the ledger.
#[test]
fn a_part_of_a_capture_is_reported_alone() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &[]);
    let (capture, part) = (path(&live, "out.prof"), path(&live, "part.json"));
    let pid = workload.pid().to_string();
    let whole = live.record(&["-p", &pid, "-d", "4", "-o", &capture]);
    let of_part = live.run(&["report", &capture, "--from", "1s", "--to", "3s", "-o", &part]);
    assert!(of_part.status.success(), "{of_part:?}");
    let part = Report::read(&live.path("part.json"));
    check_closed(&part);
    let windows = whole.0["windows"].as_array().expect("a list");
    assert!(windows.len() >= 2, "{windows:#?}");
    let sum = |key: &str, from: f64, to: f64| -> f64 {
        let number = |window: &serde_json::Value, key: &str| window[key].as_f64().expect("a number");
        let wanted = windows.iter().filter(|window| {
            number(window, "from_seconds") >= from - 1e-6 && number(window, "to_seconds") <= to + 1e-6
        });
        wanted.map(|window| number(window, key)).sum()
    };
    check_near("on the CPU", sum("on_cpu_seconds", 0.0, 1e9), whole.seconds("on_cpu"), 1e-6);
    let (from, to) = (part.number("/part/from_seconds"), part.number("/part/to_seconds"));
    assert!(
        to - from > 0.9 && part.number("/elapsed_seconds") < whole.number("/elapsed_seconds"),
        "{from} to {to}"
    );
    check_near("on the CPU in the part", sum("on_cpu_seconds", from, to), part.seconds("on_cpu"), 1e-6);
    let refused = live.run(&["report", &capture, "--from", "1h"]);
    assert!(
        !refused.status.success() && refused.stderr.contains("no window of the recording"),
        "{refused:?}"
    );
}

/// The widths of the wall view are the ledger: ±1 % for counts that are rounded line by line.
#[track_caller]
fn check_folded_adds_up(live: &Live) {
    let report = Report::read(&live.path("live.json"));
    check_closed(&report);
    let folded = fs::read_to_string(live.path("live.folded")).expect("folded stacks");
    let weights =
        folded.lines().map(|line| line.rsplit(' ').next().and_then(|weight| weight.parse::<f64>().ok()));
    let whole: f64 = weights.map(|weight| weight.expect("a line ends in a number")).sum();
    let asleep: f64 = folded.lines().filter(|line| is_timer(line)).filter_map(last_number).sum();
    check_near(
        "part of the sleeping thread",
        asleep / whole,
        report.seconds("timer") / report.number("/ledger/thread_seconds"),
        0.01,
    );
}

/// The state is the frame next to the thread's; kernel functions have the word in their names too.
fn is_timer(line: &str) -> bool {
    line.split(';').nth(2).is_some_and(|frame| frame.starts_with("timer"))
}

fn last_number(line: &str) -> Option<f64> {
    line.rsplit(' ').next()?.parse().ok()
}

#[track_caller]
fn check_svg_is_valid(svg: &str, report: &Report) {
    let mut command = std::process::Command::new("xmllint");
    command.args(["--noout", svg]);
    let limit = std::time::Duration::from_secs(20);
    let finished = run(command, limit).expect("xmllint is installed (`cargo xtask setup --tests`)");
    assert!(finished.status.success(), "{finished:?}");
    let text = fs::read_to_string(svg).expect("the flamegraph");
    assert!(
        text.contains("bottom_spin") && (text.contains("bottom_sleep") || report.lacks_off_cpu_stacks()),
        "the flamegraph has both threads' functions"
    );
}

fn path(live: &Live, name: &str) -> String {
    live.path(name).to_string_lossy().into_owned()
}

/// Every recording measures what it costs, and a process of 100 threads costs little memory: the budget is 64 MiB for
/// the profiler and its kernel maps together.
#[test]
fn cost_is_measured_and_memory_within_budget() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("many_threads", &["100", "20"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "3"]);
    check_closed(&report);
    assert!(report.number("/cost/own_cpu_seconds") > 0.0 && report.number("/cost/cpu_ratio") > 0.0);
    assert!(report.number("/cost/startup_seconds") > 0.0);
    let programs = report.0["cost"]["programs"].as_array().expect("each kernel program's cost");
    assert!(
        programs.iter().any(|program| program["runs"].as_f64() > Some(0.0)),
        "none was measured: {programs:?}"
    );
    let bytes = report.number("/cost/rss_bytes") + report.number("/cost/kernel_bytes");
    assert!(bytes <= 64.0 * 1024.0 * 1024.0, "{} MiB", bytes / 1024.0 / 1024.0);
}

/// A program in a path of nearly 4 KiB, whose name holds a terminal's codes, markup, what reverses text, and a byte that is no
/// text: no output has any of it as it is.
#[test]
fn hostile_names_are_data_in_every_output() {
    let Some(live) = Live::start() else { return };
    let hostile = b"\x1b[31m<b>&\";\xff\xe2\x80\xae\xc2\x9b\n]]>";
    let mut deep = live.scratch.path().to_owned();
    while deep.as_os_str().len() < 3_700 {
        deep.push(OsStr::from_bytes(&[hostile, &[b'x'; 200][..]].concat()));
    }
    fs::create_dir_all(&deep).expect("directories");
    let program = deep.join(OsStr::from_bytes(hostile));
    fs::copy(directory().join("deep_stack"), &program).expect("a copy");
    let mut command = Command::new(&program);
    // The workload reads its words as text.
    command.arg0("\x1b[31m<b>\u{202e}");
    let workload = Workload::start_command(command).expect("it runs");
    let names = ["h.txt", "h.json", "h.folded", "h.svg", "h.prof"].map(|name| path(&live, name));
    let pid = workload.pid().to_string();
    let mut arguments = vec!["record", "-d", "1", "-p", &pid];
    arguments.extend(names.iter().flat_map(|name| ["-o", name]));
    let recorded = live.run(&arguments);
    assert!(recorded.status.success(), "{recorded:?}");
    check_plain("stderr", &recorded.stderr);
    for name in &names[..4] {
        check_plain(name, &fs::read_to_string(name).expect("UTF-8"));
    }
    let report = Report::read(&live.path("h.json"));
    let comm = report.thread(workload.pid()).comm().to_owned();
    assert!(comm.starts_with("\x1b[31m<b>&"), "the name itself is kept: {comm:?}");
    check_svg_is_valid(&names[3], &report);
    assert!(!fs::read_to_string(&names[3]).expect("UTF-8").contains("<b>"), "markup of a name");
}

#[track_caller]
fn check_plain(name: &str, text: &str) {
    let obeyed = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
    assert!(!text.chars().any(obeyed), "{name}: {text:?}");
}
