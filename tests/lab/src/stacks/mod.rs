//! `cargo xtask bench stacks`: are stacks whole, right and named, beside those of `perf record --call-graph dwarf` of the
//! same run of the same program, and what do they cost?
//!
//! In: the release builds, the programs of [`programs`], perf. Out: the tables of docs/stacks.md.

mod programs;
mod record;
mod perf_script;
mod folded;
mod sampled;
mod symbols;
mod compare;
mod tables;
mod cost;
mod unwind;
mod large;

use anyhow::{Result, bail};

use self::compare::{Comparison, Side, compare};
use self::programs::{PROGRAMS, Program};
use self::record::{Both, Recorded};
use self::sampled::{Sampled, Stack};
use super::{Bench, Section, machine};
use profiler_tests::command;

/// One program's result, or why there is none.
struct Row {
    name: &'static str,
    judged: Result<Judged, String>,
}

/// What is told of a program.
struct Judged {
    on_cpu: Whole,
    off_cpu: Whole,
    /// Of the largest stacks, and of the functions that are innermost in the most samples.
    whole_stacks: Comparison,
    innermost: Comparison,
    /// Shares of named user frames, on and off the CPU: in files with a symbol table, and of all.
    names_where_symbols: [Option<f64>; 2],
    names: [Option<f64>; 2],
    /// Outermost functions of our stacks that reach no entry, with their shares, on and off the CPU.
    ends: [Vec<(String, f64)>; 2],
}

/// How many stacks reach a thread's entry.
struct Whole {
    samples: [u64; 2],
    lost: [u64; 2],
    share: [Option<f64>; 2],
}

/// What compiles and runs the programs, and the option by which each tells its version.
const TOOLS: &[(&str, &str)] = &[
    ("perf", "--version"),
    ("gcc", "-dumpfullversion"),
    ("rustc", "--version"),
    ("go", "version"),
    ("/usr/bin/python3", "--version"),
    ("node", "--version"),
    ("redis-server", "--version"),
];

/// Everything that docs/stacks.md tells.
pub fn stacks(bench: &Bench) -> Result<Vec<Section>> {
    if !command::on_path("perf") {
        bail!("perf is missing, beside which stacks are judged\n  try: cargo xtask setup --bench");
    }
    let machine = format!("{}\n\nWith {}.\n", machine::machine(), machine::tools(TOOLS));
    let is_wanted = |program: &&Program| bench.only.as_ref().is_none_or(|part| program.name.contains(part));
    let rows: Vec<Row> = PROGRAMS.iter().filter(is_wanted).map(|program| row(bench, program)).collect();
    let mut sections = vec![
        ("stacks-machine", machine),
        ("stacks-whole", tables::whole(&rows)),
        ("stacks-shares", tables::shares(&rows)),
        ("stacks-names", tables::names(&rows)),
    ];
    if bench.only.is_none() {
        sections.push(("stacks-cost", cost::cost(bench)?));
        sections.push(("stacks-unwind", unwind::unwind()?));
        sections.push(("stacks-large", large::large(bench)?));
    }
    Ok(sections)
}

/// A program that cannot be judged has a row that says why, and the others go on.
fn row(bench: &Bench, program: &Program) -> Row {
    eprintln!("stacks: {}", program.name);
    let judged = program
        .missing()
        .map_or_else(|| judged(bench, program).map_err(|error| format!("{error:#}").replace('\n', " ")), Err);
    if let Err(reason) = &judged {
        eprintln!("stacks: {} is NOT measured: {reason}", program.name);
    }
    Row { name: program.name, judged }
}

fn judged(bench: &Bench, program: &Program) -> Result<Judged> {
    let recorded = {
        let started = (program.start)(bench)?;
        record::record(bench, &started)?
    };
    let Recorded { on_cpu, off_cpu, symbols } = &recorded;
    let compared = |line: &dyn Fn(&Stack) -> String| {
        let [ours, perf] = [&on_cpu.ours, &on_cpu.perf]
            .map(|sampled| Side { shares: sampled.shares(line), samples: sampled.samples });
        compare(&ours, &perf)
    };
    let canonical = |name: &str| symbols.canonical(name);
    let named = |both: [&Sampled; 2], all: bool| {
        both.map(|one| one.named(|frame| all || symbols.ought_to_name(frame)))
    };
    let both = [&on_cpu.ours, &on_cpu.perf];
    Ok(Judged {
        on_cpu: whole(on_cpu, program),
        off_cpu: whole(off_cpu, program),
        whole_stacks: compared(&|stack| stack.path(canonical)),
        innermost: compared(&|stack| stack.innermost(canonical)),
        names_where_symbols: named(both, false),
        names: named(both, true),
        ends: [on_cpu, off_cpu].map(|both| ends(&both.ours, program)),
    })
}

fn whole(both: &Both, program: &Program) -> Whole {
    let sides = [&both.ours, &both.perf];
    Whole {
        samples: sides.map(|side| side.samples),
        lost: sides.map(|side| side.lost),
        share: sides.map(|side| side.share(|stack| stack.reaches(program.entries))),
    }
}

/// The largest groups of our stacks that end early, by the functions in which they end.
fn ends(ours: &Sampled, program: &Program) -> Vec<(String, f64)> {
    let mut ends = std::collections::BTreeMap::<String, f64>::new();
    for stack in ours.stacks.iter().filter(|stack| !stack.reaches(program.entries)) {
        let outermost = Stack { user: stack.user.iter().take(2).cloned().collect(), ..stack.clone() };
        let mark = if stack.known_incomplete { "… ← " } else { "" };
        *ends.entry(format!("{mark}{}", outermost.path(str::to_owned))).or_default() +=
            stack.weight / ours.weight();
    }
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_by(|a, b| b.1.total_cmp(&a.1));
    ends.truncate(3);
    ends
}
