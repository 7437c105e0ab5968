//! What the picture says: its `<title>` nodes, its header and its colours.

use proptest::prelude::*;

use super::*;
use crate::analyze::flame::tests::small_recording;
use crate::recording::Span;

fn header() -> Header {
    Header {
        target: "process 7 (db)".to_owned(),
        lost_ratio: 0.0123,
        stacks_complete_ratio: Some(0.5),
        stacks_by_frame_pointers_ratio: Some(0.0),
    }
}

fn draw(recording: &Span, view: View, header: &Header) -> String {
    let mut svg = Vec::new();
    render(&Flame::new(recording, view), header, &mut svg).expect("write");
    String::from_utf8(svg).expect("text")
}

/// The texts of the `<title>` nodes.
fn titles(svg: &str) -> Vec<&str> {
    svg.split("<title>").skip(1).filter_map(|rest| rest.split("</title>").next()).collect()
}

/// The fill of the frame whose title begins with this, the `nth` one from the top of the file.
fn fill<'a>(svg: &'a str, title: &str, nth: usize) -> &'a str {
    let start = format!("<title>{title} (");
    let frame = svg.split(start.as_str()).nth(nth + 1).expect("no such frame");
    let fill = frame.split("fill=\"").nth(1).expect("no fill");
    fill.split('"').next().expect("no end")
}

#[test]
fn each_frame_tells_its_microseconds_and_its_share() {
    let svg = draw(&small_recording(), View::Wall, &header());
    let mut titles = titles(&svg);
    titles.sort_unstable();
    let expected = [
        "[cut] (5,000,000 µs of thread time, 25.00%)",
        "[db+0x30] (1,000,000 µs of thread time, 5.00%)",
        "[db+0x30] (5,000,000 µs of thread time, 25.00%)",
        "[not sampled] (10,000,000 µs of thread time, 50.00%)",
        "[residual] (1,000,000 µs of thread time, 5.00%)",
        "all (20,000,000 µs of thread time, 100%)",
        "db (7) (20,000,000 µs of thread time, 100.00%)",
        "disk_read (disk) (5,000,000 µs of thread time, 25.00%)",
        "io/8 (10,000,000 µs of thread time, 50.00%)",
        "io_schedule (5,000,000 µs of thread time, 25.00%)",
        "main (4,000,000 µs of thread time, 20.00%)",
        "main/7 (10,000,000 µs of thread time, 50.00%)",
        "on_cpu (4,000,000 µs of thread time, 20.00%)",
        "parse [inlined] (3,000,000 µs of thread time, 15.00%)",
        "query (3,000,000 µs of thread time, 15.00%)",
        "timer (idle) (10,000,000 µs of thread time, 50.00%)",
    ];
    assert_eq!(titles, expected);
}

#[track_caller]
fn check_contains(view: View, header: &Header, expected: &str) {
    let svg = draw(&small_recording(), view, header);
    assert!(svg.contains(expected), "{expected}");
}

#[test]
fn the_title_names_the_view_and_the_target() {
    check_contains(View::Cpu, &header(), ">Time on the CPU of process 7 (db)<");
}

#[test]
fn the_subtitle_has_the_total_and_the_losses() {
    check_contains(
        View::Cpu,
        &header(),
        ">cpu view: 4.000 thread-seconds · 1.2 % lost · 50.0 % of stacks complete<",
    );
}

#[test]
fn the_subtitle_tells_of_guesses() {
    let header = Header { stacks_by_frame_pointers_ratio: Some(0.25), ..header() };
    check_contains(View::Cpu, &header, " · 50.0 % of stacks complete, 25.0 % by frame pointers<");
}

#[test]
fn a_recording_without_stacks_says_so() {
    let header = Header { stacks_complete_ratio: None, ..header() };
    check_contains(
        View::OffCpu,
        &header,
        ">offcpu view: 16.000 thread-seconds · 1.2 % lost · no stack sampled<",
    );
}

#[test]
fn a_long_target_is_shortened() {
    let header = Header { target: "x".repeat(4096), ..header() };
    check_contains(View::Wall, &header, &format!("of {}…<", "x".repeat(80)));
}

#[test]
fn the_same_function_has_another_colour_where_it_waits() {
    let svg = draw(&small_recording(), View::Wall, &header());
    assert_ne!(fill(&svg, "[db+0x30]", 0), fill(&svg, "[db+0x30]", 1));
}

#[test]
fn the_same_recording_gives_the_same_picture() {
    let draw = || draw(&small_recording(), View::Wall, &header());
    assert_eq!(draw(), draw());
}

#[test]
fn a_view_without_time_says_so() {
    let svg = draw(&Span::default(), View::Wall, &header());
    assert!(svg.contains("No time in this view."));
}

/// A recording all of whose names are this one.
fn all_named(name: &str) -> Span {
    let mut recording = small_recording();
    for function in recording.names.iter_mut().flatten() {
        name.clone_into(&mut function.function);
    }
    for thread in &mut recording.threads {
        name.clone_into(&mut thread.comm);
    }
    name.clone_into(&mut recording.processes[0].comm);
    recording.modules[0].path = format!("/usr/bin/{name}");
    recording
}

/// What no SVG of ours may hold: XML's forbidden characters, and an element or a reference that a name brought in.
#[track_caller]
fn check_hostile(name: &str) {
    let svg = draw(&all_named(name), View::Wall, &Header { target: name.to_owned(), ..header() });
    assert!(!svg.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || c == '\u{ffff}'), "{name:?}");
    let harmless = draw(&all_named("name"), View::Wall, &header());
    let count = |svg: &str, part: &str| svg.matches(part).count();
    for part in ["<script", "<title>", "</svg>", "<rect", "<!--", "<![CDATA["] {
        assert_eq!(count(&svg, part), count(&harmless, part), "{part} in {name:?}");
    }
}

#[test]
fn a_name_cannot_bring_in_an_element() {
    check_hostile("</title><script>alert(1)</script>");
}

#[test]
fn a_name_cannot_end_the_script_or_a_comment() {
    check_hostile("]]></script>--></svg>\"'&amp;&#0;");
}

#[test]
fn a_name_of_control_characters_is_told_by_its_codes() {
    check_hostile("\u{0}\u{1}\u{e}\u{1f}\u{7f}\u{9b}\u{ffff}\n\r\t");
}

#[test]
fn a_name_that_ends_like_a_count_is_no_count() {
    check_hostile("name 12 34");
}

#[test]
fn a_very_long_name_is_drawn() {
    check_hostile(&"é".repeat(4096));
}

#[test]
fn a_name_that_looks_like_an_annotation_is_drawn() {
    check_hostile("name_[k]");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_name_makes_a_broken_picture(name in any::<String>()) {
        check_hostile(&name);
    }
}
