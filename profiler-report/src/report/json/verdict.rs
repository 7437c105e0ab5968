//! The verdict, and what the kernel says of the machine beside it.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{ConfidenceJson, Seconds, VerdictIdJson, seconds};
use crate::analyze::claim::{Claim, Value};
use crate::analyze::{Confidence, Report, Verdict};
use crate::recording::{CpuTime, Group, Machine, Pressure};
use crate::report::words;

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct VerdictJson {
    id: VerdictIdJson,
    #[serde(with = "ConfidenceJson")]
    confidence: Confidence,
    /// From 0 to 1.
    score: f64,
    /// What the bottleneck is, with its numbers.
    sentence: String,
    evidence: Vec<String>,
    counter_evidence: Vec<String>,
    next_steps: Vec<String>,
    /// The numbers of the sentence and of each piece of evidence, in their order.
    values: ValuesJson,
    /// So many times as fast at most; null where that is not meaningful.
    #[cfg_attr(test, schemars(range(min = 0)))]
    max_gain: Option<f64>,
    /// Other causes, the largest first.
    also: Vec<AlsoJson>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ValuesJson {
    sentence: Vec<ValueJson>,
    evidence: Vec<Vec<ValueJson>>,
    counter_evidence: Vec<Vec<ValueJson>>,
}

/// One number.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ValueJson {
    value: f64,
    unit: UnitJson,
}

/// `ratio`: a part of something, from 0 to 1. `number`: without a unit.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(JsonSchema))]
enum UnitJson {
    Ratio,
    Seconds,
    Bytes,
    Count,
    Number,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct AlsoJson {
    id: VerdictIdJson,
    /// Share of the working time.
    ratio: f64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MachineJson<'a> {
    /// Of the whole machine, from `/proc/stat`.
    cpu: Option<CpuTimeJson>,
    /// Of the whole machine.
    pressure: Option<PressureJson>,
    /// CPUs that the target may use.
    allowed_cpus: Option<u32>,
    /// CPU time of those together.
    allowed_cpu: Option<CpuTimeJson>,
    /// Control groups of the target.
    groups: Vec<ControlGroupJson<'a>>,
    /// Unrecorded processes with the most CPU time.
    busiest_others: Vec<OtherProcessJson<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct CpuTimeJson {
    busy_seconds: Seconds,
    idle_seconds: Seconds,
    iowait_seconds: Seconds,
    steal_seconds: Seconds,
}

/// Pressure (PSI): time in which some or all tasks waited.
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct PressureJson {
    elapsed_seconds: Seconds,
    cpu_some_seconds: Seconds,
    io_some_seconds: Seconds,
    io_full_seconds: Seconds,
    memory_some_seconds: Seconds,
    memory_full_seconds: Seconds,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct ControlGroupJson<'a> {
    path: &'a str,
    /// In CPUs; null where there is none.
    #[cfg_attr(test, schemars(range(min = 0)))]
    cpu_limit: Option<f64>,
    periods: u64,
    throttled_periods: u64,
    throttled_seconds: Seconds,
    /// Null where there is none.
    memory_limit_bytes: Option<u64>,
    memory_bytes: u64,
    memory_limit_hits: u64,
    oom_kills: u64,
    pressure: Option<PressureJson>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
struct OtherProcessJson<'a> {
    tgid: u32,
    comm: &'a str,
    cpu_seconds: Seconds,
}

fn sentences(claims: &[Claim]) -> Vec<String> {
    claims.iter().map(words::sentence).collect()
}

fn values(claim: &Claim) -> Vec<ValueJson> {
    let value = |value: Value| match value {
        Value::Ratio(ratio) => ValueJson { value: ratio, unit: UnitJson::Ratio },
        Value::Ns(ns) => ValueJson { value: ns / 1e9, unit: UnitJson::Seconds },
        Value::Bytes(bytes) => ValueJson { value: bytes as f64, unit: UnitJson::Bytes },
        Value::Count(count) => ValueJson { value: count as f64, unit: UnitJson::Count },
        Value::Number(number, _) => ValueJson { value: number, unit: UnitJson::Number },
    };
    claim.values().map(value).collect()
}

impl VerdictJson {
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            id: VerdictIdJson::of(verdict.id),
            confidence: verdict.confidence,
            score: verdict.score,
            sentence: words::sentence(&verdict.sentence),
            evidence: sentences(&verdict.evidence),
            counter_evidence: sentences(&verdict.counter_evidence),
            next_steps: sentences(&verdict.next_steps),
            values: ValuesJson {
                sentence: values(&verdict.sentence),
                evidence: verdict.evidence.iter().map(values).collect(),
                counter_evidence: verdict.counter_evidence.iter().map(values).collect(),
            },
            max_gain: verdict.max_gain,
            also: verdict
                .also
                .iter()
                .map(|&(id, ratio)| AlsoJson { id: VerdictIdJson::of(id), ratio })
                .collect(),
        }
    }
}

impl CpuTimeJson {
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
            cpu: cpu.map(CpuTimeJson::of),
            pressure: pressure.as_ref().map(PressureJson::of),
            allowed_cpus: *allowed_cpus,
            allowed_cpu: allowed_cpu.map(CpuTimeJson::of),
            groups: groups.iter().map(ControlGroupJson::of).collect(),
            busiest_others: busiest_others
                .iter()
                .map(|other| OtherProcessJson {
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

impl<'a> ControlGroupJson<'a> {
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
