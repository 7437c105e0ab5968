//! What there may be much of: threads, switches, requests, stacks; and how to record that much of it.
//!
//! In each of them the others stay as they are, as far as they can.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use profiler_tests::running::Running;

use super::recorded::{Cost, recorded};
use crate::Bench;
use crate::overhead::{UnderPgbench, pgbench_rate};

/// Something that there may be much of.
pub struct Quantity {
    pub name: &'static str,
    pub amounts: &'static [u32],
    /// Records that much, and tells how much there really was.
    pub record: fn(&Bench, &UnderPgbench, u32) -> Result<(f64, Cost)>,
}

pub const QUANTITIES: &[Quantity] = &[
    Quantity { name: "threads", amounts: &[10, 100, 1_000, 10_000], record: threads },
    Quantity { name: "switches/s", amounts: &[1_000, 10_000, 100_000, 400_000], record: switches },
    Quantity { name: "requests/s", amounts: &[100, 1_000, 10_000], record: requests },
    Quantity { name: "distinct paths of calls", amounts: &[10, 100, 1_000, 10_000], record: stacks },
];

/// Ten threads work for 1 ms in every 100 ms, the others wait.
fn threads(bench: &Bench, _: &UnderPgbench, amount: u32) -> Result<(f64, Cost)> {
    let workload = bench.workload("many_threads", &[&amount.to_string(), "10"])?;
    let (cost, _) = recorded(bench, &["-p", &workload.pid_list()])?;
    Ok((f64::from(amount), cost))
}

/// Two threads hand a byte to and fro; their switches are counted.
fn switches(bench: &Bench, _: &UnderPgbench, amount: u32) -> Result<(f64, Cost)> {
    let workload = bench.workload("paced_switches", &[&amount.to_string(), "0"])?;
    let (cost, report) = recorded(bench, &["-p", &workload.pid_list()])?;
    Ok((report.count("on_cpu") / report.elapsed(), cost))
}

/// pgbench reads at a rate; what it reached is what counts.
fn requests(bench: &Bench, postgres: &UnderPgbench, amount: u32) -> Result<(f64, Cost)> {
    const LOAD_SECONDS: &str = "6";
    const TO_END: Duration = Duration::from_secs(60);
    let rate = amount.to_string();
    let options = ["-S", "-M", "prepared", "-T", LOAD_SECONDS, "-R", &rate];
    let load = Running::start(postgres.pgbench(&options))?;
    thread::sleep(Duration::from_millis(500));
    let (cost, _) = recorded(bench, &["-p", &postgres.pid().to_string(), "--children"])?;
    let finished = load.finish(TO_END)?;
    ensure!(finished.status.success(), "pgbench failed: {finished:?}");
    Ok((pgbench_rate(&finished.stdout)?, cost))
}

/// Two threads that never wait, each sample on another path; at the highest rate of samples, so that there are enough to meet
/// many paths.
fn stacks(bench: &Bench, _: &UnderPgbench, amount: u32) -> Result<(f64, Cost)> {
    let workload = bench.workload("many_stacks", &[&amount.to_string(), "2"])?;
    let (cost, _) = recorded(bench, &["-F", "1000", "-p", &workload.pid_list()])?;
    Ok((f64::from(amount), cost))
}
