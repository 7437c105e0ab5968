//! Keeps what the recording costs under its budget. Pure: the measures come from outside, and so do the consequences.
//!
//! In: the cost of the last second. Out: how much detail is recorded from now on, and each change with its reason. Estimates
//! stay unbiased whatever the detail is: on-CPU samples are thinned out at random and weighted by the inverse, and a pass
//! over waiting threads counts for the ticks from one to the next.

use profiler_report::recording::{Detail, DetailStep};

/// Seconds over the budget, one after the other, before less is recorded: a single one may be a burst.
const PATIENCE_SECONDS: u32 = 2;
/// Before everything is given up, which cannot be taken back.
const LAST_PATIENCE_SECONDS: u32 = 5;
/// Cost below this part of the budget lets more be recorded again: each step about doubles what the part that it changes costs.
const ROOM: f64 = 0.5;
/// Seconds with room before more is recorded again. Doubled each time that this was a mistake.
const FIRST_TRIAL_SECONDS: u32 = 5;
const LONGEST_TRIAL_SECONDS: u32 = 320;

/// Chooses the detail.
#[derive(Debug)]
pub struct Governor {
    /// Share of the machine's CPU time.
    budget_ratio: f64,
    detail: Detail,
    seconds_over: u32,
    seconds_with_room: u32,
    trial_seconds: u32,
    /// Seconds since more was recorded again; none if that has proved itself.
    on_trial: Option<u32>,
    steps: Vec<DetailStep>,
    /// There is nothing between full detail and the end.
    all_or_nothing: bool,
}

impl Governor {
    /// In full detail.
    pub fn new(budget_ratio: f64) -> Self {
        Self {
            budget_ratio,
            detail: Detail::Full,
            seconds_over: 0,
            seconds_with_room: 0,
            trial_seconds: FIRST_TRIAL_SECONDS,
            on_trial: None,
            steps: vec![],
            all_or_nothing: false,
        }
    }

    /// Where there is no detail to give up: what costs too much for some seconds in a row ends.
    pub fn all_or_nothing(budget_ratio: f64) -> Self {
        Self { all_or_nothing: true, ..Self::new(budget_ratio) }
    }

    /// Takes in what the last second cost, as a share of the machine's CPU time; `at_ns` counts from the start of the recording.
    /// Returns the detail if it changes.
    pub fn observe(&mut self, cost_ratio: f64, at_ns: u64) -> Option<Detail> {
        let is_over = cost_ratio > self.budget_ratio;
        let has_room = cost_ratio < self.budget_ratio * ROOM;
        self.seconds_over = if is_over { self.seconds_over + 1 } else { 0 };
        self.seconds_with_room = if has_room { self.seconds_with_room + 1 } else { 0 };
        if let Some(seconds) = &mut self.on_trial {
            *seconds += 1;
            if *seconds > self.trial_seconds {
                self.on_trial = None;
            }
        }
        let next = if self.seconds_over >= self.patience() {
            if self.on_trial.take().is_some() {
                self.trial_seconds = (2 * self.trial_seconds).min(LONGEST_TRIAL_SECONDS);
            }
            if self.all_or_nothing { Some(Detail::Detached) } else { self.detail.less() }
        } else if self.seconds_with_room >= self.trial_seconds {
            let more = self.detail.more();
            self.on_trial = more.map(|_| 0);
            more
        } else {
            None
        }?;
        self.detail = next;
        (self.seconds_over, self.seconds_with_room) = (0, 0);
        self.steps.push(DetailStep { at_ns, detail: next, cost_ratio });
        Some(next)
    }

    /// What is recorded now.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// The budget and each change so far.
    pub fn finish(&mut self) -> (f64, Vec<DetailStep>) {
        (self.budget_ratio, std::mem::take(&mut self.steps))
    }

    fn patience(&self) -> u32 {
        if self.all_or_nothing || self.detail == Detail::LedgerOnly {
            LAST_PATIENCE_SECONDS
        } else {
            PATIENCE_SECONDS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Costs of one second after the other under a budget of 1 %, and the changes: after which second, to what.
    #[track_caller]
    fn check(costs: &[(f64, usize)], expected: &[(u64, Detail)]) {
        let mut governor = Governor::new(0.01);
        let seconds = costs.iter().flat_map(|&(percent, seconds)| std::iter::repeat_n(percent, seconds));
        for (second, percent) in seconds.enumerate() {
            governor.observe(percent / 100.0, second as u64 + 1);
        }
        let (_, steps) = governor.finish();
        let changes: Vec<_> = steps.iter().map(|step| (step.at_ns, step.detail)).collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_keeps_to_the_budget_is_left_alone() {
        check(&[(0.9, 100), (0.1, 100)], &[]);
    }

    #[test]
    fn one_dear_second_is_a_burst() {
        check(&[(5.0, 1), (0.9, 1), (5.0, 1), (0.9, 10)], &[]);
    }

    #[test]
    fn what_stays_too_dear_loses_detail_step_by_step_and_is_given_up_at_last() {
        let expected = [
            (2, Detail::HalfRate),
            (4, Detail::QuarterRate),
            (6, Detail::NoOptionalProbes),
            (8, Detail::FewOffCpuStacks),
            (10, Detail::LedgerOnly),
            (15, Detail::Detached),
        ];
        check(&[(2.0, 30)], &expected);
    }

    #[test]
    fn where_there_is_no_detail_to_give_up_all_is_given_up() {
        let mut governor = Governor::all_or_nothing(0.01);
        let costs = [0.02, 0.02, 0.02, 0.02, 0.005, 0.02, 0.02, 0.02, 0.02, 0.02];
        let changes: Vec<_> =
            costs.iter().zip(1..).filter_map(|(cost, second)| governor.observe(*cost, second)).collect();
        assert_eq!((changes, governor.finish().1[0].at_ns), (vec![Detail::Detached], 10));
    }

    #[test]
    fn detail_comes_back_when_there_is_room_for_it() {
        let expected = [(2, Detail::HalfRate), (17, Detail::Full)];
        check(&[(2.0, 2), (0.6, 10), (0.4, 20)], &expected);
    }

    #[test]
    fn a_return_that_was_a_mistake_is_tried_again_after_twice_the_time() {
        let expected = [(2, Detail::HalfRate), (7, Detail::Full), (9, Detail::HalfRate), (19, Detail::Full)];
        check(&[(2.0, 2), (0.4, 5), (2.0, 2), (0.4, 12)], &expected);
    }
}
