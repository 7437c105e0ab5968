//! Checks that the tables of a recording fit together, so that nothing after it has to.

use super::{Frame, Party, Place, Recording};

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
        for (row, sample) in self.samples.iter().enumerate() {
            check("sample", row, "thread", sample.thread, self.threads.len())?;
            check("sample", row, "stack", sample.stack, self.stacks.len())?;
            if let Some(lock) = sample.lock {
                check("sample", row, "lock", lock, self.locks.locks.len())?;
            }
        }
        self.validate_locks()?;
        let devices = self.block_io.devices.len();
        for (row, requests) in self.block_io.requests.iter().enumerate() {
            check("requests", row, "device", requests.device, devices)?;
        }
        for (row, share) in self.block_io.shares.iter().enumerate() {
            check("request share", row, "device", share.device, devices)?;
        }
        for (row, submitter) in self.block_io.submitters.iter().enumerate() {
            check("submitter", row, "device", submitter.device, devices)?;
            check("submitter", row, "stack", submitter.stack, self.stacks.len())?;
        }
        for (row, wait) in self.block_io.waits.iter().enumerate() {
            if let Some(device) = wait.device {
                check("disk wait", row, "device", device, devices)?;
            }
        }
        Ok(())
    }
}

impl Recording {
    fn validate_locks(&self) -> Result<(), Invalid> {
        let tables = &self.locks;
        let (threads, locks) = (self.threads.len(), tables.locks.len());
        let party = |table, row, party: &Party| match *party {
            Party::Thread(thread) => check(table, row, "thread", thread, threads),
            _ => Ok(()),
        };
        for (row, lock) in tables.locks.iter().enumerate() {
            if let Some(process) = lock.process {
                check("lock", row, "process", process, self.processes.len())?;
            }
            if let Place::Module { module, .. } = lock.place {
                check("lock", row, "module", module, self.modules.len())?;
            }
        }
        for (row, waits) in tables.kernel_waits.iter().enumerate() {
            check("kernel lock", row, "lock", waits.lock, locks)?;
        }
        for (row, held) in tables.held.iter().enumerate() {
            check("held lock", row, "thread", held.waiter, threads)?;
            check("held lock", row, "lock", held.lock, locks)?;
            party("held lock", row, &held.owner)?;
        }
        for (row, wake) in tables.wakes.iter().enumerate() {
            check("wake", row, "thread", wake.waiter, threads)?;
            check("wake", row, "stack", wake.stack, self.stacks.len())?;
            if let Some(lock) = wake.lock {
                check("wake", row, "lock", lock, locks)?;
            }
            party("wake", row, &wake.waker)?;
        }
        for (row, release) in tables.releases.iter().enumerate() {
            check("release", row, "lock", release.lock, locks)?;
            check("release", row, "thread", release.holder, threads)?;
            check("release", row, "stack", release.stack, self.stacks.len())?;
        }
        for (row, open) in tables.open.iter().enumerate() {
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
