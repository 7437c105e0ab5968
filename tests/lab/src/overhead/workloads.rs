//! The workloads: what each needs, and how it is run once with something attached in between.
//!
//! Each takes some two seconds without a tool, on a machine of 2026. Amounts of work are fixed where the program knows no
//! length of time.

use std::path::Path;

use anyhow::Result;

use super::commands;
use super::outputs::Measured;
use super::servers;
use crate::Bench;
use profiler_tests::command;

/// What is measured under each tool.
pub struct Workload {
    pub name: &'static str,
    /// What its rate counts.
    pub unit: &'static str,
    /// What must be there: programs on the path or, with a `/`, files; and the Debian packages that bring them.
    needs: &'static [(&'static str, &'static str)],
    pub start: fn(&Bench) -> Result<Box<dyn Load + '_>>,
}

/// A workload with all that outlives one run of it, such as its server.
pub trait Load {
    /// Gets ready for one run.
    fn ready(&mut self) -> Result<Ready<'_>>;
}

/// A run that has not begun.
pub struct Ready<'load> {
    /// The processes to watch. The first is the one that starts others, if any does.
    pub pids: Vec<u32>,
    /// Begins, and waits for the end.
    pub go: Box<dyn FnOnce() -> Result<Measured> + 'load>,
}

const PERF: (&str, &str) = ("perf", "linux-perf");

const SCHED_PIPE: Workload = Workload {
    name: "sched pipe",
    unit: "round trips/s",
    needs: &[PERF],
    start: |_| Ok(Box::new(commands::pipe())),
};

pub const WORKLOADS: &[Workload] = &[
    SCHED_PIPE,
    Workload {
        name: "sched messaging",
        unit: "runs/s",
        needs: &[PERF],
        start: |_| Ok(Box::new(commands::messaging())),
    },
    Workload {
        name: "compute",
        unit: "runs/s",
        needs: &[],
        start: |bench| Ok(Box::new(commands::compute(bench)?)),
    },
    Workload {
        name: "fio",
        unit: "reads/s",
        needs: &[("fio", "fio")],
        start: |bench| Ok(Box::new(commands::fio(bench)?)),
    },
    Workload {
        name: "redis",
        unit: "requests/s",
        needs: &[("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")],
        start: |bench| Ok(Box::new(servers::Redis::start(bench))),
    },
    Workload {
        name: "postgres",
        unit: "transactions/s",
        needs: &[("/usr/lib/postgresql", "postgresql"), ("pgbench", "postgresql-contrib")],
        start: |bench| Ok(Box::new(servers::UnderPgbench::start(bench, "overhead-postgres"))),
    },
    Workload {
        name: "nginx",
        unit: "requests/s",
        needs: &[("/usr/sbin/nginx", "nginx-light"), ("wrk", "wrk")],
        start: |bench| Ok(Box::new(servers::Nginx::start(bench))),
    },
    Workload {
        name: "g++",
        unit: "runs/s",
        needs: &[("g++", "g++")],
        start: |bench| Ok(Box::new(commands::compile(bench))),
    },
];

const FIO: (&str, &str) = ("fio", "fio");

pub const DISK_LOADS: &[Workload] = &[Workload {
    name: "fio, 16 under way",
    unit: "reads/s",
    needs: &[FIO],
    start: |bench| Ok(Box::new(commands::fio_deep(bench)?)),
}];

pub const FUTEX_LOADS: &[Workload] = &[
    Workload {
        name: "futex hash",
        unit: "calls/s",
        needs: &[PERF],
        start: |_| Ok(Box::new(commands::futex_hash())),
    },
    SCHED_PIPE,
    Workload {
        name: "contended mutex",
        unit: "turns/s",
        needs: &[],
        start: |bench| Ok(Box::new(commands::mutex(bench))),
    },
];

impl Workload {
    /// What is missing for it, as the end of a sentence.
    pub fn missing(&self) -> Option<String> {
        let is_there = |what: &str| {
            if what.starts_with('/') { Path::new(what).exists() } else { command::on_path(what) }
        };
        let (what, package) = self.needs.iter().find(|(what, _)| !is_there(what))?;
        Some(format!("`{what}` is missing (package `{package}`)"))
    }
}
