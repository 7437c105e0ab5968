//! What values of the report are: numbers with a unit, and names of which there are only so many.
//!
//! Types of their own, because the schema is derived from them: it then says what a value may be.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::analyze::{Confidence, VerdictId, state_name};

/// Seconds.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(extend("minimum" = 0)))]
#[serde(transparent)]
pub struct Seconds(f64);

impl Seconds {
    pub fn of_ns(ns: f64) -> Self {
        Self(ns / 1e9)
    }
}

pub fn seconds(ns: u64) -> Seconds {
    Seconds::of_ns(ns as f64)
}

/// Share of a whole, 0 to 1.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(extend("minimum" = 0, "maximum" = 1)))]
#[serde(transparent)]
pub struct Ratio(pub f64);

/// State of a thread, by its name in `profiler-common/src/state.rs`; `state_N` is one of a later version.
// A pattern and no list: a capture of a later version has states that this one does not know.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(extend("pattern" = "^[a-z][a-z0-9_]*$")))]
#[serde(transparent)]
pub struct StateJson(String);

impl StateJson {
    pub fn of(code: u32) -> Self {
        Self(state_name(code))
    }
}

/// What a verdict says: docs/verdicts.md has each in words.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(extend("enum" = verdict_ids())))]
#[serde(transparent)]
pub struct VerdictIdJson(&'static str);

impl VerdictIdJson {
    pub fn of(id: VerdictId) -> Self {
        Self(id.as_str())
    }
}

#[cfg(test)]
fn verdict_ids() -> Vec<&'static str> {
    VerdictId::ALL.iter().map(|id| id.as_str()).collect()
}

/// How sure a verdict is.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(remote = "Confidence", rename_all = "snake_case")]
pub enum ConfidenceJson {
    Low,
    Medium,
    High,
}
