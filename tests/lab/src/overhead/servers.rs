//! The workloads that are a server and a load: the server lives for all runs, and is what a tool is attached to.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use profiler_tests::running::{Running, run};
use profiler_tests::servers::{self, Postgres, command, process_and_children, program};

use super::outputs::{self, Measured};
use super::workloads::{Load, Ready};
use crate::Bench;

/// The slowest load under the slowest tool.
const TO_END: Duration = Duration::from_secs(120);

/// Runs a load to its successful end, and returns what it printed.
fn output(load: Command) -> Result<String> {
    let finished = run(load, TO_END)?;
    ensure!(finished.status.success(), "the load failed: {finished:?}");
    Ok(finished.stdout)
}

pub struct Redis {
    server: Running,
    port: String,
}

impl Redis {
    pub fn start(bench: &Bench) -> Self {
        let (server, port) = servers::redis(bench.path("").as_ref());
        Self { server, port }
    }

    fn load(&self) -> Result<Measured> {
        let load = ["-p", &self.port, "-t", "get", "-n", "150000", "--csv"];
        outputs::redis_benchmark(&output(command("redis-benchmark", &load))?)
    }
}

impl Load for Redis {
    fn ready(&mut self) -> Result<Ready<'_>> {
        Ok(Ready { pids: vec![self.server.pid()], go: Box::new(|| self.load()) })
    }
}

/// A private postgres, with pgbench's tables. It ends with this.
pub struct UnderPgbench {
    server: Option<Postgres>,
    data: String,
    /// Of the files in which pgbench logs.
    log_prefix: PathBuf,
}

impl UnderPgbench {
    /// Makes the database in a directory `name` of its own.
    pub fn start(bench: &Bench, name: &str) -> Self {
        let data = bench.path(name);
        let server = Some(Postgres::start(data.clone().into()));
        Self { server, log_prefix: format!("{data}-log").into(), data }
    }

    /// The first process of the server, which starts one for each client.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Postgres::pid)
    }

    /// pgbench with four clients.
    pub fn pgbench(&self, options: &[&str]) -> Command {
        let mut pgbench = Command::new(program("pgbench", "postgresql-contrib"));
        pgbench.args(["-h", &self.data, "-U", "postgres", "-n", "-c", "4"]).args(options).arg("postgres");
        pgbench
    }

    fn load(&self) -> Result<Measured> {
        let folder = self.log_prefix.parent().context("logs lie in a directory")?;
        let prefix = format!("--log-prefix={}", self.log_prefix.display());
        let printed = output(self.pgbench(&["-T", "2", "--log", &prefix]))?;
        let prefix = self.log_prefix.file_name().context("logs have a name")?.to_string_lossy();
        let mut log = String::new();
        for entry in fs::read_dir(folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&*prefix) {
                log += &fs::read_to_string(entry.path())?;
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Measured { rate: outputs::pgbench_rate(&printed)?, p99_ms: Some(outputs::pgbench_p99_ms(&log)?) })
    }
}

impl Load for UnderPgbench {
    fn ready(&mut self) -> Result<Ready<'_>> {
        Ok(Ready { pids: process_and_children(self.pid()), go: Box::new(|| self.load()) })
    }
}

impl Drop for UnderPgbench {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

pub struct Nginx {
    server: Running,
    port: String,
}

impl Nginx {
    pub fn start(bench: &Bench) -> Self {
        let (server, port) = servers::nginx(bench.path("overhead-nginx").as_ref(), 1);
        Self { server, port }
    }

    fn load(&self) -> Result<Measured> {
        let address = format!("http://127.0.0.1:{}/index.html", self.port);
        outputs::wrk(&output(command("wrk", &["-t", "1", "-c", "16", "-d", "2", "--latency", &address]))?)
    }
}

impl Load for Nginx {
    fn ready(&mut self) -> Result<Ready<'_>> {
        Ok(Ready { pids: process_and_children(self.server.pid()), go: Box::new(|| self.load()) })
    }
}
