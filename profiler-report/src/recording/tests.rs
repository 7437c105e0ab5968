//! Windows add up, and spans are their sums.

use profiler_common::state;
use proptest::prelude::*;

use super::*;
use crate::testing::{any_recording, example, example_recording, one_window};

const S: u64 = 1_000_000_000;

#[test]
fn optional_probes_take_part_until_they_rest_and_after() {
    let step = |at_ns, detail| DetailStep { at_ns, detail, cost_ratio: 0.0 };
    let of = |steps| Span {
        meta: Meta { started_at_ns: 100, ended_at_ns: 1100, ..Meta::default() },
        budget: Budget { steps, ..Budget::default() },
        ..Span::default()
    };
    assert_eq!(of(vec![]).optional_ns(), 1000);
    let rested = vec![step(200, Detail::HalfRate), step(600, Detail::NoOptionalProbes)];
    assert_eq!(of(rested.clone()).optional_ns(), 600);
    let again = [rested, vec![step(700, Detail::LedgerOnly), step(900, Detail::QuarterRate)]].concat();
    assert_eq!(of(again.clone()).optional_ns(), 700);
    // The part from 500 to 950 of it: 100 before they rested, 50 after.
    let part = Span {
        meta: Meta { started_at_ns: 600, ended_at_ns: 1050, ..Meta::default() },
        part: Some(Part { from_ns: 500, to_ns: 950, of_ns: 1000 }),
        ..of(again)
    };
    assert_eq!(part.optional_ns(), 150);
}

#[test]
fn the_whole_is_what_was_cut_into_windows() {
    let mut expected = example();
    let whole = example_recording().whole();
    // The depth is known by window.
    expected.block_io.devices = whole.block_io.devices.clone();
    assert_eq!(whole, expected);
}

#[test]
fn a_part_has_its_own_windows_alone() {
    let recording = example_recording();
    assert_eq!(recording.windows_between(0, 4 * S), 0..1);
    assert_eq!(recording.windows_between(4 * S, 10 * S), 1..2);
    assert_eq!(recording.windows_between(0, u64::MAX), 0..2);
    assert_eq!(recording.windows_between(20 * S, 30 * S), 2..2);
    let part = recording.span(0..1);
    assert_eq!(part.part, Some(Part { from_ns: 0, to_ns: 4 * S, of_ns: 10 * S }));
    assert_eq!(part.elapsed_ns(), 4 * S);
    let present: Vec<_> =
        part.threads.iter().filter(|thread| thread.is_present).map(|thread| thread.tid).collect();
    assert_eq!(present, [813]);
    assert_eq!(part.threads[1].state_ns[state::FUTEX_WAIT as usize], 4 * S);
    assert!(part.threads.iter().all(|thread| thread.kernel_counters.is_none()));
    assert_eq!(recording.span(0..2), recording.whole());
}

fn window(from_s: u64, to_s: u64, states: &[(u32, u64)]) -> Window {
    let states: Vec<_> =
        states.iter().map(|&(state, s)| TimeInState { state, ns: s * S, count: 1 }).collect();
    let elapsed_ns = states.iter().map(|time| time.ns).sum();
    Window {
        from_ns: from_s * S,
        to_ns: to_s * S,
        ledger: vec![ThreadTimes { thread: 0, elapsed_ns, preemptions: 0, states }],
        ..Window::default()
    }
}

#[test]
fn windows_of_any_length_of_recording_are_few_and_lose_nothing() {
    let mut windows = Windows::default();
    let mut at_s = 0;
    for _ in 0..400 {
        let length_s = windows.period_ns() / S;
        windows.push(window(at_s, at_s + length_s, &[(state::POLL, length_s)]));
        at_s += length_s;
    }
    let windows = windows.finish();
    assert!((MOST_WINDOWS / 2..MOST_WINDOWS).contains(&windows.len()), "{}", windows.len());
    assert!(windows.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
    let sum: u64 = windows.iter().map(|window| window.ledger[0].elapsed_ns).sum();
    assert_eq!((sum, windows.last().map(|last| last.to_ns)), (at_s * S, Some(at_s * S)));
}

#[test]
fn a_short_last_window_is_part_of_its_neighbour() {
    let mut windows = Windows::default();
    windows.push(window(0, 1, &[(state::POLL, 1)]));
    windows.push(Window { to_ns: S + 1, ..window(1, 1, &[]) });
    let windows = windows.finish();
    assert_eq!(windows.iter().map(|window| window.to_ns).collect::<Vec<_>>(), [S + 1]);
}

#[test]
fn time_moves_to_another_state_in_the_windows_that_it_was_in() {
    let mut windows = Windows::default();
    windows.push(window(0, 3, &[(state::ON_CPU, 1), (state::POLL, 2)]));
    windows.push(window(3, 5, &[(state::POLL, 2)]));
    windows.move_time(0, state::POLL, state::NET_RECV, 3 * S);
    let windows = windows.finish();
    let states = |window: &Window| -> Vec<_> {
        window.ledger[0].states.iter().map(|time| (time.state, time.ns / S)).collect()
    };
    let first = [(state::ON_CPU, 1), (state::POLL, 1), (state::NET_RECV, 1)];
    assert_eq!(
        (states(&windows[0]), states(&windows[1])),
        (first.to_vec(), vec![(state::POLL, 0), (state::NET_RECV, 2)])
    );
}

/// All sums of a span that are whole numbers of something.
fn sums(span: &Span) -> Vec<u64> {
    let mut sums = vec![span.samples.iter().map(|row| u64::from(row.count)).sum()];
    sums.extend(span.threads.iter().map(|row| row.elapsed_ns));
    sums.extend(span.threads.iter().flat_map(|row| row.state_ns.iter().copied()));
    sums
}

proptest! {
    /// To the nanosecond, and to the row: however a recording is cut, its windows added up are what was cut.
    #[test]
    fn any_recording_is_the_sum_of_its_windows(mut recording in any_recording()) {
        // Numbers at their limit stay there, and are no sums.
        for window in &mut recording.windows {
            window.samples.iter_mut().for_each(|sample| sample.count %= 1 << 20);
            for times in &mut window.ledger {
                times.elapsed_ns %= 1 << 50;
                times.states.iter_mut().for_each(|time| time.ns %= 1 << 50);
            }
        }
        let whole = recording.whole();
        let mut merged = recording.clone();
        let mut one = Window { from_ns: recording.meta.started_at_ns, ..Window::default() };
        recording.windows.iter().for_each(|window| one.add(window));
        merged.windows = vec![one];
        prop_assert_eq!(sums(&merged.whole()), sums(&whole));
        // A span of windows and the span of the others are the whole, where no number is at its limit.
        let middle = recording.windows.len() / 2;
        let parts = [recording.span(0..middle), recording.span(middle..recording.windows.len())].map(|s| sums(&s));
        for ((first, second), sum) in parts[0].iter().zip(&parts[1]).zip(sums(&whole)) {
            prop_assert_eq!(first.saturating_add(*second), sum);
        }
        let rebuilt = one_window(&whole).whole();
        prop_assert_eq!(sums(&rebuilt), sums(&whole));
    }
}
