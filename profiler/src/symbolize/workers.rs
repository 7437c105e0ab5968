//! Work shared out over a few threads that give way to everything else, for a while.
//!
//! In: pieces of work, and what makes a worker's tool. Out: the answers, in no order.

use std::{
    convert::Infallible,
    num::NonZero,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use rustix::{
    process::{Pid, Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit},
    thread::gettid,
};

/// Most threads. Each has a library with a cache of its own, and the memory of all together is bounded.
const MOST: usize = 4;
/// The weakest niceness: the targets go on while names are looked for.
const WEAKEST: i32 = 19;
/// The niceness of a worker that cannot come back from it: 110 of 1,134 parts of a CPU beside a thread that never waits.
const WEAK: i32 = 10;
/// For so long the workers give way. Beside a thread that never waits, niceness 19 has 15 of 1,039 parts of a CPU (the kernel's
/// `sched_prio_to_weight`), so that a second of work would take a minute on a machine that is busy all over, and who asks why it
/// is would have no answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Allows the workers to stop giving way, which takes a privilege that is given up later. Without it they give way to the end, but
/// less.
pub fn keep_way_back() {
    let (limit, maximum) = (enough(), getrlimit(Resource::Nice).maximum);
    let maximum = if maximum.is_none() || maximum >= limit { maximum } else { limit };
    let _ = setrlimit(Resource::Nice, Rlimit { current: limit, maximum });
}

/// What the limit has to be for a thread to get the caller's niceness back: 20 minus that, see getrlimit(2).
fn enough() -> Option<u64> {
    u64::try_from(20 - getpriority_process(None).unwrap_or(0)).ok()
}

fn may_come_back() -> bool {
    let limit = getrlimit(Resource::Nice).current;
    limit.is_none() || limit >= enough()
}

/// How many workers this machine is to have.
pub fn worker_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MOST)
}

/// Takes the pieces from the end of the list. Each worker has a tool of its own, which need not be able to change
/// threads.
pub fn share_out<P: Send, A: Send, T>(
    pieces: Vec<P>,
    workers: usize,
    tool: &(impl Fn() -> T + Sync),
    work: impl Fn(&mut T, P) -> A + Sync,
) -> Vec<A> {
    share_out_patiently(pieces, workers, PATIENCE, tool, work)
}

fn share_out_patiently<P: Send, A: Send, T>(
    pieces: Vec<P>,
    workers: usize,
    patience: Duration,
    tool: &(impl Fn() -> T + Sync),
    work: impl Fn(&mut T, P) -> A + Sync,
) -> Vec<A> {
    let workers = workers.min(pieces.len());
    let pieces = Mutex::new(pieces);
    let answers = Mutex::new(Vec::new());
    let giving_way = GivingWay::default();
    // Nothing is ever sent: that the last sender is gone says that all have ended.
    let (at_work, ended) = mpsc::channel::<Infallible>();
    thread::scope(|scope| {
        for _ in 0..workers {
            let at_work = at_work.clone();
            let (pieces, answers, giving_way, work) = (&pieces, &answers, &giving_way, &work);
            scope.spawn(move || {
                let _at_work = at_work;
                let _giving_way = giving_way.enter();
                let mut tool = tool();
                // A statement of its own: as the condition of a loop it would hold the lock during the work.
                let next = || locked(pieces).pop();
                while let Some(piece) = next() {
                    let answer = work(&mut tool, piece);
                    locked(answers).push(answer);
                }
            });
        }
        drop(at_work);
        if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            giving_way.end();
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The threads that yield to whoever wants their CPU.
#[derive(Default)]
struct GivingWay(Mutex<Vec<Pid>>);

/// A thread among them, for as long as this lives.
struct Entered<'a>(&'a GivingWay, Pid);

impl GivingWay {
    /// The calling thread, and no other, gives way. For Linux a thread is a process here. It may be refused, and then nothing
    /// is lost.
    fn enter(&self) -> Entered<'_> {
        let thread = gettid();
        let _ = setpriority_process(Some(thread), if may_come_back() { WEAKEST } else { WEAK });
        locked(&self.0).push(thread);
        Entered(self, thread)
    }

    /// They have done so for long enough: they get the caller's niceness, where that is allowed ([`keep_way_back`]).
    fn end(&self) {
        let Ok(niceness) = getpriority_process(None) else { return };
        // None of them can end, and leave its identifier to a stranger, while this is locked.
        for thread in locked(&self.0).iter() {
            let _ = setpriority_process(Some(*thread), niceness);
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        locked(&self.0.0).retain(|thread| *thread != self.1);
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn niceness() -> i32 {
        getpriority_process(None).expect("a thread has one")
    }

    #[test]
    fn each_piece_is_worked_on_once() {
        let mut answers = share_out((0..1000).collect(), 4, &|| 1, |one, piece: u32| piece + *one);
        answers.sort_unstable();
        assert_eq!(answers, (1..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_tool_stays_with_its_worker() {
        let tool = || (thread::current().id(), std::rc::Rc::new(()));
        let same = share_out(vec![(); 100], 4, &tool, |(id, _), ()| *id == thread::current().id());
        assert!(same.into_iter().all(|same| same));
    }

    #[test]
    fn workers_give_way_and_the_caller_does_not() {
        let before = niceness();
        let expected = if may_come_back() { 19 } else { 10 };
        assert_eq!(share_out(vec![()], 1, &|| (), |(), ()| niceness()), [expected]);
        assert_eq!(niceness(), before);
    }

    /// Whoever may raise its own priority, as root may, does not wait for a busy machine to become idle.
    #[test]
    fn workers_stop_giving_way_when_it_takes_too_long() {
        let before = niceness();
        keep_way_back();
        if !may_come_back() {
            return println!("skipped: the limit of niceness cannot be raised here");
        }
        let ends_with = |(): &mut (), ()| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while niceness() == WEAKEST && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            niceness()
        };
        let after = share_out_patiently(vec![(); 2], 2, Duration::from_millis(50), &|| (), ends_with);
        assert_eq!(after, [before; 2]);
    }
}
