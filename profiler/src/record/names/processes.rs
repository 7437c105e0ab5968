//! The process that a program's name means.

use std::{ffi::OsStr, fs, path::Path};

use super::{NameError, listed};
use crate::process::{read_arguments, read_text};

/// `TASK_COMM_LEN` without its zero (include/linux/sched.h).
const COMM_BYTES: usize = 15;
/// Programs whose first argument says what runs.
const INTERPRETERS: &[&str] =
    &["python", "pypy", "node", "ruby", "perl", "php", "bash", "sh", "dash", "java", "lua", "gunicorn"];

/// What is known of a process.
struct Process {
    tgid: u32,
    parent: u32,
    comm: String,
    arguments: Vec<String>,
}

impl Process {
    fn read(tgid: u32) -> Option<Self> {
        let stat = read_text(&format!("/proc/{tgid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let arguments = read_arguments(tgid);
        Some(Self {
            tgid,
            parent: tail.split(' ').nth(1)?.parse().ok()?,
            comm: head.split_once('(')?.1.to_owned(),
            arguments: arguments.split_terminator('\0').map(str::to_owned).collect(),
        })
    }

    /// Whether people would call it so: by its name in the kernel, by its program, or by the script that its interpreter runs.
    fn is_called(&self, name: &str) -> bool {
        let cut = name.get(..COMM_BYTES).unwrap_or(name);
        let program = self.arguments.first().map_or("", |word| file_name(word));
        let is_interpreter = INTERPRETERS.iter().any(|interpreter| program.starts_with(interpreter));
        let script = self.arguments.iter().skip(1).find(|word| !word.starts_with('-'));
        self.comm == cut
            || program == name
            || is_interpreter && script.is_some_and(|script| file_name(script) == name)
    }
}

fn file_name(word: &str) -> &str {
    Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or(word)
}

/// Whether a process is called so.
pub fn is_running(name: &str) -> bool {
    all().iter().any(|process| process.is_called(name))
}

/// The process of this name that no other of this name has started: that of a server, whose workers are its children.
///
/// # Errors
/// There is none, or there are several.
pub fn process(name: &str) -> Result<u32, NameError> {
    one_of(&all(), name)
}

fn all() -> Vec<Process> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|&tgid| tgid != own).filter_map(Process::read).collect()
}

fn one_of(all: &[Process], name: &str) -> Result<u32, NameError> {
    let named: Vec<&Process> = all.iter().filter(|process| process.is_called(name)).collect();
    let is_root = |process: &&&Process| !named.iter().any(|other| other.tgid == process.parent);
    let roots: Vec<&&Process> = named.iter().filter(is_root).collect();
    match roots.as_slice() {
        [] => Err(NameError::NoProcess(name.to_owned())),
        [root] => Ok(root.tgid),
        _ => {
            let line = |root: &&&Process| {
                let arguments = root.arguments.join(" ");
                format!("{}  {}", root.tgid, if arguments.is_empty() { &root.comm } else { &arguments })
            };
            let list = listed(roots.iter().map(line));
            Err(NameError::SeveralProcesses { name: name.to_owned(), list })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process_of(tgid: u32, parent: u32, comm: &str, arguments: &str) -> Process {
        let arguments = arguments.split('|').map(str::to_owned).collect();
        Process { tgid, parent, comm: comm.to_owned(), arguments }
    }

    fn machine() -> Vec<Process> {
        vec![
            process_of(1, 0, "systemd", "/sbin/init"),
            process_of(10, 1, "nginx", "nginx: master process /usr/sbin/nginx"),
            process_of(11, 10, "nginx", "nginx: worker process"),
            process_of(12, 10, "nginx", "nginx: worker process"),
            process_of(20, 1, "redis-server", "/usr/bin/redis-server|*:6379"),
            process_of(21, 1, "redis-server", "/usr/bin/redis-server|*:6380"),
            process_of(30, 1, "python3", "/usr/bin/python3|-u|/srv/app.py|--port|80"),
            process_of(40, 1, "a-name-of-twent", "/opt/a-name-of-twenty-bytes"),
            process_of(50, 1, "vim", "vim|app.py"),
        ]
    }

    #[track_caller]
    fn check(name: &str, expected: u32) {
        assert_eq!(one_of(&machine(), name).ok(), Some(expected), "{name}");
    }

    #[test]
    fn a_server_is_the_process_that_started_its_workers() {
        check("nginx", 10);
    }

    #[test]
    fn a_script_is_the_process_that_runs_it_and_not_one_that_edits_it() {
        check("app.py", 30);
    }

    #[test]
    fn a_name_that_the_kernel_has_cut_is_found() {
        check("a-name-of-twenty-bytes", 40);
    }

    #[test]
    fn two_servers_of_one_name_are_listed() {
        let error = one_of(&machine(), "redis-server").expect_err("two").to_string();
        assert!(error.contains("20  /usr/bin/redis-server *:6379"), "{error}");
        assert!(error.contains("21  /usr/bin/redis-server *:6380"), "{error}");
    }

    #[test]
    fn what_a_process_calls_itself_stays_on_its_line() {
        let forged = |tgid| process_of(tgid, 1, "x", "x|\n  try: something\u{1b}[2J");
        let error = one_of(&[forged(7), forged(8)], "x").expect_err("two").to_string();
        assert_eq!(error.matches("\n  try: ").count(), 1, "{error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn what_does_not_run_is_no_process() {
        assert!(matches!(one_of(&machine(), "nginx:"), Err(NameError::NoProcess(_))));
    }
}
