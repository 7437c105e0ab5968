//! The programs whose stacks are judged: how each is built and started, and where its threads begin.
//!
//! In: sources under tests/workloads/stacks, Debian's packages, a scratch directory. Out: a running program.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use profiler_tests::running::{Running, Workload};
use profiler_tests::servers::{self, Postgres};

use crate::Bench;
use profiler_tests::command::{self, repository};

/// A program to record.
pub struct Program {
    pub name: &'static str,
    /// The outermost functions of its threads.
    pub entries: &'static [&'static str],
    /// What must be there: programs on the path or, with a `/`, files; and the Debian packages that bring them.
    needs: &'static [(&'static str, &'static str)],
    pub start: fn(&Bench) -> Result<Started>,
}

/// A program that runs until this is dropped.
pub struct Started {
    pub pids: Vec<u32>,
    _running: Box<dyn Any>,
}

/// A process begins in `_start`, which crt1.o brings and the kernel jumps to. A thread's first instruction is the one
/// behind the system call in libc's `clone3` (`clone` in older ones); its CFI says that nothing lies outside. What lies
/// inside, such as `__libc_start_main` or `start_thread`, is not enough.
const NATIVE: &[&str] = &["_start", "clone3", "__clone3", "clone", "__clone"];

/// Go's own traceback ends in these (`topofstack` and its comment in runtime/traceback.go and runtime/symtab.go): a
/// goroutine is built to return to `goexit`; the scheduler's stack of a thread begins again at each `mcall` and
/// `morestack`, and else with `mstart`, which `clone` calls; `rt0_go` is the process's first function in Go, behind
/// `_rt0_amd64` and the ELF entry `_rt0_amd64_linux`.
const GO: &[&str] = &[
    "runtime.goexit",
    "runtime.mcall",
    "runtime.morestack",
    "runtime.mstart",
    "runtime.clone",
    "runtime.rt0_go",
    "_rt0_amd64",
    "_rt0_amd64_linux",
];

/// Without it the function in which threads begin has no name on either side.
const LIBC_NAMES: (&str, &str) = ("/usr/lib/debug/.build-id", "libc6-dbg");

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "C, -fomit-frame-pointer",
        entries: NATIVE,
        needs: &[("gcc", "gcc"), LIBC_NAMES],
        start: start_calls,
    },
    Program {
        name: "C, recursion of 40",
        entries: NATIVE,
        needs: &[("gcc", "gcc")],
        start: |bench| start_compiled(bench, "gcc", &["recursion.c"], "recursion"),
    },
    Program {
        name: "C++, exceptions and templates",
        entries: NATIVE,
        needs: &[("g++", "g++"), LIBC_NAMES],
        start: |bench| start_compiled(bench, "g++", &["objects.cpp", "-pthread"], "objects"),
    },
    Program {
        name: "Rust, release",
        entries: NATIVE,
        needs: &[LIBC_NAMES],
        start: |bench| Ok(Started::workload(bench.workload("rust_calls", &[])?)),
    },
    Program { name: "Go", entries: GO, needs: &[("go", "golang-go")], start: start_go },
    Program {
        name: "postgres under pgbench",
        entries: NATIVE,
        needs: &[("/usr/lib/postgresql", "postgresql"), ("pgbench", "postgresql-contrib")],
        start: |bench| Ok(start_postgres(bench)),
    },
    Program {
        name: "redis under redis-benchmark",
        entries: NATIVE,
        needs: &[("redis-server", "redis-server"), ("redis-benchmark", "redis-tools"), LIBC_NAMES],
        start: start_redis,
    },
    Program {
        name: "python3, Debian's",
        entries: NATIVE,
        needs: &[("/usr/bin/python3", "python3-minimal"), LIBC_NAMES],
        start: |bench| start_script(bench, &["/usr/bin/python3"], "hot.py"),
    },
    Program {
        name: "node --perf-basic-prof",
        entries: NATIVE,
        needs: &[("node", "nodejs"), LIBC_NAMES],
        start: |bench| start_script(bench, &["node", "--perf-basic-prof"], "hot.js"),
    },
];

impl Program {
    /// What it needs and does not find, as a sentence.
    pub fn missing(&self) -> Option<String> {
        let found =
            |what: &str| if what.contains('/') { Path::new(what).exists() } else { command::on_path(what) };
        let missing: Vec<_> = self
            .needs
            .iter()
            .filter(|(what, _)| !found(what))
            .map(|(what, package)| format!("`{what}` is missing (package {package})"))
            .collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }
}

impl Started {
    fn workload(workload: Workload) -> Self {
        Self { pids: vec![workload.pid()], _running: Box::new(workload) }
    }
}

fn sources() -> std::path::PathBuf {
    repository().join("tests/workloads/stacks")
}

fn compile(bench: &Bench, compiler: &str, arguments: &[&str], output: &str) -> Result<()> {
    let mut compile = Command::new(compiler);
    compile.current_dir(sources()).args(["-O2", "-fomit-frame-pointer"]).args(arguments);
    command::run(compile.arg("-o").arg(bench.path(output)))
}

fn start_compiled(bench: &Bench, compiler: &str, arguments: &[&str], output: &str) -> Result<Started> {
    compile(bench, compiler, arguments, output)?;
    Ok(Started::workload(bench.scratch_workload(output)?))
}

fn start_calls(bench: &Bench) -> Result<Started> {
    compile(bench, "gcc", &["-fPIC", "-shared", "library.c"], "libcalls.so")?;
    let (folder, path) = (format!("-L{}", bench.path("")), format!("-Wl,-rpath,{}", bench.path("")));
    start_compiled(bench, "gcc", &["calls.c", "-pthread", &folder, "-lcalls", &path], "calls")
}

fn start_go(bench: &Bench) -> Result<Started> {
    let mut build = Command::new("go");
    build.current_dir(sources()).args(["build", "-o"]).arg(bench.path("goroutines")).arg("goroutines.go");
    // Go insists on a place for its cache.
    command::run(build.env("GOCACHE", bench.path("go-cache")))?;
    Ok(Started::workload(bench.scratch_workload("goroutines")?))
}

/// Starts an interpreter with a script, in the scratch directory, where node leaves a log. Its map for perf goes away
/// with it.
fn start_script(bench: &Bench, words: &[&str], script: &str) -> Result<Started> {
    struct WithMap(u32, Option<Workload>);
    impl Drop for WithMap {
        fn drop(&mut self) {
            self.1 = None;
            // Only node makes one.
            let _ = fs::remove_file(format!("/tmp/perf-{}.map", self.0));
        }
    }
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(sources().join(script)).current_dir(bench.path(""));
    let workload = Workload::start_command(command)?;
    let pid = workload.pid();
    Ok(Started { pids: vec![pid], _running: Box::new(WithMap(pid, Some(workload))) })
}

fn start_postgres(bench: &Bench) -> Started {
    struct UnderLoad(Option<Running>, Option<Postgres>);
    impl Drop for UnderLoad {
        fn drop(&mut self) {
            self.0 = None;
            if let Some(server) = self.1.take() {
                server.stop();
            }
        }
    }
    let postgres = Postgres::start(bench.path("stacks-postgres").into());
    let load = postgres.load("600");
    std::thread::sleep(Duration::from_secs(1));
    let pids = servers::process_and_children(postgres.pid());
    Started { pids, _running: Box::new(UnderLoad(Some(load), Some(postgres))) }
}

fn start_redis(bench: &Bench) -> Result<Started> {
    let port = servers::free_port();
    let options = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"];
    let mut server = Command::new("redis-server");
    server.args(options).arg(bench.path(""));
    let server = Running::start(server).context("redis does not start")?;
    servers::wait_for_port(&port);
    let tests = "set,get,lrange_100,sadd,zadd";
    let load = servers::command("redis-benchmark", &["-p", &port, "-t", tests, "-n", "100000", "-l", "-q"]);
    let load = Running::start(load)?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(Started { pids: vec![server.pid()], _running: Box::new((load, server)) })
}
