//! Where this process lives: containers, namespaces, cgroups.

use super::{Facts, Finding};

pub fn check(facts: &Facts) -> Vec<Finding> {
    vec![container(facts), pid_namespace(facts), cgroup2(facts)]
}

fn container(facts: &Facts) -> Finding {
    Finding::optional("container", facts.container.as_deref().unwrap_or("none seen"))
}

/// The programs see the machine; ids outside of the namespace have no name inside of it.
pub fn pid_namespace(facts: &Facts) -> Finding {
    let found = match facts.pid_level {
        Some(0) => return Finding::optional("PID namespace", "the initial one (level 0)"),
        Some(level) => format!("level {level}"),
        None => "level 1 or deeper".to_owned(),
    };
    let mend = ["Docker: docker run --pid=host", "Kubernetes: hostPID: true in the pod's spec"];
    let lost = "ids of threads outside it (with -a and --cgroup)";
    // Only an outer /proc shows the id by which the programs know the profiler itself.
    let own = if facts.pid_level.is_none() { ", and the profiler may record itself" } else { "" };
    Finding::optional("PID namespace", found).degraded(format!("{lost}{own}"), &mend)
}

fn cgroup2(facts: &Facts) -> Finding {
    if facts.cgroup2 {
        return Finding::optional("cgroup version 2", "mounted");
    }
    Finding::optional("cgroup version 2", "not mounted")
        .degraded("--cgroup", &["sudo mount -t cgroup2 none /sys/fs/cgroup"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{check, healthy};

    #[test]
    fn in_a_nested_namespace_strangers_have_no_ids() {
        let facts = |pid_level| Facts { pid_level, ..healthy() };
        check(&facts(Some(0)), "PID namespace", "works", &["level 0"]);
        check(&facts(Some(1)), "PID namespace", "degraded", &["level 1; ", "-a and --cgroup", "--pid=host"]);
        check(&facts(None), "PID namespace", "degraded", &["level 1 or deeper", "record itself"]);
    }

    #[test]
    fn a_container_is_named_and_no_fault() {
        check(&Facts { container: Some("Docker".into()), ..healthy() }, "container", "works", &["Docker"]);
        check(&healthy(), "container", "works", &["none seen"]);
    }

    #[test]
    fn cgroups_of_version_2_are_needed_only_to_name_them() {
        let facts = Facts { cgroup2: false, ..healthy() };
        check(&facts, "cgroup version 2", "degraded", &["--cgroup", "mount -t cgroup2"]);
    }
}
