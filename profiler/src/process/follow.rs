//! Keeps layouts up to date: forks, execs, new mappings and ends, each at its moment.
//!
//! Two tellers: the kernel programs tell forks, execs and ends of recorded processes; perf tells every exec and every
//! mapping of the machine. Both carry the time. What concerns one process is put together when a sample of it is unwound,
//! up to the moment of that sample, or at the end of a tick.
//!
//! An exec is reported twice: by perf when the old program's memory goes, and by the kernel programs when the
//! new one's is mapped. In between, a sample has the registers of the old program still, in the call of
//! `execve`, and so the layout of the old one.

use super::changes::{KEPT_NS, LayoutChange, What};
use super::{FIRST_PAUSE_NS, Parent, Processes, layout};
use crate::unwind::Mapping;

impl Processes {
    /// Whether the layout of a process is known.
    pub fn knows(&self, tgid: u32) -> bool {
        self.by_tgid.contains_key(&tgid)
    }

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
        if let Some(parent) = self.parents.get_mut(&tgid) {
            parent.same_program = false;
        }
        let mut changes = self.changes.take_until(tgid, at_ns);
        self.forget(tgid);
        let Some(exec) = changes.iter().rposition(|what| *what == What::Exec) else {
            // Nobody reported what it maps. If it is gone already, its samples end with `ProcessGone`, which
            // the stacks say.
            let _ = self.refresh(tgid, at_ns);
            return;
        };
        let mappings = self.with(tgid, Vec::new(), changes.drain(exec + 1..));
        let space = self.spaces.enter(mappings);
        self.place(tgid, space, at_ns, FIRST_PAUSE_NS);
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

    /// Brings the layout of a process to a moment, from whatever is there: what the kernel reported, `/proc`,
    /// its parent.
    pub(super) fn know(&mut self, tgid: u32, at_ns: u64) {
        self.catch_up(tgid, at_ns);
        let known = self.by_tgid.get(&tgid);
        let (is_known, is_current) = (known.is_some(), known.is_some_and(|it| it.losses == self.losses));
        // A layout from before a loss stays if it cannot be read any more.
        if is_current || self.refresh(tgid, at_ns).is_ok() || is_known {
            return;
        }
        if self.changes.next_exec_ns(tgid).is_some_and(|exec_ns| exec_ns <= at_ns) {
            return self.replaced(tgid, at_ns);
        }
        let parent = self.parents.get(&tgid).filter(|parent| parent.same_program).map(|parent| parent.tgid);
        if let Some(parent) = parent {
            // If it is gone too, the samples end with `ProcessGone`.
            let _ = self.refresh(parent, at_ns);
            self.inherit(parent, tgid);
        }
    }

    /// Applies what was reported of a known process up to a moment.
    fn catch_up(&mut self, tgid: u32, until_ns: u64) {
        let overdue = self.changes.next_exec_ns(tgid).is_some_and(|exec_ns| exec_ns + KEPT_NS < until_ns);
        if overdue {
            // The kernel programs' word on it was lost, which is counted there.
            self.replaced(tgid, until_ns);
        }
        let Some(process) = self.by_tgid.get(&tgid) else { return };
        let (space, read_at_ns, pause_ns) = (process.space, process.read_at_ns, process.pause_ns);
        let changes = self.changes.take_until_exec(tgid, until_ns);
        if changes.is_empty() {
            return;
        }
        let mappings = self.spaces.mappings(space).to_vec();
        let mappings = self.with(tgid, mappings, changes);
        // Nobody reports what is unmapped, so that a program which maps code for ever comes to the bound.
        let is_full = mappings.len() >= self.limits.mappings;
        let space = self.spaces.enter(mappings);
        self.place(tgid, space, read_at_ns, pause_ns);
        if is_full && until_ns.saturating_sub(read_at_ns) >= pause_ns {
            // One that is gone maps nothing more.
            let _ = self.refresh(tgid, until_ns);
        }
    }

    /// A layout with what has been mapped.
    fn with(
        &mut self,
        tgid: u32,
        mut mappings: Vec<Mapping>,
        changes: impl IntoIterator<Item = What>,
    ) -> Vec<Mapping> {
        let mut has_own_code = false;
        for what in changes {
            let What::Mapped(line) = what else { continue };
            if mappings.len() >= self.limits.mappings {
                self.images.counts.mappings_over_limit += 1;
            } else if line.executable {
                let mapping = self.mapping(tgid, &line);
                has_own_code |= mapping.image.is_none();
                layout::insert(&mut mappings, mapping);
            }
        }
        if has_own_code {
            self.perf_maps.keep(tgid);
        }
        mappings
    }
}

#[cfg(test)]
mod tests;
