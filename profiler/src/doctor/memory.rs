//! Whether there is memory for a recording.

use super::{Facts, Finding, Room, privileges::Capability};

const MIB: u64 = 1 << 20;
/// A recording of a small machine: 49 MiB resident and 11 MiB in the kernel at most (the report's own last lines).
const TO_RECORD: u64 = 64 * MIB;
/// Names from half a gigabyte of debug information take some 180 MB on top of that.
const TO_NAME: u64 = 256 * MIB;
/// What the maps and programs of a recording with the least capacities take, if nobody has measured it.
const KERNEL_BYTES: u64 = 11 * MIB;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![room(facts)];
    findings.extend(locked_memory(facts));
    findings
}

pub fn room(facts: &Facts) -> Finding {
    let Some(Room { bytes, cgroup }) = &facts.room else {
        return Finding::required("memory", "unknown");
    };
    let left = bytes / MIB;
    let (found, mend) = match cgroup {
        Some(cgroup) => {
            let mend = format!("raise the memory limit of the cgroup {cgroup}, or run it in another");
            (format!("{left} MiB left in the cgroup {cgroup}"), mend)
        }
        None => (format!("{left} MiB left on the machine"), "free some memory".to_owned()),
    };
    let finding = Finding::required("memory", found);
    if *bytes < TO_RECORD {
        return finding.impossible(format!("a recording needs up to {} MiB", TO_RECORD / MIB), &[&mend]);
    }
    if *bytes < TO_NAME {
        let lost = "names of large programs: the kernel may kill the profiler while they are looked up";
        return finding.degraded(lost, &[&mend]);
    }
    finding
}

/// Only where maps are charged to the process that makes them. Nobody knows whether, if the types were not read.
fn locked_memory(facts: &Facts) -> Option<Finding> {
    let types = facts.types.as_ref()?.as_ref().ok()?;
    if types.maps_charged_to_cgroups {
        return Some(Finding::required(
            "locked memory",
            "no limit: maps are charged to cgroups (Linux 5.11)",
        ));
    }
    let Some(limit) = facts.locked_memory else {
        return Some(Finding::required("locked memory", "unlimited"));
    };
    let attached = facts.trial.as_ref().and_then(|trial| trial.attached.as_ref());
    let needed = attached.map_or(KERNEL_BYTES, |attached| attached.kernel_bytes.max(KERNEL_BYTES));
    let finding = Finding::required("locked memory", format!("{} KiB", limit / 1024));
    if limit < needed && may_raise_limits(facts) {
        let found = format!("{} KiB; a recording raises it", limit / 1024);
        return Some(Finding { found, ..finding });
    }
    if limit < needed {
        let why = format!("the maps need {} MiB, which this kernel counts as locked memory", needed / MIB);
        return Some(finding.impossible(why, &["ulimit -l unlimited"]));
    }
    Some(finding)
}

/// aya raises the limit where the kernel refuses a map for it, if it may.
fn may_raise_limits(facts: &Facts) -> bool {
    const CAP_SYS_RESOURCE: Capability = (24, "cap_sys_resource");
    facts.has(CAP_SYS_RESOURCE) || facts.trial.as_ref().is_some_and(|trial| trial.load.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::facts::{check, healthy},
        kernel::Types,
    };

    #[test]
    fn memory_is_judged_by_what_a_recording_takes() {
        let facts = |mib: u64, cgroup: Option<&str>| Facts {
            room: Some(Room { bytes: mib * MIB, cgroup: cgroup.map(str::to_owned) }),
            ..healthy()
        };
        check(&facts(4096, None), "memory", "works", &["4096 MiB left on the machine"]);
        check(
            &facts(200, Some("/a.slice")),
            "memory",
            "degraded",
            &["names", "limit of the cgroup /a.slice"],
        );
        check(&facts(40, Some("/a.slice")), "memory", "impossible", &["40 MiB left", "64 MiB"]);
    }

    #[test]
    fn the_limit_of_locked_memory_binds_old_kernels_only() {
        let facts = |maps_charged_to_cgroups, locked_memory| {
            let types = Types { fields: Ok(()), maps_charged_to_cgroups };
            Facts { types: Some(Ok(types)), locked_memory, trial: None, capabilities: 0, ..healthy() }
        };
        let is = |facts: &Facts, verdict, words: &[&str]| check(facts, "locked memory", verdict, words);
        is(&facts(true, Some(65_536)), "works", &["cgroups"]);
        is(&facts(false, Some(65_536)), "impossible", &["64 KiB", "ulimit -l unlimited"]);
        is(&facts(false, Some(64 * MIB)), "works", &["65536 KiB"]);
        is(&facts(false, None), "works", &["unlimited"]);
        let raised = Facts { capabilities: 1 << 24, ..facts(false, Some(65_536)) };
        is(&raised, "works", &["64 KiB; a recording raises it"]);
        let loaded = Facts { trial: healthy().trial, ..facts(false, Some(65_536)) };
        is(&loaded, "works", &["raises"]);
    }
}
