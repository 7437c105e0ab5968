//! What this machine lets the profiler do, before anybody waits for a recording: each requirement and each
//! probe works, is degraded (what is lost, the line that fixes it) or impossible (why).
//!
//! In: [`Facts`], which `read` takes from the system and the kernel's answers to a [`Trial`](crate::instruments::trial::Trial). Out:
//! [`Finding`]s, one a check, and what they add up to. Only `read` does I/O: what is decided is decided on values.

mod facts;
mod finding;
mod before;
mod requirements;
mod privileges;
mod surroundings;
mod memory;
mod probes;
mod read;
mod text;
mod json;

pub use before::{Wish, before_recording};
pub use facts::{Answer, Facts, Room};
pub use finding::{Finding, Kind, Need, Verdict};
pub use json::render as render_json;
pub use text::{render as render_text, warning};

use finding::worst;

/// At this rate the on-CPU sampler is tried: the one that recordings have if none is named.
const SAMPLE_HZ: u32 = 99;

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub findings: Vec<Finding>,
}

/// What the findings add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Works,
    Degraded,
    CannotRun,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::CannotRun => "cannot run",
        }
    }

    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

impl Diagnosis {
    /// Looks at this machine, and tries each probe if the privileges are there.
    pub fn of_this_machine() -> Self {
        Self::of(&read::facts())
    }

    /// Judges facts.
    pub fn of(facts: &Facts) -> Self {
        let checks = [
            requirements::check(facts),
            privileges::check(facts),
            surroundings::check(facts),
            memory::check(facts),
            probes::check(facts),
        ];
        Self { findings: checks.concat() }
    }

    pub fn outcome(&self) -> Outcome {
        worst(&self.findings)
    }
}
