//! How long waits lasted.

use profiler_common::state::Group;

use super::{Page, left, right};
use crate::analyze::Report;
use crate::report::numbers::{count, duration};

pub(super) fn write(report: &Report<'_>, page: &mut Page) {
    if report.wait_times.is_empty() {
        return;
    }
    page.heading("How long waits lasted        waits        p50        p99      p99.9");
    for row in &report.wait_times {
        let quantiles = [row.quantiles.p50, row.quantiles.p99, row.quantiles.p999];
        let quantiles = quantiles.map(|ns| right(&duration(ns), 10)).join(" ");
        page.line(&format!("  {} {} {quantiles}", left(name(row.group), 22), right(&count(row.waits), 9)));
    }
}

fn name(group: Group) -> &'static str {
    match group {
        Group::RunQueue => "for a CPU",
        Group::Disk => "for a disk or a file",
        Group::Lock => "for a lock",
        Group::Net => "for the network",
        Group::Ipc => "for a process",
        Group::Memory => "for memory",
        Group::Cpu | Group::Idle | Group::Unknown => "for something else",
    }
}
