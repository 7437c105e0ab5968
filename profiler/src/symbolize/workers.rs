//! Work shared out over a few threads that give way to everything else.
//!
//! In: pieces of work, and what makes a worker's tool. Out: the answers, in no order.

use std::sync::{Mutex, PoisonError};
use std::{num::NonZero, thread};

/// Most threads. Each has a library with a cache of its own, and the memory of all together is bounded.
const MOST: usize = 4;
/// The weakest niceness: the targets go on while names are looked for.
const NICENESS: i32 = 19;

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
    let workers = workers.min(pieces.len());
    let pieces = Mutex::new(pieces);
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                give_way();
                let mut tool = tool();
                // A statement of its own: as the condition of a loop it would hold the lock during the work.
                let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).pop();
                while let Some(piece) = next() {
                    let answer = work(&mut tool, piece);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the calling thread, and no other, yield to whoever wants its CPU.
fn give_way() {
    // SAFETY: `setpriority` takes numbers. For Linux a thread is a process here, and 0 the calling one. It may fail, and
    // then nothing is lost.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // SAFETY: `getpriority` takes numbers and returns one.
        let niceness = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = niceness();
        assert_eq!(share_out(vec![()], 1, &|| (), |(), ()| niceness()), [19]);
        assert_eq!(niceness(), before);
    }
}
