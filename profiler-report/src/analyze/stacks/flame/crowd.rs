//! Who a path belongs to: the frames of the process and of the thread, and when many of them share one.
//!
//! Some hundred threads side by side are too narrow to read. So where a process has more than [`CROWD`] threads, those
//! of like names stand as one frame, `name ×COUNT`, and so do processes where a recording has more than that many.
//! Names are alike if they differ only in digits: `worker-1` and `worker-22` are `worker-# ×2`.

use std::collections::HashMap;

use crate::recording::Span;

/// Most frames side by side before like ones are merged: at 1,200 pixels, some 19 pixels each.
const CROWD: usize = 64;

/// The two frames at the root of a thread's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub process: String,
    pub thread: String,
}

/// The owner frames of each thread, parallel to the recording's threads.
pub fn owners(recording: &Span) -> Vec<Owner> {
    let processes: Vec<Member> =
        recording.processes.iter().map(|process| Member { comm: &process.comm, id: process.tgid }).collect();
    let processes = labels(&processes, |member| format!("{} ({})", member.comm, member.id));

    let mut by_process = HashMap::<&str, Vec<usize>>::new();
    for (row, thread) in recording.threads.iter().enumerate() {
        by_process.entry(&processes[thread.process as usize]).or_default().push(row);
    }
    let mut owners = vec![Owner { process: String::new(), thread: String::new() }; recording.threads.len()];
    for (process, rows) in by_process {
        let thread = |&row: &usize| &recording.threads[row];
        let members: Vec<Member> =
            rows.iter().map(thread).map(|thread| Member { comm: &thread.comm, id: thread.tid }).collect();
        let threads = labels(&members, |member| format!("{}/{}", member.comm, member.id));
        for (row, thread) in rows.into_iter().zip(threads) {
            owners[row] = Owner { process: process.to_owned(), thread };
        }
    }
    owners
}

struct Member<'a> {
    comm: &'a str,
    id: u32,
}

/// The label of each member: `single` of it, or in a crowd what it has in common with others.
fn labels(members: &[Member], single: impl Fn(&Member) -> String) -> Vec<String> {
    if members.len() <= CROWD {
        return members.iter().map(single).collect();
    }
    let patterns: Vec<String> = members.iter().map(|member| pattern(member.comm)).collect();
    let mut alike = HashMap::<&str, Alike>::new();
    for (member, pattern) in members.iter().zip(&patterns) {
        let alike = alike.entry(pattern).or_insert(Alike { comm: member.comm, count: 0, same: true });
        alike.count += 1;
        alike.same &= alike.comm == member.comm;
    }
    let label = |(member, pattern): (&Member, &String)| match alike[pattern.as_str()] {
        Alike { count: 1, .. } => single(member),
        Alike { comm, count, same: true } => format!("{comm} ×{count}"),
        Alike { count, same: false, .. } => format!("{pattern} ×{count}"),
    };
    members.iter().zip(&patterns).map(label).collect()
}

/// Members whose names have the same pattern.
struct Alike<'a> {
    /// Name of the first one.
    comm: &'a str,
    count: usize,
    /// Whether all have that name.
    same: bool,
}

/// The name with each run of digits replaced by `#`.
fn pattern(comm: &str) -> String {
    let mut pattern = String::with_capacity(comm.len());
    for character in comm.chars() {
        match character {
            '0'..='9' if pattern.ends_with('#') => {}
            '0'..='9' => pattern.push('#'),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Process, Thread, ThreadSum};

    /// One process with threads of these names, whose tids count from 1.
    fn with_threads(comms: &[String]) -> Span {
        let thread = |(comm, tid): (&String, u32)| ThreadSum {
            thread: Thread { comm: comm.clone(), tid, ..Thread::default() },
            ..ThreadSum::default()
        };
        Span {
            processes: vec![Process { tgid: 1, comm: "server".to_owned(), ..Process::default() }],
            threads: comms.iter().zip(1..).map(thread).collect(),
            ..Span::default()
        }
    }

    #[track_caller]
    fn check(comms: &[String], row: usize, expected: &str) {
        assert_eq!(owners(&with_threads(comms))[row].thread, expected);
    }

    #[test]
    fn a_few_threads_have_a_frame_each() {
        check(&vec!["worker".to_owned(); 64], 63, "worker/64");
    }

    #[test]
    fn a_crowd_of_one_name_is_one_frame() {
        check(&vec!["worker".to_owned(); 65], 0, "worker ×65");
    }

    #[test]
    fn a_crowd_of_numbered_names_is_one_frame() {
        let comms: Vec<String> = (0..100).map(|number| format!("worker-{number}")).collect();
        check(&comms, 42, "worker-# ×100");
    }

    #[test]
    fn a_name_of_its_own_stays_apart_from_the_crowd() {
        let mut comms = vec!["worker".to_owned(); 100];
        comms.push("main".to_owned());
        check(&comms, 100, "main/101");
    }

    #[test]
    fn a_process_is_told_by_its_id() {
        assert_eq!(owners(&with_threads(&["main".to_owned()]))[0].process, "server (1)");
    }

    #[test]
    fn a_crowd_of_processes_is_one_frame_and_so_are_its_threads() {
        let mut recording = with_threads(&vec!["true".to_owned(); 1000]);
        recording.processes =
            (0..1000).map(|tgid| Process { tgid, comm: "true".to_owned(), ..Process::default() }).collect();
        for (thread, process) in recording.threads.iter_mut().zip(0..) {
            thread.process = process;
        }
        let expected = Owner { process: "true ×1000".to_owned(), thread: "true ×1000".to_owned() };
        assert!(owners(&recording).iter().all(|owner| *owner == expected));
    }
}
