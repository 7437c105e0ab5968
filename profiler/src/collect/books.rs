//! Books of the ledger: what each thread's account has gained since the last cut.
//!
//! In: accounts, whose sums only grow. Out: a row of [`ThreadTimes`] for each thread and window. The rows of a thread add up
//! to its account, to the nanosecond.

use std::collections::HashMap;

use indexmap::{IndexMap, map::Entry};
use profiler_common::{
    ledger::{HISTORY, ThreadRecord, flags},
    state,
};

use profiler_report::recording::{Sum as _, ThreadId, ThreadTimes, TimeInState, Windows};

/// Up to when an account is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// Its thread lives on, and so does the recording.
    Cut(u64),
    /// Its thread lives, and the recording ends: an interval that is open ends with it.
    Last(u64),
    /// Its thread has ended.
    End,
}

/// What was booked of each thread that lives, by its tid in the initial PID namespace.
#[derive(Default)]
pub struct Books {
    started_at_ns: u64,
    seeded_at_ns: u64,
    by_tid: HashMap<u32, Book>,
    /// Rows of the present window, by thread.
    present: IndexMap<ThreadId, ThreadTimes>,
}

/// What was booked of one thread.
#[derive(Debug)]
struct Book {
    thread: ThreadId,
    upto_ns: u64,
    /// (state, time, intervals), by state: those with any.
    sums: Vec<TimeInState>,
    preemptions: u32,
    gap_ns: u64,
    /// The interval that was open at the last cut: since when, and its state.
    open: (u64, u32),
}

impl Books {
    /// Accounts that were open at `seeded_at_ns` count from the start.
    pub fn new(started_at_ns: u64, seeded_at_ns: u64) -> Self {
        Self { started_at_ns, seeded_at_ns, ..Self::default() }
    }

    /// From when the recording has to account for a thread.
    pub fn counts_from(&self, record: &ThreadRecord) -> u64 {
        let born_inside = record.flags & flags::BORN_INSIDE != 0;
        let from_start = !born_inside && record.opened_ns <= self.seeded_at_ns;
        if from_start { self.started_at_ns } else { record.opened_ns }
    }

    /// Whether the states of an account cover its life as well as they did at the last cut. If not, it was read while it was
    /// written, or two CPUs' clocks disagree.
    pub fn covers_its_life(&self, record: &ThreadRecord) -> bool {
        self.by_tid.get(&record.tid).is_none_or(|book| book.gap_ns == gap_ns(record))
    }

    /// Whether the second reading of an account can be booked: a gap that is the same again is real.
    pub fn settled(&self, first: &ThreadRecord, second: &ThreadRecord) -> bool {
        gap_ns(first) == gap_ns(second) || self.covers_its_life(second)
    }

    /// Books what an account has gained.
    pub fn book(&mut self, thread: ThreadId, record: &ThreadRecord, upto: UpTo, windows: &mut Windows) {
        let upto_ns = match upto {
            // It has changed since the cut began: it is cut there.
            UpTo::Cut(at_ns) => at_ns.max(record.since_ns),
            UpTo::Last(at_ns) => at_ns,
            UpTo::End => record.ended_ns,
        };
        let from_ns = self.counts_from(record);
        let book = self.by_tid.entry(record.tid).or_insert_with(|| Book {
            thread,
            upto_ns: from_ns,
            sums: vec![],
            preemptions: 0,
            gap_ns: 0,
            open: (record.opened_ns, u32::MAX),
        });
        let sums = sums(record, upto, upto_ns);
        let (mut gained, lost) = difference(&book.sums, &sums);
        for lost in lost {
            let to = reason(record, book.open.0).filter(|&to| to != lost.state);
            move_time(&mut gained, lost, to, book.thread, windows);
        }
        let times = ThreadTimes {
            thread: book.thread,
            elapsed_ns: upto_ns.saturating_sub(book.upto_ns),
            preemptions: record.preemptions.saturating_sub(book.preemptions),
            states: gained,
        };
        (book.upto_ns, book.sums, book.preemptions) = (upto_ns.max(book.upto_ns), sums, record.preemptions);
        (book.gap_ns, book.open) = (gap_ns(record), (record.since_ns, record.state));
        if upto == UpTo::End {
            self.by_tid.remove(&record.tid);
        }
        self.book_times(times);
    }

    /// Adds times to a thread's row.
    pub fn book_times(&mut self, times: ThreadTimes) {
        match self.present.entry(times.thread) {
            Entry::Occupied(mut row) => row.get_mut().add(&times),
            Entry::Vacant(row) => {
                row.insert(times);
            }
        }
    }

    /// The rows of the present window. The next one begins.
    pub fn take(&mut self) -> Vec<ThreadTimes> {
        std::mem::take(&mut self.present).into_values().collect()
    }
}

/// Time of an account that its states do not cover.
fn gap_ns(record: &ThreadRecord) -> u64 {
    let closed = record.state_ns.iter().fold(0_u64, |sum, &ns| sum.wrapping_add(ns));
    record.since_ns.wrapping_sub(record.opened_ns).wrapping_sub(closed)
}

/// The sums of an account, with the interval that is open.
fn sums(record: &ThreadRecord, upto: UpTo, upto_ns: u64) -> Vec<TimeInState> {
    let open_ns = if upto == UpTo::End { 0 } else { upto_ns.saturating_sub(record.since_ns) };
    let is_last = matches!(upto, UpTo::Last(_));
    let sum = |state: u32| {
        let (ns, count) = (record.state_ns[state as usize], record.state_count[state as usize]);
        let is_open = state == record.state && upto != UpTo::End;
        TimeInState {
            state,
            ns: if is_open { ns.saturating_add(open_ns) } else { ns },
            count: if is_open && is_last { count.saturating_add(1) } else { count },
        }
    };
    (0..state::ALL.len() as u32).map(sum).filter(|sum| sum.ns > 0 || sum.count > 0).collect()
}

/// What the sums have gained, and what they have lost: the time of a wait whose reason turned out to be another one.
fn difference(before: &[TimeInState], after: &[TimeInState]) -> (Vec<TimeInState>, Vec<TimeInState>) {
    let of = |sums: &[TimeInState], state: u32| {
        let at = sums.binary_search_by_key(&state, |sum| sum.state);
        at.map_or(TimeInState { state, ..TimeInState::default() }, |at| sums[at])
    };
    let gained = after.iter().map(|after| {
        let before = of(before, after.state);
        TimeInState {
            state: after.state,
            ns: after.ns.saturating_sub(before.ns),
            count: after.count.saturating_sub(before.count),
        }
    });
    let lost = before.iter().map(|before| TimeInState {
        ns: before.ns.saturating_sub(of(after, before.state).ns),
        count: 0,
        ..*before
    });
    let gained = gained.filter(|gained| gained.ns > 0 || gained.count > 0).collect();
    (gained, lost.filter(|lost| lost.ns > 0).collect())
}

/// The state of the interval that began at a moment, if the account still knows.
fn reason(record: &ThreadRecord, since_ns: u64) -> Option<u32> {
    if record.since_ns == since_ns {
        return Some(record.state);
    }
    let known = (record.changes as usize).min(HISTORY);
    let packed = record.history[..known].iter().find(|&&packed| packed >> 6 == since_ns << 6 >> 6);
    packed.map(|packed| (packed & 63) as u32)
}

/// Time that was booked under one state in earlier windows is part of what another one has gained now: it moves to that one in
/// the windows that it was in. Which one, the account may no longer know: then it is the one that has gained the most.
fn move_time(
    gained: &mut [TimeInState],
    lost: TimeInState,
    to: Option<u32>,
    thread: ThreadId,
    windows: &mut Windows,
) {
    let named = gained.iter().position(|gained| Some(gained.state) == to && gained.ns >= lost.ns);
    let most = || (0..gained.len()).max_by_key(|&at| gained[at].ns);
    let Some(at) = named.or_else(most) else { return };
    gained[at].ns = gained[at].ns.saturating_sub(lost.ns);
    windows.move_time(thread, lost.state, gained[at].state, lost.ns);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use profiler_report::recording::Window;

    use super::*;
    use crate::collect::tests::account;

    const START: u64 = 900;

    fn books() -> (Books, Windows) {
        (Books::new(START, 1500), Windows::default())
    }

    fn states(times: &ThreadTimes) -> Vec<(u32, u64)> {
        times.states.iter().map(|time| (time.state, time.ns)).collect()
    }

    fn window(books: &mut Books, to_ns: u64) -> Window {
        Window { to_ns, ledger: books.take(), ..Window::default() }
    }

    /// The states of the one thread in each window. A last window that is short goes with its neighbour: here an empty one.
    fn of_windows(mut windows: Windows) -> Vec<Vec<(u32, u64)>> {
        windows.push(Window::default());
        windows.finish().iter().map(|window| states(&window.ledger[0])).collect()
    }

    #[test]
    fn a_wait_is_cut_where_the_window_ends() {
        let (mut books, mut windows) = books();
        let waits = account(10);
        books.book(0, &waits, UpTo::Cut(3000), &mut windows);
        let first = books.take();
        books.book(0, &waits, UpTo::Last(5000), &mut windows);
        let last = books.take();
        assert_eq!((first[0].elapsed_ns, last[0].elapsed_ns), (3000 - START, 2000));
        assert_eq!(
            (states(&first[0]), states(&last[0])),
            (vec![(state::TIMER, 2000)], vec![(state::TIMER, 2000)])
        );
        assert_eq!(last[0].states[0].count, 1);
    }

    #[test]
    fn an_account_that_changed_meanwhile_is_cut_at_its_change() {
        let (mut books, mut windows) = books();
        let mut ran = account(10);
        ran.state_ns[state::TIMER as usize] = 2100;
        (ran.since_ns, ran.state) = (3100, state::ON_CPU);
        books.book(0, &ran, UpTo::Cut(3000), &mut windows);
        let first = books.take();
        assert_eq!((first[0].elapsed_ns, states(&first[0])), (3100 - START, vec![(state::TIMER, 2100)]));
        books.book(0, &ran, UpTo::Last(5000), &mut windows);
        assert_eq!(books.take()[0].elapsed_ns, 1900);
    }

    #[test]
    fn a_reason_that_turns_out_to_be_another_one_is_so_in_earlier_windows() {
        let (mut books, mut windows) = books();
        let mut waits = ThreadRecord { state: state::POLL, ..account(10) };
        books.book(0, &waits, UpTo::Cut(3000), &mut windows);
        windows.push(window(&mut books, 3000));
        waits.state = state::NET_RECV;
        books.book(0, &waits, UpTo::Cut(4000), &mut windows);
        windows.push(window(&mut books, 4000));
        assert_eq!(of_windows(windows), [[(state::NET_RECV, 2000)], [(state::NET_RECV, 1000)]]);
    }

    #[test]
    fn the_history_names_the_reason_of_a_wait_that_has_ended() {
        let (mut books, mut windows) = books();
        let waits = ThreadRecord { state: state::POLL, ..account(10) };
        books.book(0, &waits, UpTo::Cut(3000), &mut windows);
        windows.push(window(&mut books, 3000));
        // It was for the network after all, ended at 3100, and the thread has been on the CPU for much longer since.
        let mut ran = ThreadRecord { since_ns: 3100, state: state::ON_CPU, changes: 1, ..account(10) };
        ran.state_ns[state::NET_RECV as usize] = 2100;
        ran.history[0] = 1000 << 6 | u64::from(state::NET_RECV);
        books.book(0, &ran, UpTo::Cut(9000), &mut windows);
        windows.push(window(&mut books, 9000));
        assert_eq!(
            of_windows(windows),
            [vec![(state::NET_RECV, 2000)], vec![(state::ON_CPU, 5900), (state::NET_RECV, 100)]]
        );
    }

    #[test]
    fn an_account_that_is_read_while_it_is_written_is_read_again() {
        let (mut books, mut windows) = books();
        books.book(0, &account(10), UpTo::Cut(3000), &mut windows);
        let mut torn = account(10);
        torn.state_ns[state::TIMER as usize] = 2500;
        assert!(!books.covers_its_life(&torn));
        let whole = ThreadRecord { since_ns: 3500, ..torn };
        assert!(books.settled(&torn, &whole));
        assert!(!books.settled(&torn, &ThreadRecord { opened_ns: 7, ..torn }));
        // Twice the same lack is one that the kernel programs have made.
        assert!(books.settled(&torn, &torn));
    }

    /// A thread's life: intervals with their states, and after each whether the books are cut somewhere in the next one.
    fn any_life() -> impl Strategy<Value = Vec<(u32, u64, bool)>> {
        proptest::collection::vec((0..state::ALL.len() as u32, 1_u64..1000, any::<bool>()), 1..60)
    }

    proptest! {
        /// However often the books are cut, and with whatever account at hand: the windows add up to the account.
        #[test]
        fn windows_add_up_to_the_account(life in any_life(), ends in any::<bool>()) {
            let (mut books, mut windows) = books();
            let mut record = account(10);
            record.state = life[0].0;
            let mut now = record.opened_ns;
            for pair in life.windows(2) {
                let [(state, ns, is_cut), (next, ..)] = *pair else { unreachable!("windows of two") };
                if is_cut {
                    // Somewhere in the interval; its reason may be another one at its end.
                    record.state = (state + 1) % state::ALL.len() as u32;
                    books.book(0, &record, UpTo::Cut(now + ns / 2), &mut windows);
                    windows.push(window(&mut books, now + ns / 2));
                }
                record.state_ns[state as usize] += ns;
                record.state_count[state as usize] += 1;
                record.history[record.changes as usize % HISTORY] = record.since_ns << 6 | u64::from(state);
                record.changes += 1;
                now += ns;
                (record.since_ns, record.state) = (now, next);
            }
            record.ended_ns = now;
            let upto = if ends { UpTo::End } else { UpTo::Last(now + 5) };
            books.book(0, &record, upto, &mut windows);
            windows.push(window(&mut books, now + 5));
            let mut sums = [0_u64; state::SLOTS];
            let mut elapsed_ns = 0;
            for times in windows.finish().iter().flat_map(|window| &window.ledger) {
                elapsed_ns += times.elapsed_ns;
                let of_window: u64 = times.states.iter().map(|time| time.ns).sum();
                times.states.iter().for_each(|time| sums[time.state as usize] += time.ns);
                // The time before the account was opened is in no state.
                prop_assert!(times.elapsed_ns == of_window || times.elapsed_ns == of_window + 100);
            }
            let open_ns = if ends { 0 } else { 5 };
            record.state_ns[record.state as usize] += open_ns;
            prop_assert_eq!(sums, record.state_ns);
            prop_assert_eq!(elapsed_ns, now + open_ns - START);
        }
    }
}
