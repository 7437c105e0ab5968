//! Commands and options of other tools, and what does here what they do there.

use std::ffi::{OsStr, OsString};

use super::Hint;

/// Commands that other tools have: names, and what to type here. `{}` stands for the words behind it, or for a target.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["top", "live"], "profiler record {-a} -d 5, or `profiler io` for disks alone"),
    (&["dump", "stack", "pstack"], "profiler record {-p PID} -d 1 -o stacks.folded"),
    (&["stat", "stats"], "profiler record {-p PID} -d 10; the report has counts and times of each state"),
    (&["flamegraph", "flame"], "profiler record {-p PID} -d 10 -o flame.svg"),
    (&["offcpu", "offcputime", "off-cpu"], "profiler record {-p PID} -d 10 -o waits.svg --view offcpu"),
    (&["cpu", "oncpu", "profile"], "profiler record {-p PID} -d 10 -o cpu.svg --view cpu"),
    (&["wakeuptime", "offwaketime"], "profiler record {-p PID} -d 10; the report says who ended waits"),
    (
        &["runqlat", "runqlen", "cpudist", "sched"],
        "profiler record {-a} -d 10, and see `How long waits lasted`",
    ),
    (&["klockstat", "lock", "locks", "deadlock"], "profiler record {-p PID} -d 10, and see `Locks`"),
    (&["biolatency", "biosnoop", "biotop", "iostat", "iotop", "ext4slower"], "profiler io -H"),
    (&["diff", "compare"], "profiler report FILE, for each of both"),
    (&["list", "probes", "check"], "profiler doctor"),
    (&["script", "collapse", "annotate"], "profiler report FILE -o stacks.folded"),
    (&["trace", "strace", "attach"], "profiler record {-p PID} -d 10"),
    (&["run", "start", "exec"], "profiler record -- COMMAND"),
];

/// Options of `record` in other tools, and what to type here.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["-e", "--event"], "leave it out: stacks are taken by time; `perf record -e` has events"),
    (&["-c", "--count"], "-F HZ, the stacks a second"),
    (&["-C"], "-p PID: CPUs cannot be chosen, only processes"),
    (&["-D", "--delay"], "`sleep TIME; profiler record …`"),
    (&["-u", "--user", "--uid"], "-p $(pgrep -d, -u USER)"),
    (&["--exe"], "-p NAME"),
    (&["-n"], "-p NAME"),
    (&["--no-idle"], "--view cpu for flamegraphs; the report keeps idle time apart"),
    (&["--gil"], "leave it out: the interpreter lock is among the report's locks"),
    (&["--threads"], "leave it out: the report has a row for each thread"),
    (&["--function", "--nolineno"], "leave it out: flamegraphs are by function"),
    (
        &["-K", "-U", "--kernel-stacks-only", "--user-stacks-only"],
        "leave it out: both parts of each stack are taken",
    ),
    (&["-m", "--min-block-time", "-M", "--max-block-time"], "leave it out: every wait is counted"),
    (&["--no-io"], "--block-io off"),
    (&["--no-locks"], "--locks off"),
    (&["--no-color", "--color", "--colour"], "NO_COLOR=1 profiler …"),
    (&["--sort", "--percent-limit", "--no-children"], "-o FILE.json, and jq"),
    (&["--interval", "-i"], "-F HZ, the stacks a second"),
];

/// What to type instead of a command of another tool.
pub fn command(name: &str, behind: &[OsString]) -> Option<Hint> {
    let (_, instead) = COMMANDS.iter().find(|(names, _)| names.contains(&name))?;
    Some(Hint { wrong: format!("profiler has no command `{name}`"), instead: filled(instead, behind) })
}

/// The words that were typed take the place of the target, where they name one.
fn filled(instead: &str, behind: &[OsString]) -> String {
    let Some((head, rest)) = instead.split_once('{') else { return instead.to_owned() };
    let Some((example, tail)) = rest.split_once('}') else { return instead.to_owned() };
    let target = match behind {
        [first, second, ..] if first == "-p" || first == "--pid" => {
            format!("-p {}", second.to_string_lossy())
        }
        [only] if super::names_target(&only.to_string_lossy()) => format!("-p {}", only.to_string_lossy()),
        _ => example.to_owned(),
    };
    format!("{head}{target}{tail}")
}

/// What to type instead of an option of another tool, if it is one.
pub fn option(option: &str) -> Option<&'static str> {
    let name = OsStr::new(option).to_str()?.split('=').next()?;
    OPTIONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, instead)| *instead)
}
