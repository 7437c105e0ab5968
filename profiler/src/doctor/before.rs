//! What a recording that is about to begin should know: the same checks as the doctor's, without those that take long.
//!
//! Left out is what stops the recording with a message of its own (capabilities, types) and what its report
//! says (the probes).

use super::{Facts, Finding, Verdict, memory, privileges, read, requirements, surroundings};
use crate::record::Target;

/// What is to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Threads are recorded that nobody has listed: all, or those of a cgroup.
    pub strangers: bool,
    pub sample_hz: u32,
}

impl Wish {
    pub fn new(target: &Target, sample_hz: u32) -> Self {
        Self { strangers: matches!(target, Target::All | Target::Cgroup(_)), sample_hz }
    }
}

/// What of this machine affects this recording.
pub fn before_recording(wish: Wish) -> Vec<Finding> {
    affecting(&read::settings(), wish)
}

fn affecting(facts: &Facts, wish: Wish) -> Vec<Finding> {
    let findings = [
        privileges::user_namespace(facts),
        privileges::seccomp(facts),
        requirements::lockdown(facts),
        requirements::sample_rate(facts, wish.sample_hz),
        requirements::jit(facts),
        requirements::kptr_restrict(facts),
        requirements::schedstat(facts),
        memory::room(facts),
    ];
    let namespace = wish.strangers.then(|| surroundings::pid_namespace(facts));
    findings.into_iter().chain(namespace).filter(|finding| finding.verdict != Verdict::Works).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::healthy;

    const LISTED: Wish = Wish { strangers: false, sample_hz: 99 };

    #[track_caller]
    fn check(facts: &Facts, wish: Wish, expected: &[&str]) {
        let names: Vec<_> = affecting(facts, wish).iter().map(|finding| finding.name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn where_everything_works_nothing_is_said() {
        check(&healthy(), LISTED, &[]);
        check(&Facts { types: None, trial: None, ..healthy() }, Wish { strangers: true, ..LISTED }, &[]);
    }

    #[test]
    fn a_nested_namespace_affects_only_who_records_strangers() {
        let facts = Facts { pid_level: None, ..healthy() };
        check(&facts, LISTED, &[]);
        check(&facts, Wish { strangers: true, ..LISTED }, &["PID namespace"]);
    }

    #[test]
    fn the_limit_of_the_rate_affects_only_higher_rates() {
        let facts = Facts { perf_event_max_sample_rate: Some(500), ..healthy() };
        check(&facts, LISTED, &[]);
        check(&facts, Wish { sample_hz: 1000, ..LISTED }, &["perf_event_max_sample_rate"]);
    }

    #[test]
    fn hidden_kernel_symbols_are_told_while_they_can_be_shown() {
        let first_function = "0000000000000000 T _stext".to_owned();
        check(&Facts { kptr_restrict: Some(2), first_function, ..healthy() }, LISTED, &["kptr_restrict"]);
    }

    #[test]
    fn what_recordings_tell_themselves_is_not_told_twice() {
        let facts =
            Facts { virtual_machine: true, capabilities: 0, tracefs: false, cgroup2: false, ..healthy() };
        check(&facts, LISTED, &[]);
    }
}
