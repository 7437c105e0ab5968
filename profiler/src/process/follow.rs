//! Keeps layouts up to date: forks, execs, new mappings and ends, each at its moment.
//!
//! Two tellers: the kernel programs tell forks, execs and ends of recorded processes; perf tells every exec and every
//! mapping of the machine, an exec at its very beginning, before its mappings. Both carry the time. What concerns one
//! process is put together when a sample of it is unwound, up to the moment of that sample, or at the end of a tick.

use super::changes::{LayoutChange, What};
use super::{FIRST_PAUSE_NS, Parent, Processes, layout};
use crate::unwind::Mapping;

impl Processes {
    /// Takes in a change of any process, recorded or not.
    pub fn changed(&mut self, LayoutChange { tgid, at_ns, what }: LayoutChange) {
        let lost = match what {
            What::Lost(number) => number,
            what => u64::from(!self.changes.push(tgid, at_ns, what)),
        };
        if lost == 0 {
            return;
        }
        self.images.counts.changes_lost += lost;
        self.losses += 1;
    }

    /// Applies what has happened to recorded processes up to a moment, while they most likely still live and their files
    /// can be opened.
    pub fn settle(&mut self, until_ns: u64) {
        let known = self.changes.tgids().filter(|tgid| self.by_tgid.contains_key(tgid));
        for tgid in known.collect::<Vec<_>>() {
            self.catch_up(tgid, until_ns);
        }
        self.changes.forget_old(until_ns);
    }

    /// The process runs another program since `at_ns`.
    pub fn replaced(&mut self, tgid: u32, at_ns: u64) {
        self.catch_up(tgid, at_ns);
        self.runs_another_program(tgid);
        if let Some(process) = self.by_tgid.get_mut(&tgid).filter(|process| process.is_new_program) {
            process.is_new_program = false;
            return;
        }
        // Nobody told what it maps.
        self.forget(tgid);
        // When it is gone already, its samples end with `ProcessGone`, which the stacks themselves report.
        let _ = self.refresh(tgid, at_ns);
    }

    /// The child starts with its parent's mappings at `at_ns`, so that it need not live until they are read.
    pub fn forked(&mut self, parent: u32, child: u32, at_ns: u64) {
        self.changes.take_until(child, at_ns);
        self.forget(child);
        if self.parents.len() < self.limits.processes {
            self.parents.insert(child, Parent { tgid: parent, same_program: true });
        }
        self.catch_up(parent, at_ns);
        self.inherit(parent, child);
    }

    fn inherit(&mut self, parent: u32, child: u32) {
        let Some(parent) = self.by_tgid.get(&parent) else { return };
        let (space, read_at_ns) = (parent.space, parent.read_at_ns);
        self.spaces.share(space);
        self.place(child, space, read_at_ns, FIRST_PAUSE_NS);
    }

    /// The last recorded thread of the process has ended: another process may have its id later.
    pub fn ended(&mut self, tgid: u32) {
        self.forget(tgid);
        self.parents.remove(&tgid);
    }

    /// Brings the layout of a process to a moment, from whatever is there: what the kernel told, `/proc`, its parent.
    pub(super) fn know(&mut self, tgid: u32, at_ns: u64) {
        self.catch_up(tgid, at_ns);
        let known = self.by_tgid.get(&tgid);
        // A layout from before a loss stays if it cannot be read any more.
        if known.is_some_and(|process| process.losses == self.losses) || self.refresh(tgid, at_ns).is_ok() {
            return;
        }
        let parent = self.parents.get(&tgid).filter(|parent| parent.same_program).map(|parent| parent.tgid);
        if let Some(parent) = parent.filter(|_| !self.by_tgid.contains_key(&tgid)) {
            // If it is gone too, the samples end with `ProcessGone`.
            let _ = self.refresh(parent, at_ns);
            self.inherit(parent, tgid);
        }
    }

    fn runs_another_program(&mut self, tgid: u32) {
        if let Some(parent) = self.parents.get_mut(&tgid) {
            parent.same_program = false;
        }
    }

    /// Applies what was told of a process up to a moment. Of one that is not known, only what an exec begins.
    fn catch_up(&mut self, tgid: u32, until_ns: u64) {
        let mut changes = self.changes.take_until(tgid, until_ns);
        let last_exec = changes.iter().rposition(|what| *what == What::Exec);
        if changes.is_empty() || (last_exec.is_none() && !self.by_tgid.contains_key(&tgid)) {
            return;
        }
        let mut mappings = if last_exec.is_some() {
            self.runs_another_program(tgid);
            Vec::new()
        } else {
            self.mappings(tgid)
        };
        for what in changes.drain(last_exec.map_or(0, |exec| exec + 1)..) {
            let What::Mapped(line) = what else { continue };
            if line.executable && self.has_room(&mappings) {
                layout::insert(&mut mappings, self.mapping(tgid, &line));
            }
        }
        let before = self.by_tgid.get(&tgid);
        let is_new_program = last_exec.is_some() || before.is_some_and(|before| before.is_new_program);
        let (read_at_ns, pause_ns) = before
            .filter(|_| last_exec.is_none())
            .map_or((until_ns, FIRST_PAUSE_NS), |before| (before.read_at_ns, before.pause_ns));
        let space = self.spaces.enter(mappings);
        self.place(tgid, space, read_at_ns, pause_ns);
        if let Some(process) = self.by_tgid.get_mut(&tgid) {
            process.is_new_program = is_new_program;
        }
    }

    fn mappings(&self, tgid: u32) -> Vec<Mapping> {
        self.by_tgid
            .get(&tgid)
            .map(|process| self.spaces.mappings(process.space).to_vec())
            .unwrap_or_default()
    }

    /// Nobody tells what is unmapped, so that a program which maps code for ever comes to the bound. Then its layout is
    /// read anew.
    fn has_room(&mut self, mappings: &[Mapping]) -> bool {
        let has_room = mappings.len() < self.limits.mappings;
        if !has_room {
            self.losses += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests;
