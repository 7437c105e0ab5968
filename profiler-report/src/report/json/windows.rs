//! The report's part about the course of the recording.

use serde::Serialize;

use super::seconds;
use crate::analyze::{Course, Moment, Stretch};

/// Where thread time went in one part of the recording.
#[derive(Serialize)]
pub struct WindowJson {
    from_seconds: f64,
    to_seconds: f64,
    on_cpu_seconds: f64,
    run_queue_seconds: f64,
    disk_seconds: f64,
    lock_seconds: f64,
    network_seconds: f64,
    other_seconds: f64,
    idle_seconds: f64,
}

/// A time with one verdict.
#[derive(Serialize)]
pub struct StretchJson {
    from_seconds: f64,
    to_seconds: f64,
    verdict: &'static str,
    confidence: &'static str,
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
        verdict: stretch.id.as_str(),
        confidence: stretch.confidence.name(),
    };
    course.stretches.iter().map(stretch).collect()
}
