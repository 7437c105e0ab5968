//! Sampled stacks in a form that the output of both profilers can be brought to.
//!
//! Comparable are the functions that exist as such: inlined ones are left out on both sides (`perf script --no-inline`),
//! because perf asks `addr2line` for them and other readers of debug information count them differently. The kernel's
//! part is one mark: how it is unwound is not in question here.

use std::collections::BTreeMap;

/// What a kernel part is called in [`Stack::path`].
const KERNEL: &str = "[kernel]";

/// One stack, with the weight of its samples: their number, or the time that they stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// User functions, outermost first.
    pub user: Vec<Frame>,
    pub in_kernel: bool,
    /// The profiler itself says that the stack goes on outside of the outermost frame.
    pub known_incomplete: bool,
    pub weight: f64,
}

/// One user frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Named(String),
    /// In this file, at a place that has no name.
    Nameless(String),
}

/// All stacks of one side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    pub stacks: Vec<Stack>,
    /// Real samples behind them.
    pub samples: u64,
    /// Samples that the profiler took and could not keep.
    pub lost: u64,
}

impl Frame {
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Nameless(_) => None,
        }
    }
}

impl Stack {
    /// Whether its outermost function is one of `entries`, where a thread begins.
    pub fn reaches(&self, entries: &[&str]) -> bool {
        let outermost = self.user.first().and_then(Frame::name);
        !self.known_incomplete && outermost.is_some_and(|name| entries.contains(&plain(name).as_str()))
    }

    /// The stack as one line, outermost function first, with names as `canonical` has them.
    pub fn path(&self, canonical: impl Fn(&str) -> String) -> String {
        self.line(&self.user, canonical)
    }

    /// The innermost function alone, with the kernel's mark.
    pub fn innermost(&self, canonical: impl Fn(&str) -> String) -> String {
        self.line(&self.user[self.user.len().saturating_sub(1)..], canonical)
    }

    fn line(&self, user: &[Frame], canonical: impl Fn(&str) -> String) -> String {
        let user = user.iter().map(|frame| match frame {
            Frame::Named(name) => canonical(&plain(name)),
            Frame::Nameless(module) => format!("[{module}]"),
        });
        user.chain(self.in_kernel.then(|| KERNEL.to_owned())).collect::<Vec<_>>().join(";")
    }
}

impl Sampled {
    pub fn weight(&self) -> f64 {
        self.stacks.iter().map(|stack| stack.weight).sum()
    }

    /// Share of the weight for which `holds`. None without any.
    pub fn share(&self, holds: impl Fn(&Stack) -> bool) -> Option<f64> {
        let weight = self.weight();
        let found: f64 = self.stacks.iter().filter(|stack| holds(stack)).map(|stack| stack.weight).sum();
        (weight > 0.0).then(|| found / weight)
    }

    /// Share of the user frames that have a name, of those in files for which `counts`. None without any.
    pub fn named(&self, counts: impl Fn(&Frame) -> bool) -> Option<f64> {
        let frames = || {
            let all = self.stacks.iter();
            all.flat_map(|stack| stack.user.iter().map(move |frame| (frame, stack.weight)))
                .filter(|(frame, _)| counts(frame))
        };
        let all: f64 = frames().map(|(_, weight)| weight).sum();
        let named: f64 = frames().filter(|(frame, _)| frame.name().is_some()).map(|(_, weight)| weight).sum();
        (all > 0.0).then(|| named / all)
    }

    /// The share of the weight that each line has, of those that `line` makes of the stacks.
    pub fn shares(&self, line: impl Fn(&Stack) -> String) -> BTreeMap<String, f64> {
        let whole = self.weight();
        let mut shares = BTreeMap::new();
        for stack in &self.stacks {
            *shares.entry(line(stack)).or_default() += stack.weight / whole;
        }
        shares
    }
}

/// A name without what demanglers, linkers and readers of symbol tables write differently: versions, the suffixes of
/// clones, hashes, parameters, template arguments and return types.
pub fn plain(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.split_once(" [clone ").map_or(name, |(name, _)| name);
    let name = without_hash(without_suffixes(name));
    let name = without_brackets(without_parameters(name));
    let name = name.trim_end();
    // A template function is demangled with its return type in front.
    let has_spaces_of_its_own = ["operator", "(anonymous", "JS:"].iter().any(|word| name.contains(word));
    let last_word = name.rsplit(' ').next().filter(|_| !has_spaces_of_its_own).unwrap_or(name);
    last_word.to_owned()
}

/// What compilers append to the name of a copy or a part of a function.
const SUFFIXES: [&str; 8] =
    [".cold", ".part.", ".constprop.", ".isra.", ".lto_priv.", ".llvm.", ".localalias", ".abi0"];

fn without_suffixes(name: &str) -> &str {
    let first = SUFFIXES.iter().filter_map(|suffix| name.find(suffix)).filter(|&at| at > 0).min();
    first.map_or(name, |at| &name[..at])
}

/// Takes `::h` and 16 hexadecimal digits off a Rust name.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((before, hash)) if hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            before
        }
        _ => name,
    }
}

fn without_parameters(name: &str) -> &str {
    let whole = name.strip_suffix(" const").unwrap_or(name);
    if !whole.ends_with(')') {
        return name;
    }
    let mut depth = 0_usize;
    for (at, character) in whole.char_indices().rev() {
        match character {
            ')' => depth += 1,
            '(' if depth == 1 => return if at > 0 { &whole[..at] } else { name },
            '(' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    name
}

/// Takes away everything in angle brackets, unless they do not match up, as in `operator<`.
fn without_brackets(name: &str) -> String {
    let (mut kept, mut depth) = (String::with_capacity(name.len()), 0_usize);
    for character in name.chars() {
        match character {
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
    }
    if depth == 0 && !kept.is_empty() { kept } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_plain(name: &str, expected: &str) {
        assert_eq!(plain(name), expected);
    }

    #[test]
    fn versions_and_clones_go() {
        check_plain("__libc_start_main@@GLIBC_2.34", "__libc_start_main");
        check_plain("msort_with_tmp.part.0", "msort_with_tmp");
        check_plain("shapes::throw_at(int, unsigned long) [clone .cold]", "shapes::throw_at");
        check_plain("runtime.futex.abi0", "runtime.futex");
    }

    #[test]
    fn what_demanglers_add_goes() {
        check_plain("void std::__introsort_loop<int*, long>(int*, int*, long)", "std::__introsort_loop");
        check_plain("shapes::Mixer<unsigned long, 700>::mix(unsigned long)", "shapes::Mixer::mix");
        check_plain("core::ptr::drop_in_place::h0123456789abcdef", "core::ptr::drop_in_place");
        check_plain("operator new(unsigned long)", "operator new");
        check_plain("(anonymous namespace)::run(int) const", "(anonymous namespace)::run");
    }

    #[test]
    fn names_of_other_languages_stay() {
        check_plain("runtime.(*mheap).alloc", "runtime.(*mheap).alloc");
        check_plain("JS:*mix /srv/hot.js:5:13", "JS:*mix /srv/hot.js:5:13");
        check_plain("_start", "_start");
    }

    fn stack(names: &[&str], known_incomplete: bool, weight: f64) -> Stack {
        let user = names.iter().map(|name| Frame::Named((*name).to_owned())).collect();
        Stack { user, in_kernel: true, known_incomplete, weight }
    }

    #[test]
    fn a_stack_is_whole_when_it_begins_where_a_thread_does_and_nobody_denies_it() {
        let entries = ["_start"];
        assert!(stack(&["_start", "main"], false, 1.0).reaches(&entries));
        assert!(!stack(&["_start", "main"], true, 1.0).reaches(&entries));
        assert!(!stack(&["main"], false, 1.0).reaches(&entries));
        assert!(!stack(&[], false, 1.0).reaches(&entries));
    }

    #[test]
    fn shares_are_of_the_weight() {
        let stacks = vec![stack(&["_start", "f"], false, 3.0), stack(&["f"], false, 1.0)];
        let sampled = Sampled { stacks, samples: 4, lost: 0 };
        assert_eq!(sampled.share(|stack| stack.reaches(&["_start"])), Some(0.75));
        let shares = sampled.shares(|stack| stack.path(str::to_owned));
        let expected = [("_start;f;[kernel]".to_owned(), 0.75), ("f;[kernel]".to_owned(), 0.25)];
        assert_eq!(shares, expected.into());
        let innermost = sampled.shares(|stack| stack.innermost(str::to_owned));
        assert_eq!(innermost, [("f;[kernel]".to_owned(), 1.0)].into());
        assert_eq!(Sampled::default().share(|_| true), None);
    }

    #[test]
    fn named_frames_are_counted_by_weight() {
        let mut one = stack(&["_start", "f", "g"], false, 1.0);
        one.user.push(Frame::Nameless("libx.so".to_owned()));
        let sampled = Sampled { stacks: vec![one], samples: 1, lost: 0 };
        assert_eq!(sampled.named(|_| true), Some(0.75));
        assert_eq!(sampled.named(|frame| frame.name().is_some()), Some(1.0));
    }
}
