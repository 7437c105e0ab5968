//! The report's part about the course of the recording.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{ConfidenceJson, Seconds, VerdictIdJson, seconds};
use crate::analyze::{Confidence, Course, Moment, Stretch};

/// Where thread time went in one part of the recording.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WindowJson {
    from_seconds: Seconds,
    to_seconds: Seconds,
    on_cpu_seconds: Seconds,
    run_queue_seconds: Seconds,
    disk_seconds: Seconds,
    lock_seconds: Seconds,
    network_seconds: Seconds,
    other_seconds: Seconds,
    idle_seconds: Seconds,
}

/// A time with one verdict.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct StretchJson {
    from_seconds: Seconds,
    to_seconds: Seconds,
    verdict: VerdictIdJson,
    #[serde(with = "ConfidenceJson")]
    confidence: Confidence,
}

pub fn windows(course: &Course) -> Vec<WindowJson> {
    let window = |moment: &Moment| WindowJson {
        from_seconds: seconds(moment.from_ns),
        to_seconds: seconds(moment.to_ns),
        on_cpu_seconds: seconds(moment.on_cpu_ns),
        run_queue_seconds: seconds(moment.run_queue_ns),
        disk_seconds: seconds(moment.disk_ns),
        lock_seconds: seconds(moment.lock_ns),
        network_seconds: seconds(moment.net_ns),
        other_seconds: seconds(moment.other_ns),
        idle_seconds: seconds(moment.idle_ns),
    };
    course.windows.iter().map(window).collect()
}

pub fn stretches(course: &Course) -> Vec<StretchJson> {
    let stretch = |stretch: &Stretch| StretchJson {
        from_seconds: seconds(stretch.from_ns),
        to_seconds: seconds(stretch.to_ns),
        verdict: VerdictIdJson::of(stretch.id),
        confidence: stretch.confidence,
    };
    course.stretches.iter().map(stretch).collect()
}
