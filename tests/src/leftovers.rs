//! What a profiler that has ended may have left in the kernel: programs, maps and links that no process holds.
//!
//! In: a running profiler, from which the names of its objects are taken, and later moments. Out: what is there by then of those
//! names, was not there before, and belongs to no process. Other profilers may run meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::running::run;

const SOON: Duration = Duration::from_secs(20);

/// Kinds of objects, as `bpftool` calls them and as `/proc/PID/fdinfo` does.
const KINDS: [(&str, &str); 3] = [("prog", "prog_id:"), ("map", "map_id:"), ("link", "link_id:")];

/// Kind and id.
type Object = (&'static str, u64);

/// The kernel's objects at the moment at which the profiler ran.
#[derive(Debug)]
pub struct Before {
    objects: BTreeSet<Object>,
    names: BTreeSet<String>,
}

impl Before {
    /// Takes the names from a profiler that has everything attached. It counts as one that was there before.
    #[track_caller]
    pub fn with(profiler: u32) -> Self {
        let own = held_by(profiler);
        let names = all().into_iter().filter(|(object, _)| own.contains(object)).filter_map(|(_, name)| name);
        let names: BTreeSet<String> = names.collect();
        assert!(
            names.iter().any(|name| name.starts_with("sched_switch")) && names.contains("THREADS"),
            "names of a profiler: {names:?}"
        );
        Self { objects: all().into_iter().map(|(object, _)| object).collect(), names }
    }

    /// What nobody holds by now.
    pub fn left(&self) -> BTreeSet<Object> {
        let new = all().into_iter().filter(|(object, _)| !self.objects.contains(object));
        let ours = new.filter(|(_, name)| name.as_ref().is_some_and(|name| self.names.contains(name)));
        let ours: BTreeSet<Object> = ours.map(|(object, _)| object).collect();
        // After the list: what is made meanwhile is not in it.
        &ours - &held_by_anybody()
    }
}

/// Every object with its name. A link has that of its program.
#[track_caller]
fn all() -> Vec<(Object, Option<String>)> {
    let lists = KINDS.map(|(kind, _)| (kind, list(kind)));
    let named = |id: &Value| {
        let programs = lists[0].1.as_array().expect("a list");
        programs.iter().find(|program| program["id"] == *id).and_then(|program| program["name"].as_str())
    };
    let object = |kind: &'static str, object: &Value| {
        let name = object["name"].as_str().or_else(|| named(&object["prog_id"]));
        ((kind, object["id"].as_u64().expect("an id")), name.map(str::to_owned))
    };
    let each = |(kind, list): &(&'static str, Value)| {
        list.as_array().expect("a list").iter().map(|value| object(kind, value)).collect::<Vec<_>>()
    };
    lists.iter().flat_map(each).collect()
}

#[track_caller]
fn list(kind: &str) -> Value {
    let mut command = Command::new("bpftool");
    command.args(["-j", kind, "show"]);
    let finished = run(command, SOON).expect("bpftool is installed (`cargo xtask setup --tests`)");
    // None of a kind is told by nothing at all.
    if finished.stdout.trim().is_empty() {
        return Value::Array(Vec::new());
    }
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

fn held_by_anybody() -> BTreeSet<Object> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.flat_map(held_by).collect()
}

fn held_by(pid: u32) -> BTreeSet<Object> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return BTreeSet::new() };
    let texts = descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let objects = |text: String| {
        let number = |key| text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok();
        KINDS.into_iter().filter_map(move |(kind, key)| Some((kind, number(key)?))).collect::<Vec<_>>()
    };
    texts.flat_map(objects).collect()
}
