//! The one thread that keeps `CAP_SYS_ADMIN` while the profiler records: without it the kernel measures nobody's programs,
//! and it measures only as long as somebody asks it to.
//!
//! The thread has no other capability, hears no signal, and its own filter leaves it no other system call of consequence.
//! Whatever happens to the memory that it shares with the other threads, it can switch that statistic on, and no more.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{privileges, signals};

/// Asks the thread, if there is one.
static LINE: OnceLock<Mutex<Line>> = OnceLock::new();

struct Line {
    questions: SyncSender<Question>,
    answers: Receiver<Answer>,
}

enum Question {
    /// The filter of all threads is there: now this, which installs a narrower one.
    Lock(fn() -> Result<()>),
    Measure,
}

enum Answer {
    Locked(Result<()>),
    Measured(Option<OwnedFd>),
}

/// Whether run times can be measured once the capabilities are gone.
pub struct Keeper(());

impl Keeper {
    /// Starts the thread. None if this process lacks the capability, or if there is one already.
    ///
    /// # Errors
    /// The kernel refuses to take the other capabilities back.
    pub fn start() -> Result<Option<Self>> {
        if !privileges::effective().contains(CapabilitySet::SYS_ADMIN) || LINE.get().is_some() {
            return Ok(None);
        }
        let (questions, asked) = sync_channel(1);
        let (answered, answers) = sync_channel(1);
        let thread = thread::Builder::new().name("run-time-stats".to_owned()).stack_size(64 * 1024);
        thread.spawn(move || {
            let alone = give_up_all_but_one().context("cannot give up capabilities");
            let ready = alone.is_ok();
            if answered.send(Answer::Locked(alone)).is_ok() && ready {
                answer(&asked, &answered);
            }
        })?;
        let line = Line { questions, answers };
        line.locked()?;
        Ok(LINE.set(Mutex::new(line)).is_ok().then_some(Self(())))
    }

    /// Restricts the thread further than the others, by what `install` does in it. After them: their filter could not be installed for a thread that has one
    /// of its own.
    ///
    /// # Errors
    /// The kernel takes no filter.
    pub fn lock(self, install: fn() -> Result<()>) -> Result<()> {
        let Some(line) = LINE.get() else { return Ok(()) };
        let line = line.lock().unwrap_or_else(PoisonError::into_inner);
        line.questions.send(Question::Lock(install))?;
        line.locked()
    }
}

impl Line {
    fn locked(&self) -> Result<()> {
        match self.answers.recv()? {
            Answer::Locked(result) => result,
            Answer::Measured(_) => Ok(()),
        }
    }
}

/// Has the run time of programs measured, as long as what is returned lives.
pub fn measure() -> Option<OwnedFd> {
    let Some(line) = LINE.get() else { return enable_run_time() };
    let line = line.lock().ok()?;
    line.questions.send(Question::Measure).ok()?;
    match line.answers.recv().ok()? {
        Answer::Measured(statistics) => statistics,
        Answer::Locked(_) => None,
    }
}

/// Has the kernel measure until what is returned is closed. The calling thread needs `CAP_SYS_ADMIN` for it.
fn enable_run_time() -> Option<OwnedFd> {
    enable_stats(Stats::RunTime).ok()
}

fn give_up_all_but_one() -> io::Result<()> {
    signals::hold_all()?;
    let one = CapabilitySet::SYS_ADMIN;
    let sets = CapabilitySets { effective: one, permitted: one, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Until the process ends.
fn answer(asked: &Receiver<Question>, answered: &SyncSender<Answer>) {
    for question in asked {
        let answer = match question {
            Question::Lock(install) => Answer::Locked(install()),
            Question::Measure => Answer::Measured(enable_run_time()),
        };
        if answered.send(answer).is_err() {
            return;
        }
    }
}
