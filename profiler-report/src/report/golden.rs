//! Whole reports of the example, compared with the files in `profiler-report/tests/golden`; `UPDATE_GOLDEN=1` rewrites them.
//! The numbers in them are checked here once more as literals, from the table of the example.

use serde_json::Value;

use super::{Json, Render, Style, Text};
use crate::analyze::Report;
use crate::recording::{Skip, Span};
use crate::testing::{any_span, example};

fn rendered(render: &dyn Render, recording: &Span) -> String {
    let mut out = Vec::new();
    render.render(&Report::new(recording), &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("reports are UTF-8")
}

fn text(recording: &Span) -> String {
    rendered(&Text::default(), recording)
}

fn json(recording: &Span) -> Value {
    serde_json::from_str(&rendered(&Json, recording)).expect("the report is JSON")
}

#[track_caller]
fn check_golden(file: &str, rendered: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, rendered).expect("the golden file is writable");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    assert!(rendered == golden, "differs from {}; it is now:\n{rendered}", path.display());
}

#[track_caller]
fn check_line(recording: &Span, expected: &str) {
    let text = text(recording);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.lines().any(|line| squeezed(line).starts_with(expected)), "no line `{expected}` in\n{text}");
}

#[track_caller]
fn check_number(pointer: &str, expected: f64) {
    let document = json(&example());
    let number = document.pointer(pointer).and_then(Value::as_f64).expect("a number stands there");
    assert!((number - expected).abs() < 1e-9, "{pointer} is {number}, expected {expected}");
}

#[track_caller]
fn check_schema(recording: &Span) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report-schema.json");
    let schema = std::fs::read_to_string(path).expect("the schema is there");
    let schema = serde_json::from_str(&schema).expect("the schema is JSON");
    jsonschema::meta::validate(&schema).expect("the schema is one");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let document = json(recording);
    let errors: Vec<_> =
        validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn text_is_the_golden_one() {
    check_golden("example.txt", &text(&example()));
}

#[test]
fn json_is_the_golden_one() {
    check_golden("example.json", &rendered(&Json, &example()));
}

#[test]
fn text_tells_the_numbers_of_the_table() {
    let example = example();
    check_line(&example, "db (pid 812, 2 processes, 3 threads)");
    check_line(&example, "10.0 s on web1 · Linux 6.18.5 x86_64, 4 CPUs · 2026-11-22 06:40:00 UTC");
    check_line(&example, "Where 25.00 s of thread time went");
    check_line(&example, "on CPU 7.50 s 30.0 %");
    check_line(&example, "waiting for a CPU 1.00 s 4.0 %");
    check_line(&example, "0.50 s after a wake-up, 0.50 s after a preemption or yield");
    check_line(&example, "disk fsync 3.00 s 12.0 %");
    check_line(&example, "disk_write 1.00 s 4.0 %");
    check_line(&example, "network net_recv 2.50 s 10.0 %");
    check_line(&example, "unknown 1.00 s 4.0 %");
    check_line(&example, "1.00 s in odd_driver_wait");
    check_line(&example, "idle futex_wait 7.00 s 28.0 %");
    check_line(&example, "residual 0.10 s 0.4 %");
    // 15.4 of 16.4 s: all but the unknown second.
    check_line(&example, "16.40 s blocked; reason known for 93.9 %.");
    check_line(&example, "Cross-check: time on the CPU is 9.1 % less than in schedstat (5.000 s, 5.500 s)");
    check_line(&example, "db 812 8.00 s 4.00 s on_cpu 40.0 %, fsync 30.0 %, poll 19.0 %");
    check_line(&example, "4.00 s db: [i] hash ← scan ← execute ← main");
    check_line(&example, "3.00 s fsync db: [k] jbd2_log_wait_commit ← flush ← execute ← main");
    // evil's 2.5 s of net_recv are no busy time.
    check_line(&example, "evil\\x1b[31m 900 2.50 s 2.50 s on_cpu 50.0 %, net_recv 50.0 % (started)");
    check_line(&example, "Stacks waiting for work, for time or for another thread: 8.90 s in 10 samples");
    check_line(&example, "1.90 s poll db: execute ← main");
    check_line(&example, "7.00 s not sampled");
    check_line(&example, "Profiler: 0.40 % of one CPU, 31 MiB resident, 12 MiB in the kernel");
    check_line(
        &example,
        "Kernel programs: 0.06 % of one CPU, measured over 1.0 s: sched_switch 210 ns × 3 000",
    );
}

#[test]
fn json_tells_the_numbers_of_the_table() {
    check_number("/elapsed_seconds", 10.0);
    check_number("/ledger/thread_seconds", 25.0);
    check_number("/ledger/states/on_cpu", 7.5);
    check_number("/ledger/counts/fsync", 300.0);
    check_number("/ledger/residual_ratio", 0.1 / 25.0);
    check_number("/ledger/classified_ratio", 15.4 / 16.4);
    check_number("/ledger/unknown_in/0/seconds", 1.0);
    check_number("/ledger/cross_check/schedstat_run_seconds", 5.5);
    check_number("/processes/0/states/futex_wait", 7.0);
    check_number("/threads/0/tid", 812.0);
    check_number("/threads/2/states/net_recv", 2.5);
    check_number("/stacks/on_cpu/0/seconds", 4.0);
    check_number("/stacks/on_cpu/0/ratio", 4.0 / 25.0);
    check_number("/stacks/off_cpu/0/seconds", 3.0);
    check_number("/quality/lost_ratio", 4.0 / 504.0);
    check_number("/quality/stacks_complete_ratio", 0.96);
    check_number("/cost/cpu_ratio", 0.004);
    check_number("/cost/programs/0/ns_per_run", 210.0);
    // 812 works for 8 of its 10 s, 813 for 2 of 10, 900 for 5 of 5 s: 3.0 s of fsync in 16.0 s, and 2.5 s of net_recv.
    assert_eq!(json(&example()).pointer("/verdict/id"), Some(&Value::from("FSYNC_BOUND")));
}

#[test]
fn json_keeps_to_the_schema() {
    check_schema(&example());
    check_schema(&Span::default());
}

/// The example's report with this value there is refused.
#[track_caller]
fn check_refused(pointer: &str, value: Value) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report-schema.json");
    let schema =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the schema is there")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let mut document = json(&example());
    assert!(validator.is_valid(&document));
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    document.pointer_mut(parent).expect("an object stands there")[key] = value;
    assert!(!validator.is_valid(&document), "{pointer}");
}

#[test]
fn the_schema_refuses_an_unknown_key() {
    check_refused("/surprise", Value::Null);
    check_refused("/ledger/surprise", Value::Null);
    check_refused("/verdict/surprise", Value::Null);
    check_refused("/quality/stacks_broken/surprise", Value::from(1));
    check_refused("/ledger/states/On CPU", Value::from(1.0));
}

#[test]
fn the_schema_refuses_what_a_value_cannot_be() {
    check_refused("/schema_version", Value::from(2));
    check_refused("/elapsed_seconds", Value::from(-1.0));
    check_refused("/elapsed_seconds", Value::Null);
    check_refused("/cpus", Value::from(1.5));
    check_refused("/ledger/classified_ratio", Value::from(1.1));
    check_refused("/ledger/states/on_cpu", Value::from(-1.0));
    check_refused("/verdict/id", Value::from("DISK_BOUND"));
    check_refused("/verdict/confidence", Value::from("sure"));
}

#[test]
fn a_recording_that_lost_too_much_says_so_first() {
    let mut recording = example();
    recording.quality.kernel_counts[1].1 = 100;
    let text = text(&recording);
    let first =
        "NOT RELIABLE: 101 of 601 samples (16.8 %) lost. Try: a lower rate (-F 49), or fewer targets.";
    assert_eq!(text.lines().next(), Some(first), "{text}");
}

#[test]
fn lost_stacks_stand_with_the_stacks() {
    check_line(&example(), "Top stacks blocked: 7.50 s in 40 samples, 1 lost");
}

#[test]
fn a_recording_of_milliseconds_is_told_in_milliseconds() {
    let mut recording = example();
    recording.threads.truncate(1);
    recording.samples.clear();
    let thread = &mut recording.threads[0];
    thread.elapsed_ns = 10_000_000;
    thread.state_ns.iter_mut().for_each(|ns| *ns /= 1000);
    check_line(&recording, "Where 10.00 ms of thread time went");
    check_line(&recording, "disk fsync 3.00 ms 30.0 %");
    check_line(&recording, "No sample in 4.0 ms on the CPU, at one sample every 10 ms.");
}

#[test]
fn lost_accounts_stand_with_the_times_they_lack() {
    let mut recording = example();
    recording.quality.threads_unseen = 1;
    check_line(&recording, "25.0 % of the thread accounts lost.");
}

#[test]
fn a_recording_without_threads_says_so() {
    check_line(&Span::default(), "No thread was seen: the target had already ended, or nothing matched.");
    check_line(&Span::default(), "The recording is empty");
}

#[test]
fn a_recording_without_samples_says_so() {
    let mut recording = example();
    recording.samples.clear();
    check_line(&recording, "No stack was sampled");
    check_line(
        &recording,
        "Top stacks on the CPU (innermost first, [k] kernel, [i] inlined): 7.50 s in 0 samples, 3 lost",
    );
}

#[test]
fn books_that_do_not_close_are_told() {
    let mut recording = example();
    recording.threads[0].elapsed_ns += 900_000_000;
    check_line(
        &recording,
        "The books do not close: the states and the threads' elapsed time differ by 3.9 %.",
    );
}

#[test]
fn names_of_four_kib_with_escapes_stay_within_the_page() {
    let mut recording = example();
    let name = "\x1b[31m\n".repeat(700);
    recording.processes[0].comm.clone_from(&name);
    recording.processes[0].command_line.clone_from(&name);
    recording.threads[0].comm.clone_from(&name);
    recording.meta.hostname.clone_from(&name);
    recording.skipped.push(Skip::sentence(name.clone()));
    for names in recording.names.iter_mut().flatten() {
        names.function.clone_from(&name);
    }
    check_page(&text(&recording));
}

/// Everything that a target can choose, replaced.
fn all_named(name: &str) -> Span {
    let mut recording = example();
    for process in &mut recording.processes {
        name.clone_into(&mut process.comm);
        name.clone_into(&mut process.command_line);
    }
    recording.threads.iter_mut().for_each(|thread| name.clone_into(&mut thread.comm));
    recording.modules.iter_mut().for_each(|module| name.clone_into(&mut module.path));
    for names in recording.names.iter_mut().flatten() {
        name.clone_into(&mut names.function);
        name.clone_into(&mut names.file);
    }
    recording.meta.target = format!("command {name}");
    recording
}

#[track_caller]
fn check_hostile(name: &str) {
    let recording = all_named(name);
    check_page(&text(&recording));
    check_schema(&recording);
    let file = rendered(&Json, &recording);
    assert!(!file.chars().any(|c| c != '\n' && super::frame_text::is_unsafe(c)), "{name:?}");
    // To a program it is what the target chose.
    let thread = json(&recording).pointer("/threads/0/comm").and_then(Value::as_str).map(str::to_owned);
    assert_eq!(thread.as_deref(), Some(name));
}

#[test]
fn names_cannot_reach_the_terminal_nor_break_the_document() {
    check_hostile("\x1b[2J\x1b]0;title\x07\r\n\t\0\x7f");
    check_hostile("\u{9b}31m\u{202e}evil\u{2066}\u{2028}\u{ffff}\u{fffd}");
    check_hostile("\",\"verdict\":{},\"\\");
    check_hostile("</script><b>&amp;'\"");
    check_hostile(&"\x1b\u{202e}é".repeat(1024));
}

#[test]
fn on_a_narrow_terminal_no_line_is_cut_but_names() {
    let narrow = rendered(&Text { style: Style { columns: 80, ..Style::default() } }, &example());
    for line in narrow.lines() {
        assert!(super::escape::columns(line) <= 80, "wider than 80 columns: {line}");
    }
    // What the wide page says in words and numbers, the narrow one says too.
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["waits, ", " each", "Over time", "Verdict: "] {
        let count = |text: &str| joined(text).matches(words).count();
        assert_eq!(count(&narrow), count(&text(&example())), "{words} in\n{narrow}");
    }
}

#[test]
fn colour_is_used_only_when_asked_for() {
    let coloured = rendered(&Text { style: Style { colour: true, ..Style::default() } }, &example());
    assert!(coloured.contains("\x1b[1mBusiest threads"));
    assert!(!text(&example()).contains('\x1b'));
}

/// No line is wider than the page, none holds a control character.
#[track_caller]
fn check_page(text: &str) {
    for line in text.lines() {
        assert!(super::escape::columns(line) <= 100, "wider than 100 columns: {line}");
        assert!(!line.chars().any(char::is_control), "control character in {line:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn any_valid_recording_is_a_page_and_keeps_to_the_schema(recording in any_span()) {
        check_page(&text(&recording));
        check_schema(&recording);
    }
}
