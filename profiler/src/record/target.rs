//! Which processes are recorded: from the words of the command line to ids.

use std::{collections::BTreeSet, ffi::OsString, fmt, fs, path::PathBuf};

use profiler_common::{config::target as kind, process::ProcessEvent};
use regex::Regex;

use super::cgroup::{Cgroup, CgroupError};
use crate::{host::thread_cpus, process::read_text};

/// What the user names.
#[derive(Clone, Debug)]
pub enum Target {
    /// These processes, by ids of this PID namespace.
    Processes(Vec<u32>),
    /// These threads, and those that they start.
    Threads(Vec<u32>),
    /// Processes whose name matches, now or after an exec.
    Comm(Regex),
    /// Whoever is in this cgroup or below it.
    Cgroup(PathBuf),
    /// The whole machine.
    All,
    /// A command that is started for the recording.
    Command(Vec<OsString>),
    /// No thread, but what the machine's disks do.
    Disks,
}

/// Why a target cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("no such process: {0}\n  try: pgrep -a NAME, to see the ids of running processes")]
    NoSuchProcess(u32),
    #[error("no such process: {0}\n  try: an id, or the name of a program that runs")]
    NoSuchId(String),
    #[error("no such thread: {0}\n  try: ps -T -p PID, to see the ids of a process's threads")]
    NoSuchThread(u32),
    #[error(
        "{thread} is a thread of process {process}\n  try: -p {process}, or -t {thread} for that thread alone"
    )]
    IsThread { thread: u32, process: u32 },
    #[error("no process name matches `{0}`\n  try: ps -A -o pid,comm, to see the names (at most 15 bytes)")]
    NoMatch(String),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes(tgids) => {
                let ids: Vec<_> = tgids.iter().map(u32::to_string).collect();
                write!(f, "pid {}", ids.join(","))
            }
            Self::Threads(tids) => {
                let ids: Vec<_> = tids.iter().map(u32::to_string).collect();
                write!(f, "tid {}", ids.join(","))
            }
            Self::Comm(regex) => write!(f, "comm {regex}"),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::All => write!(f, "all processes"),
            Self::Disks => write!(f, "disks"),
            Self::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                write!(f, "command {}", words.join(" "))
            }
        }
    }
}

/// A target found on this machine.
pub struct Resolved {
    target: Target,
    tgids: Vec<u32>,
    tids: Vec<u32>,
    /// Of single threads: their processes.
    owners: Vec<u32>,
    cgroup: Option<Cgroup>,
}

impl Resolved {
    /// Finds it; with `children`, listed processes bring the descendants that they have now.
    pub fn new(target: &Target, children: bool) -> Result<Self, TargetError> {
        let mut found =
            Self { target: target.clone(), tgids: vec![], tids: vec![], owners: vec![], cgroup: None };
        match target {
            Target::Processes(tgids) => {
                for &tgid in tgids {
                    check_process(tgid)?;
                }
                found.tgids.clone_from(tgids);
            }
            Target::Threads(tids) => {
                for &tid in tids {
                    found.owners.push(process_of(tid).ok_or(TargetError::NoSuchThread(tid))?);
                }
                found.owners.sort_unstable();
                found.owners.dedup();
                found.tids.clone_from(tids);
            }
            Target::Comm(regex) => {
                found.tgids =
                    processes().filter(|&tgid| regex.is_match(&comm(tgid)) && !is_self(tgid)).collect();
                if found.tgids.is_empty() {
                    return Err(TargetError::NoMatch(regex.to_string()));
                }
            }
            Target::Cgroup(path) => {
                let cgroup = Cgroup::open(path)?;
                found.tids = cgroup.members("cgroup.threads");
                found.tgids = cgroup.members("cgroup.procs");
                found.tgids.retain(|&tgid| !is_self(tgid));
                found.tids.retain(|&tid| !is_self(tid));
                found.cgroup = Some(cgroup);
            }
            Target::All | Target::Command(_) | Target::Disks => {}
        }
        if found.is_listed() && (children || found.follows_names()) {
            found.tgids = with_descendants(found.tgids);
        }
        Ok(found)
    }

    /// Code of `Config::target`.
    pub fn kind(&self) -> u32 {
        match self.target {
            Target::All => kind::ALL,
            Target::Cgroup(_) => kind::CGROUP,
            _ => kind::LISTED,
        }
    }

    /// Whether the processes are known by their ids from the start.
    pub fn is_listed(&self) -> bool {
        self.kind() == kind::LISTED
    }

    /// Processes that are recorded from the start.
    pub fn tgids(&self) -> &[u32] {
        &self.tgids
    }

    /// The processes of all threads that are recorded from the start, if those are known.
    pub fn owners(&self) -> &[u32] {
        if self.owners.is_empty() { &self.tgids } else { &self.owners }
    }

    /// Single threads that are recorded from the start: those that were named, or of a cgroup, which may hold some of a
    /// process's threads only.
    pub fn tids(&self) -> &[u32] {
        &self.tids
    }

    /// The cgroup, if it is one.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Whether it is disks alone.
    pub fn is_disks(&self) -> bool {
        matches!(self.target, Target::Disks)
    }

    /// The command to start, if it is one.
    pub fn command(&self) -> Option<&[OsString]> {
        if let Target::Command(words) = &self.target { Some(words) } else { None }
    }

    /// Whether processes become targets when they get a matching name.
    pub fn follows_names(&self) -> bool {
        matches!(self.target, Target::Comm(_))
    }

    /// Processes that have just got a matching name.
    pub fn matching(&self, execs: &[ProcessEvent]) -> Vec<u32> {
        let Target::Comm(regex) = &self.target else { return vec![] };
        let tgids = execs.iter().map(|event| event.ns_tgid);
        tgids.filter(|&tgid| regex.is_match(&comm(tgid)) && !is_self(tgid)).collect()
    }

    /// Whether the recording ends when the processes known at the start, and their descendants, have ended.
    pub fn ends_with_its_processes(&self) -> bool {
        matches!(self.target, Target::Processes(_) | Target::Threads(_))
    }

    /// All processes that belong to it now.
    pub fn processes_now(&self) -> Vec<u32> {
        match &self.cgroup {
            Some(cgroup) => cgroup.members("cgroup.procs"),
            None => processes().filter(|&tgid| !is_self(tgid)).collect(),
        }
    }

    /// Number of threads that belong to it now.
    pub fn threads_now(&self) -> u32 {
        match self.target {
            Target::All => threads_on_machine(),
            Target::Cgroup(_) | Target::Threads(_) => self.tids.len() as u32,
            _ => self.tgids.iter().map(|&tgid| thread_count(tgid)).sum(),
        }
    }
}

/// The processes and all that descend from them now.
fn with_descendants(mut tgids: Vec<u32>) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        processes().filter(|&tgid| !is_self(tgid)).filter_map(|tgid| Some((tgid, parent(tgid)?))).collect();
    let mut next = 0;
    while let Some(&tgid) = tgids.get(next) {
        for &(child, _) in parents.iter().filter(|&&(_, parent)| parent == tgid) {
            if !tgids.contains(&child) {
                tgids.push(child);
            }
        }
        next += 1;
    }
    tgids
}

/// `tid (comm) state ppid …`: the second field behind the name, which may hold anything.
fn parent(tgid: u32) -> Option<u32> {
    let stat = read_text(&format!("/proc/{tgid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn check_process(tgid: u32) -> Result<(), TargetError> {
    match process_of(tgid) {
        Some(process) if process != tgid => Err(TargetError::IsThread { thread: tgid, process }),
        Some(_) => Ok(()),
        None => Err(TargetError::NoSuchProcess(tgid)),
    }
}

/// The process that a thread belongs to.
fn process_of(tid: u32) -> Option<u32> {
    let status = read_text(&format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn thread_count(tgid: u32) -> u32 {
    threads(tgid).count() as u32
}

fn threads(tgid: u32) -> impl Iterator<Item = u32> {
    numbers_in(&format!("/proc/{tgid}/task"))
}

/// CPUs on which threads of these processes may run; none if the kernel does not say.
pub fn allowed_cpus(tgids: &[u32]) -> Option<BTreeSet<u32>> {
    let mut allowed = BTreeSet::new();
    for tid in tgids.iter().flat_map(|&tgid| threads(tgid)) {
        match thread_cpus(tid) {
            Ok(cpus) => allowed.extend(cpus),
            // It has ended, and needs none.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(_) => return None,
        }
    }
    Some(allowed)
}

/// `0.20 0.18 0.12 1/80 11206`: the number behind the slash.
pub fn threads_on_machine() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let count = text.split_whitespace().nth(3).and_then(|field| field.split_once('/')?.1.parse().ok());
    count.unwrap_or(0)
}

fn processes() -> impl Iterator<Item = u32> {
    numbers_in("/proc")
}

/// Entries of a directory of `/proc` that are ids.
fn numbers_in(directory: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn comm(tgid: u32) -> String {
    fs::read(format!("/proc/{tgid}/comm"))
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
        .unwrap_or_default()
}

fn is_self(tgid: u32) -> bool {
    tgid == std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_nobody_has_is_no_such_process() {
        // The kernel's largest pid_max is 4,194,304.
        let error =
            Resolved::new(&Target::Processes(vec![4_194_305]), false).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.starts_with("no such process: 4194305\n")));
    }

    #[test]
    fn this_process_has_threads_and_a_parent() {
        let own = std::process::id();
        assert!(thread_count(own) >= 1);
        assert!(threads_on_machine() >= 1);
        assert!(processes().any(|tgid| tgid == own));
        assert_eq!(parent(own), Some(std::os::unix::process::parent_id()));
    }

    /// The kernel's own words are masks in hexadecimal, of 32 CPUs each.
    #[test]
    fn allowed_cpus_are_those_that_the_kernel_tells() {
        let status = read_text("/proc/self/status").unwrap_or_default();
        let masks = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap_or_default();
        let bits = |mask| u32::from_str_radix(mask, 16).map_or(0, u32::count_ones);
        let told: u32 = masks.trim().split(',').map(bits).sum();
        let allowed = allowed_cpus(&[std::process::id()]);
        assert_eq!(allowed.map(|cpus| cpus.len() as u32), Some(told));
    }
}
