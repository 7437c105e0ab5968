//! What the cases start: programs, servers and services, and what loads them.

use std::any::Any;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use profiler_tests::running::{Running, Workload, run};
use profiler_tests::servers::{self, Postgres, command, process_and_children, program, text};

use crate::Bench;
use profiler_tests::command::{on_path, repository};

/// What runs, and the processes of it that are recorded. It ends when this is dropped.
pub struct Scene {
    pub pids: Vec<u32>,
    held: Vec<Box<dyn Any>>,
}

impl Scene {
    pub fn of(workload: Workload) -> Self {
        Self { pids: workload.pids().to_vec(), held: vec![Box::new(workload)] }
    }

    pub fn command(command: Command) -> Result<Self> {
        let running = Running::start(command)?;
        Ok(Self { pids: vec![running.pid()], held: vec![Box::new(running)] })
    }

    pub fn and(mut self, held: impl Any) -> Self {
        // Dropped in this order: what depends on another thing comes before it.
        self.held.push(Box::new(held));
        self
    }
}

const TO_COMPILE: Duration = Duration::from_secs(60);

/// A directory on the disk to which this was built: `/tmp` may be in memory.
pub fn disk(bench: &Bench) -> Result<String> {
    let path = bench.directory.join("verdict-cases");
    fs::create_dir_all(&path)?;
    Ok(path.to_string_lossy().into_owned())
}

pub fn installed(name: &str, package: &str) -> Result<()> {
    ensure!(on_path(name), "`{name}` (package `{package}`) is not installed");
    Ok(())
}

pub fn fio(bench: &Bench, options: &[&str]) -> Result<Scene> {
    installed("fio", "fio")?;
    let file = format!("--filename={}/fio", disk(bench)?);
    let usual = [
        "--name=case",
        "--size=64M",
        "--bs=4k",
        "--direct=1",
        "--runtime=60",
        "--time_based",
        "--thread",
        &file,
    ];
    Scene::command(command("fio", &[&usual, options].concat()))
}

pub fn postgres(bench: &Bench, script: Option<&str>) -> Result<Scene> {
    let data = std::path::PathBuf::from(disk(bench)?).join("postgres");
    let _ = fs::remove_dir_all(&data);
    let server = Postgres::start(data.clone());
    let mut load = Command::new(program("pgbench", "postgresql-contrib"));
    load.args(["-h", &data.to_string_lossy(), "-U", "postgres", "-n", "-T", "60"]);
    let file = bench.path("hot-row.sql");
    match script {
        Some(script) => {
            fs::write(&file, script)?;
            load.args(["-c", "8", "-j", "1", "-f", &file, "postgres"]);
        }
        None => {
            load.args(["-c", "4", "postgres"]);
        }
    }
    let load = Running::start(load)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let pids = process_and_children(server.pid());
    Ok(Scene { pids, held: vec![Box::new(load), Box::new(server)] })
}

/// A case of the Go service of the tests.
pub fn go(bench: &Bench, case: &str) -> Result<Scene> {
    installed("go", "golang-go")?;
    let (program, folder) = (bench.path("service"), disk(bench)?);
    let source = services().join("service.go");
    let built = run(command("go", &["build", "-o", &program, text(&source)]), TO_COMPILE)?;
    ensure!(built.status.success(), "the service does not compile: {built:?}");
    Scene::command(command(&program, &[case, &folder]))
}

/// A case of the Java service of the tests.
pub fn java(bench: &Bench, case: &str) -> Result<Scene> {
    installed("javac", "default-jdk-headless")?;
    let classes = bench.path("classes");
    let source = services().join("Service.java");
    let built = run(command("javac", &["-d", &classes, text(&source)]), TO_COMPILE)?;
    ensure!(built.status.success(), "the service does not compile: {built:?}");
    Scene::command(command("java", &["-cp", &classes, "Service", case]))
}

/// A case of the Python service of the tests.
pub fn python(bench: &Bench, case: &str) -> Result<Scene> {
    installed("python3", "python3")?;
    let source = services().join("service.py");
    let database = format!("{}/rows.db", disk(bench)?);
    Scene::command(command("python3", &[text(&source), case, &database]))
}

fn services() -> PathBuf {
    repository().join("tests/workloads/services")
}

pub fn redis(bench: &Bench, busy: bool) -> Result<Scene> {
    installed("redis-server", "redis-server")?;
    let (server, port) = servers::redis(bench.path("").as_ref());
    let pids = vec![server.pid()];
    let load = ["-p", &port, "-t", "set,get", "-n", "1000000", "-P", "16", "-l", "-q"];
    let load = if busy { Some(Running::start(command("redis-benchmark", &load))?) } else { None };
    Ok(Scene { pids, held: vec![Box::new(load), Box::new(server)] })
}

pub fn nginx(bench: &Bench, busy: bool) -> Result<Scene> {
    let folder = bench.path(if busy { "verdict-nginx" } else { "verdict-nginx-idle" });
    let (server, port) = servers::nginx(folder.as_ref(), 1);
    let address = format!("http://127.0.0.1:{port}/index.html");
    let load = ["-t", "1", "-c", "16", "-d", "60", &address];
    let load = if busy { Some(Running::start(command("wrk", &load))?) } else { None };
    Ok(Scene { pids: process_and_children(server.pid()), held: vec![Box::new(load), Box::new(server)] })
}
