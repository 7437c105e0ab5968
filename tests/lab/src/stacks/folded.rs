//! Reads the profiler's folded stacks.
//!
//! In: the text of a `.folded` file, of one view. Out: its stacks with their microseconds as weight. A line is
//! `PROCESS;THREAD;STATE;frame;frame MICROSECONDS`, outermost frame first; kernel frames end in `_[k]`, inlined ones in
//! `_[i]`; `[cut]` or `[broken: …]` in front of the frames says that the stack goes on outside.

use anyhow::{Context, Result};

use super::sampled::{Frame, Sampled, Stack};

/// Process, thread and state.
const FRAMES_BEFORE_CODE: usize = 3;

/// The stacks of a view. Time that no sample hit, and the ledger's residual, are no stacks.
pub fn read(text: &str, samples: u64, lost: u64) -> Result<Sampled> {
    let stacks = text.lines().filter_map(|line| stack(line).transpose()).collect::<Result<_>>()?;
    Ok(Sampled { stacks, samples, lost })
}

fn stack(line: &str) -> Result<Option<Stack>> {
    let (path, weight) = line.rsplit_once(' ').with_context(|| format!("no folded stack: `{line}`"))?;
    let weight = weight.parse().with_context(|| format!("no weight: `{line}`"))?;
    let mut stack = Stack { user: Vec::new(), in_kernel: false, known_incomplete: false, weight };
    for text in path.split(';').skip(FRAMES_BEFORE_CODE) {
        match text {
            "[not sampled]" => return Ok(None),
            "[cut]" => stack.known_incomplete = true,
            text if text.starts_with("[broken") => stack.known_incomplete = true,
            text if text.ends_with("_[k]") => stack.in_kernel = true,
            text if text.ends_with("_[i]") => {}
            text => stack.user.push(frame(text)),
        }
    }
    let has_code = path.split(';').count() > FRAMES_BEFORE_CODE;
    Ok(has_code.then_some(stack))
}

/// A frame without a name is `[module+0xoffset]` or `[unknown 0xaddress]`.
fn frame(text: &str) -> Frame {
    let place = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let module = place.and_then(|place| match place.rsplit_once("+0x") {
        Some((module, _)) => Some(module),
        None => place.starts_with("unknown 0x").then_some("unknown"),
    });
    module.map_or_else(|| Frame::Named(text.to_owned()), |module| Frame::Nameless(module.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Frame {
        Frame::Named(name.to_owned())
    }

    #[track_caller]
    fn check(line: &str, expected: Option<&Stack>) {
        assert_eq!(stack(line).unwrap().as_ref(), expected);
    }

    #[test]
    fn a_whole_stack_without_its_inlined_functions() {
        let user = vec![named("_start"), named("operator new(unsigned long)")];
        check(
            "db (7);main/7;pipe (ipc);_start;tiny_[i];operator new(unsigned long);read_[k] 1500",
            Some(&Stack { user, in_kernel: true, known_incomplete: false, weight: 1500.0 }),
        );
    }

    #[test]
    fn an_incomplete_stack_with_nameless_frames() {
        let nameless = |module: &str| Frame::Nameless(module.to_owned());
        let user = vec![nameless("libx.so.1"), nameless("unknown")];
        check(
            "db (7);main/7;on_cpu;[broken: no module];[libx.so.1+0x1f0];[unknown 0x7f00] 9",
            Some(&Stack { user, in_kernel: false, known_incomplete: true, weight: 9.0 }),
        );
    }

    #[test]
    fn time_without_a_sample_is_no_stack() {
        check("db (7);main/7;on_cpu;[not sampled] 200", None);
        check("db (7);main/7;[residual] 2", None);
    }

    #[test]
    fn another_text_is_refused() {
        assert!(read("db", 0, 0).is_err());
        assert!(read("db;main many", 0, 0).is_err());
    }
}
