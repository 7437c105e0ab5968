//! The verdict, and what the kernel says of the machine beside it.

use serde::Serialize;

use super::seconds;
use crate::analyze::{Report, Verdict};
use crate::recording::{CpuTime, Group, Machine, Pressure};

#[derive(Serialize)]
pub struct VerdictJson<'a> {
    id: &'static str,
    confidence: &'static str,
    score: f64,
    sentence: &'a str,
    evidence: &'a [String],
    counter_evidence: &'a [String],
    next_steps: &'a [String],
    max_gain: Option<f64>,
    also: Vec<AlsoJson>,
}

#[derive(Serialize)]
struct AlsoJson {
    id: &'static str,
    ratio: f64,
}

#[derive(Serialize)]
pub struct MachineJson<'a> {
    cpu: Option<CpuJson>,
    pressure: Option<PressureJson>,
    allowed_cpus: Option<u32>,
    /// CPU time of those together.
    allowed_cpu: Option<CpuJson>,
    groups: Vec<GroupJson<'a>>,
    busiest_others: Vec<OtherJson<'a>>,
}

#[derive(Serialize)]
struct CpuJson {
    busy_seconds: f64,
    idle_seconds: f64,
    iowait_seconds: f64,
    steal_seconds: f64,
}

#[derive(Serialize)]
struct PressureJson {
    elapsed_seconds: f64,
    cpu_some_seconds: f64,
    io_some_seconds: f64,
    io_full_seconds: f64,
    memory_some_seconds: f64,
    memory_full_seconds: f64,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    path: &'a str,
    cpu_limit: Option<f64>,
    periods: u64,
    throttled_periods: u64,
    throttled_seconds: f64,
    memory_limit_bytes: Option<u64>,
    memory_bytes: u64,
    memory_limit_hits: u64,
    oom_kills: u64,
    pressure: Option<PressureJson>,
}

#[derive(Serialize)]
struct OtherJson<'a> {
    tgid: u32,
    comm: &'a str,
    cpu_seconds: f64,
}

impl<'a> VerdictJson<'a> {
    pub fn of(verdict: &'a Verdict) -> Self {
        Self {
            id: verdict.id.as_str(),
            confidence: verdict.confidence.name(),
            score: verdict.score,
            sentence: &verdict.sentence,
            evidence: &verdict.evidence,
            counter_evidence: &verdict.counter_evidence,
            next_steps: &verdict.next_steps,
            max_gain: verdict.max_gain,
            also: verdict.also.iter().map(|&(id, ratio)| AlsoJson { id: id.as_str(), ratio }).collect(),
        }
    }
}

impl CpuJson {
    fn of(cpu: CpuTime) -> Self {
        Self {
            busy_seconds: seconds(cpu.busy_ns),
            idle_seconds: seconds(cpu.idle_ns),
            iowait_seconds: seconds(cpu.iowait_ns),
            steal_seconds: seconds(cpu.steal_ns),
        }
    }
}

impl<'a> MachineJson<'a> {
    pub fn of(report: &'a Report<'_>) -> Self {
        let Machine { cpu, pressure, allowed_cpus, allowed_cpu, groups, busiest_others, .. } =
            &report.recording.machine;
        Self {
            cpu: cpu.map(CpuJson::of),
            pressure: pressure.as_ref().map(PressureJson::of),
            allowed_cpus: *allowed_cpus,
            allowed_cpu: allowed_cpu.map(CpuJson::of),
            groups: groups.iter().map(GroupJson::of).collect(),
            busiest_others: busiest_others
                .iter()
                .map(|other| OtherJson {
                    tgid: other.tgid,
                    comm: &other.comm,
                    cpu_seconds: seconds(other.cpu_ns),
                })
                .collect(),
        }
    }
}

impl PressureJson {
    fn of(pressure: &Pressure) -> Self {
        Self {
            elapsed_seconds: seconds(pressure.elapsed_ns),
            cpu_some_seconds: seconds(pressure.cpu_some_ns),
            io_some_seconds: seconds(pressure.io_some_ns),
            io_full_seconds: seconds(pressure.io_full_ns),
            memory_some_seconds: seconds(pressure.memory_some_ns),
            memory_full_seconds: seconds(pressure.memory_full_ns),
        }
    }
}

impl<'a> GroupJson<'a> {
    fn of(group: &'a Group) -> Self {
        Self {
            path: &group.path,
            cpu_limit: group.cpu_limit,
            periods: group.periods,
            throttled_periods: group.throttled_periods,
            throttled_seconds: seconds(group.throttled_ns),
            memory_limit_bytes: group.memory_limit_bytes,
            memory_bytes: group.memory_bytes,
            memory_limit_hits: group.memory_limit_hits,
            oom_kills: group.oom_kills,
            pressure: group.pressure.as_ref().map(PressureJson::of),
        }
    }
}
