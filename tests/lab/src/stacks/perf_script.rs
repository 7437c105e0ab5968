//! Reads what `perf script -F tid,ip,sym,symoff,dso --no-inline --show-lost-events` prints.
//!
//! In: its text. Out: its stacks, each with the weight of one sample. A sample is a line with the thread, then a line a
//! frame, innermost first, then an empty line:
//!
//! ```text
//! 22392
//!         ffffffff812f1ee0 do_epoll_wait+0x70 ([kernel.kallsyms])
//!                   1442 compare+0x12 (/srv/calls)
//!                   14fd [unknown] (/srv/libx.so.1)
//! ```

use super::sampled::{Frame, Sampled, Stack};

/// The stacks of all samples.
pub fn read(text: &str) -> Sampled {
    let mut sampled = Sampled::default();
    for block in text.split("\n\n") {
        let mut lines = block.trim_matches('\n').lines();
        let Some(head) = lines.next() else { continue };
        if let Some((_, lost)) = head.split_once("PERF_RECORD_LOST") {
            sampled.lost += lost.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
            continue;
        }
        let mut stack = Stack { user: Vec::new(), in_kernel: false, known_incomplete: false, weight: 1.0 };
        for line in lines {
            add_frame(&mut stack, line);
        }
        stack.user.reverse();
        sampled.samples += 1;
        sampled.stacks.push(stack);
    }
    sampled
}

fn add_frame(stack: &mut Stack, line: &str) {
    let Some((address, rest)) = line.trim_start().split_once(' ') else { return };
    let (symbol, file) = split_file(rest);
    // The upper half of the addresses is the kernel's, the old `vsyscall` page apart, which nothing here calls.
    if u64::from_str_radix(address, 16).is_ok_and(|address| address >> 63 == 1) {
        stack.in_kernel = true;
        return;
    }
    let name = symbol.rsplit_once("+0x").map_or(symbol, |(name, _)| name);
    stack.user.push(match name {
        "[unknown]" => Frame::Nameless(module_name(file).to_owned()),
        name => Frame::Named(name.to_owned()),
    });
}

/// Splits `symbol+0x12 (/path/of/file)`. Symbols have brackets of their own, and so has ` (deleted)` behind a path.
fn split_file(rest: &str) -> (&str, &str) {
    let at = rest.rfind(" (/").or_else(|| rest.rfind(" ([")).or_else(|| rest.rfind(" ("));
    at.map_or((rest, ""), |at| (&rest[..at], rest[at + 2..].trim_end_matches(')')))
}

/// The last part of a path, without brackets, as the profiler calls a module.
fn module_name(file: &str) -> &str {
    let name = file.trim_end_matches(" (deleted").rsplit('/').next().unwrap_or(file);
    name.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "22392 \n\
        \tffffffff812f1ee0 do_epoll_wait+0x70 ([kernel.kallsyms])\n\
        \t            1442 std::f<int (*)(int)>(int)+0x12 (/srv/calls)\n\
        \t            14fd [unknown] (/srv/libx.so.1)\n\
        \t            1330 _start+0x20 (/srv/calls (deleted))\n\
        \n\
        22393 PERF_RECORD_LOST lost 3\n\
        \n\
        22393 \n\
        \t    7f0000001442 [unknown] ([unknown])\n\
        \n";

    #[test]
    fn samples_have_their_frames_outermost_first() {
        let sampled = read(SCRIPT);
        let user = vec![
            Frame::Named("_start".to_owned()),
            Frame::Nameless("libx.so.1".to_owned()),
            Frame::Named("std::f<int (*)(int)>(int)".to_owned()),
        ];
        let first = Stack { user, in_kernel: true, known_incomplete: false, weight: 1.0 };
        assert_eq!(sampled.stacks[0], first);
        assert_eq!(sampled.stacks[1].user, [Frame::Nameless("unknown".to_owned())]);
        assert_eq!(sampled.samples, 2);
    }

    #[test]
    fn lost_samples_are_counted() {
        assert_eq!(read(SCRIPT).lost, 3);
    }

    #[test]
    fn an_empty_output_has_no_samples() {
        assert_eq!(read(""), Sampled::default());
    }
}
