//! Folded stacks, the input of flamegraph tools: one line a path, `frame;frame;frame COUNT`, root first.
//!
//! Counts are microseconds of thread time; they add up to those of the view. Kernel functions end in `_[k]` and
//! inlined ones in `_[i]`, as flamegraph tools expect.

use std::io;

use super::frame_text;
use crate::analyze::flame::Flame;

/// Writes the lines, sorted.
pub fn render(flame: &Flame, out: &mut dyn io::Write) -> io::Result<()> {
    let frames: Vec<String> =
        flame.frames.iter().map(|frame| frame_text::escaped(&frame.text) + frame.suffix()).collect();
    for (path, microseconds) in flame.microseconds() {
        for (depth, &id) in path.iter().enumerate() {
            let separator = if depth == 0 { "" } else { ";" };
            write!(out, "{separator}{}", frames[id as usize])?;
        }
        writeln!(out, " {microseconds}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::flame::{View, tests::small_recording};

    #[track_caller]
    fn check(view: View, expected: &str) {
        let mut folded = Vec::new();
        render(&Flame::new(&small_recording(), view), &mut folded).expect("write");
        assert_eq!(String::from_utf8(folded).expect("text"), expected);
    }

    #[test]
    fn the_wall_view_of_a_small_recording() {
        check(View::Wall, include_str!("testdata/small.wall.folded"));
    }

    #[test]
    fn the_cpu_view_of_a_small_recording() {
        check(View::Cpu, include_str!("testdata/small.cpu.folded"));
    }

    #[test]
    fn hostile_names_stay_in_their_line_and_frame() {
        let mut recording = small_recording();
        recording.names[0][0].function = "a;b 1\nevil;stack 999".to_owned();
        recording.processes[0].comm = "# db\n".to_owned();
        let mut folded = Vec::new();
        render(&Flame::new(&recording, View::Cpu), &mut folded).expect("write");
        let folded = String::from_utf8(folded).expect("text");
        let root = r"\u{23} db\u{a} (7);main/7;on_cpu;a:b 1\u{a}evil:stack\u{20}999;";
        let lines: Vec<_> = folded.lines().collect();
        assert_eq!(lines, [format!("{root}[db+0x30] 1000000"), format!("{root}query;parse_[i] 3000000")]);
    }
}
