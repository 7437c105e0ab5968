//! Sentences from claims.

use crate::analyze::claim::{Claim, Part, Value};
use crate::analyze::numbers::{bytes, count, duration, percent};

/// What a claim says. Names in it are hostile still: each format escapes for itself.
pub fn sentence(claim: &Claim) -> String {
    claim.parts.iter().map(words).collect()
}

fn words(part: &Part) -> String {
    match part {
        Part::Words(words) => (*words).to_owned(),
        Part::Name(name) => name.clone(),
        Part::Value(Value::Ratio(ratio)) => percent(*ratio),
        Part::Value(Value::Ns(ns)) => duration(*ns),
        Part::Value(Value::Bytes(number)) => bytes(*number),
        Part::Value(Value::Count(number)) => count(*number),
        Part::Value(Value::Number(number, decimals)) => format!("{number:.decimals$}"),
    }
}
