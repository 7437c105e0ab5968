//! Who may import whom: the tables of ARCHITECTURE.md, as a test.
//!
//! Two rules. A module of a crate imports those that stand in its row, all of which stand above it; and nowhere do siblings
//! import each other in a circle. Read from the source: every path that begins with `crate`, `super` or `self`, outside
//! of comments and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A path as the words between its colons, from the crate's root.
type Words = Vec<String>;
/// By module: what it imports.
type Imports = BTreeMap<Words, BTreeSet<Words>>;

const PROFILER: &[(&str, &[&str])] = &[
    ("host", &[]),
    ("kernel", &[]),
    ("notice", &["kernel"]),
    ("decode", &[]),
    ("read_at", &[]),
    ("runtimes", &["read_at"]),
    ("unwind", &["read_at", "runtimes"]),
    ("process", &["unwind"]),
    ("collect", &["decode", "unwind"]),
    ("instruments", &["collect", "host", "kernel", "process"]),
    ("symbolize", &["process", "unwind"]),
    ("confine", &["kernel"]),
    ("output", &["confine"]),
    ("messages", &[]),
    (
        "record",
        &[
            "collect",
            "confine",
            "host",
            "instruments",
            "kernel",
            "messages",
            "notice",
            "process",
            "symbolize",
            "unwind",
        ],
    ),
    ("doctor", &["host", "instruments", "kernel", "record", "symbolize"]),
    (
        "cli",
        &[
            "confine",
            "doctor",
            "instruments",
            "kernel",
            "messages",
            "notice",
            "output",
            "process",
            "record",
            "symbolize",
        ],
    ),
];

const REPORT: &[(&str, &[&str])] = &[
    ("recording", &[]),
    ("capture", &["recording"]),
    ("analyze", &["recording"]),
    ("report", &["analyze", "recording"]),
];

/// Crates that only some places may use.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aya", &["kernel"]),
    ("aya_log", &["kernel"]),
    ("perf_event", &["instruments/on_cpu/events.rs", "instruments/mappings.rs"]),
    ("framehop", &["unwind"]),
    ("blazesym", &["symbolize/blazesym.rs"]),
    ("ureq", &["symbolize/debuginfod.rs"]),
    ("tokio", &["record"]),
    ("clap", &["cli"]),
];

fn source(of_crate: &str) -> String {
    format!("{}/../{of_crate}/src", env!("CARGO_MANIFEST_DIR"))
}

/// Each source file with its text: without comments, and without the module of tests at its end.
fn files(directory: &Path, out: &mut Vec<(std::path::PathBuf, String)>) {
    for entry in fs::read_dir(directory).expect("the source").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, out);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&entry).expect("the source");
            out.push((entry, code(&text)));
        }
    }
}

fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The module that a file is: `kernel/mod.rs` is `kernel`, `record/close.rs` is `record::close`.
fn module(file: &Path, root: &Path) -> Words {
    let path = file.strip_prefix(root).expect("below the root").with_extension("");
    let words = path.iter().map(|word| word.to_string_lossy().into_owned());
    words.filter(|word| !matches!(word.as_str(), "mod" | "lib" | "main")).collect()
}

/// All paths in this text that begin with one of ours, with the braces of `use` spelled out.
fn paths(text: &str, module: &Words) -> BTreeSet<Words> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            // In the middle of a path, or `$crate`.
            if before.is_alphanumeric() || matches!(before, ':' | '_' | '$') {
                continue;
            }
            spell_out(&text[at..], vec![], &mut |path| found.extend(resolve(&path, module)));
        }
    }
    found
}

/// Gives each path that begins here to `take`; returns how much of the text they took.
fn spell_out(text: &str, mut so_far: Words, take: &mut dyn FnMut(Words)) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        at += word.len();
        if !word.is_empty() {
            so_far.push(word);
        }
        if text[at..].starts_with("::") {
            at += 2;
            if text[at..].starts_with('{') {
                at += 1;
                loop {
                    at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
                    if text[at..].starts_with('}') || at >= text.len() {
                        return at + 1;
                    }
                    let took = spell_out(&text[at..], so_far.clone(), take);
                    // `as _`, `*`: nothing that names another module.
                    let end = text[at + took..].find([',', '}']).unwrap_or(text.len() - at - took);
                    at += took + end;
                }
            }
            continue;
        }
        take(so_far);
        return at;
    }
}

/// From the crate's root. None if it leads out of the crate.
fn resolve(path: &Words, module: &Words) -> Option<Words> {
    let mut base = match path.first()?.as_str() {
        "crate" => vec![],
        _ => module.clone(),
    };
    for word in path {
        match word.as_str() {
            "crate" | "self" => {}
            "super" => {
                base.pop()?;
            }
            other => base.push(other.to_owned()),
        }
    }
    Some(base)
}

/// Files of modules that are compiled only for tests.
fn is_for_tests(module: &Words, all: &[(std::path::PathBuf, String)], root: &Path) -> bool {
    all.iter().any(|(file, text)| {
        let declares = |name: &str| {
            text.contains(&format!("#[cfg(test)]\nmod {name};"))
                || text.contains(&format!("#[cfg(test)]\npub mod {name};"))
        };
        let parent = self::module(file, root);
        module.starts_with(&parent) && module.get(parent.len()).is_some_and(|name| declares(name))
    })
}

/// What each module of a crate imports, as far as it is a module.
fn imports(of_crate: &str) -> Imports {
    let root = source(of_crate);
    let root = Path::new(&root);
    let mut read = vec![];
    files(root, &mut read);
    let is_part = |(file, _): &&(std::path::PathBuf, String)| !is_for_tests(&module(file, root), &read, root);
    let all: Vec<_> = read.iter().filter(is_part).cloned().collect();
    let modules: BTreeSet<Words> = all.iter().map(|(file, _)| module(file, root)).collect();
    let to_module = |mut path: Words| {
        while !path.is_empty() && !modules.contains(&path) {
            path.pop();
        }
        path
    };
    let of_file = |(file, text): &(std::path::PathBuf, String)| {
        let module = module(file, root);
        let imported = paths(text, &module).into_iter().map(to_module).collect();
        (module, imported)
    };
    all.iter().map(of_file).collect()
}

#[track_caller]
fn check_table(of_crate: &str, table: &[(&str, &[&str])]) {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, imported) in imports(of_crate) {
        let Some(top) = module.first() else { continue };
        let others = imported.into_iter().filter_map(|path| path.into_iter().next());
        found.entry(top.clone()).or_default().extend(others.filter(|other| other != top));
    }
    let mut above = BTreeSet::new();
    for &(module, allowed) in table {
        let allowed: BTreeSet<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        assert!(allowed.is_subset(&above), "{module} may import what stands below it: {allowed:?}");
        above.insert(module.to_owned());
        // Not a subset: a row that allows what nobody does has gone out of date.
        assert_eq!(found.remove(module), Some(allowed), "what `{module}` imports is not what its row says");
    }
    assert!(found.is_empty(), "modules without a row: {:?}", found.keys());
}

/// Circles among the children of each module, as lists of their names.
fn circles(imports: &Imports) -> Vec<String> {
    let mut siblings: BTreeMap<Words, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, imported) in imports {
        for other in imported {
            let common = module.iter().zip(other).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(common), other.get(common)) {
                let parent = siblings.entry(module[..common].to_vec()).or_default();
                parent.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut found = vec![];
    for (parent, mut edges) in siblings {
        // Takes away whoever imports nobody that is left; what remains is in a circle or leads into one.
        loop {
            let left: BTreeSet<String> = edges.keys().cloned().collect();
            for to in edges.values_mut() {
                to.retain(|name| left.contains(name));
            }
            let before = edges.len();
            edges.retain(|_, to| !to.is_empty());
            if edges.len() == before {
                break;
            }
        }
        if !edges.is_empty() {
            found.push(format!("in `{}`: {edges:?}", parent.join("::")));
        }
    }
    found
}

#[test]
fn modules_of_the_profiler_import_what_their_rows_say() {
    check_table("profiler", PROFILER);
}

#[test]
fn modules_of_the_report_library_import_what_their_rows_say() {
    check_table("profiler-report", REPORT);
}

#[test]
fn siblings_never_import_each_other_in_a_circle() {
    let of_crate = |name| circles(&imports(name)).into_iter().map(move |circle| format!("{name}: {circle}"));
    let found: Vec<String> =
        ["profiler", "profiler-report", "profiler-common"].into_iter().flat_map(of_crate).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn crates_are_used_only_where_they_belong() {
    let root = source("profiler");
    let root = Path::new(&root);
    let mut all = vec![];
    files(root, &mut all);
    for (name, places) in ONLY_IN {
        let uses = |text: &str| {
            text.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = text[..at].trim_end_matches("::").chars().next_back().unwrap_or(' ');
                !(before.is_alphanumeric() || before == '_')
            })
        };
        let mut used = false;
        for (file, text) in &all {
            let file = file.strip_prefix(root).expect("below the root");
            if uses(text) {
                used = true;
                assert!(places.iter().any(|place| file.starts_with(place)), "{} uses {name}", file.display());
            }
        }
        assert!(used, "nobody uses {name}: its row is out of date");
    }
}

#[test]
fn paths_are_found_in_any_spelling() {
    let text = "use crate::{a::b, c::{self, d as _}};\nuse super::e;\nfn f() { self::g::h(); $crate::not() }";
    let module = ["m", "n"].map(str::to_owned).to_vec();
    let found: BTreeSet<String> = paths(&code(text), &module).iter().map(|path| path.join("::")).collect();
    let expected = ["a::b", "c", "c::d", "m::e", "m::n::g::h"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_circle_is_found() {
    let words = |path: &str| path.split("::").map(str::to_owned).collect::<Words>();
    let edge = |from: &str, to: &str| (words(from), BTreeSet::from([words(to)]));
    let open = Imports::from([edge("a::x", "b"), edge("b", "c"), edge("a::y", "a::x")]);
    assert_eq!(circles(&open), Vec::<String>::new());
    let closed = Imports::from([edge("a::x", "b"), edge("b", "a::z")]);
    assert_eq!(circles(&closed).len(), 1);
}
