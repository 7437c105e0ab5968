//! Names that people use for what they want to record: of a program, a service, a container.
//!
//! In: a name, `/proc`, the tree of cgroups and what container engines keep in files. Out: one process or one cgroup; where
//! the name fits several, an error that lists them.

mod containers;
mod cgroups;
mod processes;

use std::path::PathBuf;

use profiler_report::report::visible;

pub use cgroups::unit;
pub use containers::container;
pub use processes::{is_running, process};

/// Candidates that an error lists.
const MOST_LISTED: usize = 10;

/// Why a name is none that can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    #[error(
        "no process is called `{0}`\n  try: ps -A -o pid,comm,args, to see what runs, or `profiler record -- {0}` to start it"
    )]
    NoProcess(String),
    #[error(
        "several programs are called `{name}`\n{list}\n  try: -p with one of these ids, or --comm '^{name}$' for all"
    )]
    SeveralProcesses { name: String, list: String },
    #[error("no cgroup belongs to the unit `{0}`\n  try: systemctl status {0}, to see whether it runs")]
    NoUnit(String),
    #[error(
        "no running container is called `{0}`\n  try: its id, or --cgroup with its path, which /proc/PID/cgroup shows"
    )]
    NoContainer(String),
    #[error("`{name}` fits several\n{list}\n  try: --cgroup with one of these")]
    SeveralCgroups { name: String, list: String },
}

/// Columns of a line.
const COLUMNS: usize = 90;

/// Each on a line of its own, whatever is in it: processes and cgroups choose their names.
fn listed(lines: impl ExactSizeIterator<Item = String>) -> String {
    let count = lines.len();
    let mut list: Vec<String> =
        lines.take(MOST_LISTED).map(|line| format!("  {}", visible(&line, COLUMNS))).collect();
    if count > MOST_LISTED {
        list.push(format!("  and {} more", count - MOST_LISTED));
    }
    list.join("\n")
}

/// The only one of these, if there is only one.
fn only(name: &str, mut paths: Vec<PathBuf>, none: fn(String) -> NameError) -> Result<PathBuf, NameError> {
    match paths.len() {
        0 => Err(none(name.to_owned())),
        1 => Ok(paths.remove(0)),
        _ => {
            let list = listed(paths.iter().map(|path| path.display().to_string()));
            Err(NameError::SeveralCgroups { name: name.to_owned(), list })
        }
    }
}
