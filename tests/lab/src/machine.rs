//! What the numbers were measured on and with.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use profiler_tests::command::answer;

/// A line about the machine and how busy it is now. To be asked before anything is measured.
pub fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu_info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel = answer(Command::new("uname").args(["-sr"])).unwrap_or_default();
    let cpus = available_parallelism().map_or(0, usize::from);
    let model = field("model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let is_virtual = field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let kind = if is_virtual { ", a virtual machine" } else { "" };
    format!("{kernel}, {cpus} × {model}{kind}; load average of the minute before: {load}.")
}

/// Tools with their versions, by what each answers to an option.
pub fn tools(tools: &[(&str, &str)]) -> String {
    let versions: Vec<_> = tools.iter().map(|(tool, option)| version(tool, option)).collect();
    versions.join(", ")
}

/// A tool with its version: the first word of its answer that begins with a number.
fn version(tool: &str, option: &str) -> String {
    let said = answer(Command::new(tool).arg(option)).unwrap_or_default();
    let numbers = said
        .split_whitespace()
        .map(|word| word.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '='));
    let number = numbers.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let name = tool.rsplit('/').next().unwrap_or(tool);
    format!("{name} {}", number.unwrap_or("(missing)"))
}

/// Debian packages with their versions: for tools that do not tell theirs, or not in one way.
pub fn packages(names: &[&str]) -> String {
    let version = |name: &&str| {
        let mut ask = Command::new("dpkg-query");
        let version = answer(ask.args(["--show", "--showformat=${Version}", name]));
        let version = version.filter(|version| !version.is_empty());
        format!("{name} {}", version.as_deref().unwrap_or("(missing)"))
    };
    names.iter().map(version).collect::<Vec<_>>().join(", ")
}
