//! Checks that the tables of a recording fit together, so that nothing after it has to.

use super::{BlockIoRows, Frame, LockRows, Party, Place, Recording, Window};

/// What is wrong with a recording that did not come from this program as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table} {row} refers to {what} {index}, of which there are {len}")]
pub struct Invalid {
    table: &'static str,
    row: usize,
    what: &'static str,
    index: usize,
    len: usize,
}

impl Recording {
    /// Checks every index. After this, all look-ups between the tables are in range.
    ///
    /// # Errors
    /// The first index that is out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (row, thread) in self.threads.iter().enumerate() {
            check("thread", row, "process", thread.process, self.processes.len())?;
        }
        for (row, frame) in self.frames.iter().enumerate() {
            match *frame {
                Frame::Kernel { .. } => {}
                Frame::User { module, .. } => check("frame", row, "module", module, self.modules.len())?,
                Frame::Unmapped { process, .. } => {
                    check("frame", row, "process", process, self.processes.len())?;
                }
            }
        }
        if !self.names.is_empty() && self.names.len() != self.frames.len() {
            let (index, len) = (self.names.len(), self.frames.len());
            return Err(Invalid { table: "names", row: 0, what: "frame", index, len });
        }
        for (row, stack) in self.stacks.iter().enumerate() {
            for &frame in stack.kernel.iter().chain(&stack.user) {
                check("stack", row, "frame", frame, self.frames.len())?;
            }
        }
        for (row, lock) in self.locks.iter().enumerate() {
            if let Some(process) = lock.process {
                check("lock", row, "process", process, self.processes.len())?;
            }
            if let Place::Module { module, .. } = lock.place {
                check("lock", row, "module", module, self.modules.len())?;
            }
        }
        self.windows.iter().try_for_each(|window| self.validate_window(window))
    }

    fn validate_window(&self, window: &Window) -> Result<(), Invalid> {
        for (row, times) in window.ledger.iter().enumerate() {
            check("ledger", row, "thread", times.thread, self.threads.len())?;
        }
        for (row, sample) in window.samples.iter().enumerate() {
            check("sample", row, "thread", sample.thread, self.threads.len())?;
            check("sample", row, "stack", sample.stack, self.stacks.len())?;
            if let Some(lock) = sample.lock {
                check("sample", row, "lock", lock, self.locks.len())?;
            }
        }
        self.validate_block_io(&window.block_io)?;
        self.validate_locks(&window.locks)
    }

    fn validate_block_io(&self, rows: &BlockIoRows) -> Result<(), Invalid> {
        let disks = self.disks.len();
        for (row, used) in rows.disks.iter().enumerate() {
            check("disk use", row, "disk", used.disk, disks)?;
        }
        for (row, requests) in rows.requests.iter().enumerate() {
            check("requests", row, "disk", requests.device, disks)?;
        }
        for (row, share) in rows.shares.iter().enumerate() {
            check("request share", row, "disk", share.device, disks)?;
        }
        for (row, submitter) in rows.submitters.iter().enumerate() {
            check("submitter", row, "disk", submitter.device, disks)?;
            check("submitter", row, "stack", submitter.stack, self.stacks.len())?;
        }
        for (row, wait) in rows.waits.iter().enumerate() {
            if let Some(device) = wait.device {
                check("disk wait", row, "disk", device, disks)?;
            }
        }
        Ok(())
    }

    fn validate_locks(&self, rows: &LockRows) -> Result<(), Invalid> {
        let (threads, locks) = (self.threads.len(), self.locks.len());
        let party = |table, row, party: &Party| match *party {
            Party::Thread(thread) => check(table, row, "thread", thread, threads),
            _ => Ok(()),
        };
        for (row, waits) in rows.kernel_waits.iter().enumerate() {
            check("kernel lock", row, "lock", waits.lock, locks)?;
        }
        for (row, held) in rows.held.iter().enumerate() {
            check("held lock", row, "thread", held.waiter, threads)?;
            check("held lock", row, "lock", held.lock, locks)?;
            party("held lock", row, &held.owner)?;
        }
        for (row, wake) in rows.wakes.iter().enumerate() {
            check("wake", row, "thread", wake.waiter, threads)?;
            check("wake", row, "stack", wake.stack, self.stacks.len())?;
            if let Some(lock) = wake.lock {
                check("wake", row, "lock", lock, locks)?;
            }
            party("wake", row, &wake.waker)?;
        }
        for (row, release) in rows.releases.iter().enumerate() {
            check("release", row, "lock", release.lock, locks)?;
            check("release", row, "thread", release.holder, threads)?;
            check("release", row, "stack", release.stack, self.stacks.len())?;
        }
        for (row, open) in rows.open.iter().enumerate() {
            check("open wait", row, "thread", open.waiter, threads)?;
            check("open wait", row, "lock", open.lock, locks)?;
            party("open wait", row, &open.owner)?;
        }
        Ok(())
    }
}

fn check(table: &'static str, row: usize, what: &'static str, index: u32, len: usize) -> Result<(), Invalid> {
    let index = index as usize;
    if index < len { Ok(()) } else { Err(Invalid { table, row, what, index, len }) }
}
