//! The cases: what is run, what is recorded, and what the verdict has to be.

use anyhow::Result;
use profiler_tests::running::Workload;
use profiler_tests::servers::command;
use profiler_tests::slow_disk::SlowDisk;

use super::places::{DirtyLimit, Forget, Group};
use super::scenes::{Scene, disk, fio, go, installed, java, nginx, postgres, python, redis};
use crate::Bench;

/// A case.
pub struct Case {
    pub name: &'static str,
    /// Verdicts that are right; every other one is wrong.
    pub right: &'static [&'static str],
    pub start: fn(&Bench) -> Result<Scene>,
    /// So long it runs before it is recorded.
    pub settle_ms: u64,
    /// The children of what is started are recorded too.
    pub children: bool,
}

const CPU: &[&str] = &["CPU_BOUND"];
const ONE_CPU: &[&str] = &["CPU_SINGLE_THREAD", "CPU_BOUND"];
const SATURATED: &[&str] = &["CPU_SATURATED"];
const READS: &[&str] = &["DISK_READ_BOUND"];
const WRITES: &[&str] = &["DISK_WRITE_BOUND"];
const SYNCS: &[&str] = &["FSYNC_BOUND"];
const LOCK: &[&str] = &["LOCK_USER"];
const HIDDEN_LOCK: &[&str] = &["LOCK_USER", "INSUFFICIENT_DATA"];
const IDLE: &[&str] = &["IDLE"];
const ROOM: &[&str] = &["NO_BOTTLENECK", "IDLE"];
const IPC: &[&str] = &["IPC_WAIT"];

/// One of the workload `verdict`.
macro_rules! own {
    ($name:literal, $case:literal, $right:expr) => {
        Case {
            name: $name,
            right: $right,
            start: |bench| Ok(Scene::of(bench.workload("verdict", &[$case, &disk(bench)?])?)),
            settle_ms: 300,
            children: false,
        }
    };
}

/// Another program.
macro_rules! program {
    ($name:literal, $right:expr, $start:expr) => {
        Case { name: $name, right: $right, start: $start, settle_ms: 1500, children: true }
    };
}

pub const CASES: &[Case] = &[
    own!("two threads compute on two CPUs", "spin_two", CPU),
    own!("one thread computes", "spin_one", ONE_CPU),
    own!("one thread computes among seven that wait on a condition variable", "spin_among_idle", ONE_CPU),
    own!("six threads compute on two CPUs", "spin_six", SATURATED),
    Case {
        name: "one thread computes on a CPU that two neighbours use too",
        right: SATURATED,
        start: |bench| {
            let neighbours = [
                bench.workload("verdict", &["spin_on_cpu_0"])?,
                bench.workload("verdict", &["spin_on_cpu_0"])?,
            ];
            Ok(Scene::of(bench.workload("verdict", &["spin_on_cpu_0"])?).and(neighbours))
        },
        settle_ms: 300,
        children: false,
    },
    Case {
        name: "one thread computes in a control group with 0.3 CPUs",
        right: &["CPU_QUOTA"],
        start: |bench| {
            let workload = bench.workload("verdict", &["spin_one"])?;
            let group = Group::with_cpu_limit("profiler-verdict-cpu", 300)?;
            group.add(workload.pid())?;
            Ok(Scene::of(workload).and(group))
        },
        settle_ms: 500,
        children: false,
    },
    own!("two threads spin for a lock of their own", "spin_lock", &["CPU_BOUND", "LOCK_USER"]),
    own!("a thread computes for 3 of each 10 ms", "duty_cycle_30", &["NO_BOTTLENECK"]),
    own!("one thread reads past the page cache", "direct_read", READS),
    own!("four threads read past the page cache", "direct_read_four", READS),
    own!("one thread writes past the page cache", "direct_write", &["DISK_WRITE_BOUND"]),
    Case {
        name: "page faults on a file that is not in memory",
        right: READS,
        start: |bench| Ok(Scene::of(bench.workload("page_faults", &[&disk(bench)?])?)),
        settle_ms: 300,
        children: false,
    },
    Case {
        name: "one thread appends and calls fdatasync",
        right: SYNCS,
        start: |bench| Ok(Scene::of(bench.workload("fsync_loop", &[&disk(bench)?])?)),
        settle_ms: 300,
        children: false,
    },
    own!("four threads append and call fdatasync", "fsync_four", SYNCS),
    own!("writes with O_DSYNC", "synchronous_write", &["FSYNC_BOUND", "DISK_WRITE_BOUND"]),
    Case {
        name: "pages are dirtied faster than the disk takes them",
        right: &["WRITEBACK_THROTTLED", "DISK_WRITE_BOUND"],
        start: |bench| {
            let limit = DirtyLimit::set(16 << 20)?;
            Ok(Scene::of(bench.workload("verdict", &["dirty", &disk(bench)?])?).and(limit))
        },
        settle_ms: 1500,
        children: false,
    },
    Case {
        name: "64 MiB are read again and again in a control group with 32 MiB",
        right: &["MEMORY_PRESSURE"],
        start: |bench| {
            let workload = bench.workload("verdict", &["read_again", &disk(bench)?])?;
            let group = Group::with_memory_limit("profiler-verdict-memory", 32 << 20)?;
            group.add(workload.pid())?;
            Ok(Scene::of(workload).and(group).and(Forget::of_page_cache()))
        },
        settle_ms: 2500,
        children: false,
    },
    own!("a hot mutex of the C library", "mutex_hot", LOCK),
    own!("a hot mutex with priority inheritance", "mutex_inheriting", LOCK),
    own!("a hot mutex of Rust", "rust_mutex_hot", LOCK),
    Case {
        name: "a mutex that is held across fdatasync",
        right: &["LOCK_HELD_ACROSS_IO"],
        // Some disks take 26 µs for it, and then its holder mostly computes or waits for a CPU.
        start: |bench| {
            let slow = SlowDisk::new(disk(bench)?.as_ref())?;
            let place = slow.place().to_string_lossy().into_owned();
            Ok(Scene::of(bench.workload("verdict", &["mutex_across_fsync", &place])?).and(slow))
        },
        settle_ms: 300,
        children: false,
    },
    own!("a mutex that is held across a sleep", "mutex_across_sleep", LOCK),
    Case {
        name: "a mutex whose holder waits for a CPU",
        right: SATURATED,
        start: |bench| {
            let neighbours: Vec<Workload> =
                (0..3).map(|_| bench.workload("verdict", &["spin_on_cpu_0"])).collect::<Result<_>>()?;
            Ok(Scene::of(bench.workload("verdict", &["mutex_without_cpu"])?).and(neighbours))
        },
        settle_ms: 500,
        children: false,
    },
    own!("a read-write lock of the C library", "read_write_lock", LOCK),
    own!("a read-write lock of Rust", "rust_read_write_lock", LOCK),
    own!("four threads map and unmap memory", "address_space", &["LOCK_KERNEL"]),
    own!("a semaphore of the C library that is used as a lock", "semaphore_as_lock", LOCK),
    own!("a semaphore of the C library that counts work", "semaphore_as_queue", ROOM),
    own!("two threads in a deadlock", "deadlock", &["DEADLOCK"]),
    own!("sixteen threads wait on a condition variable", "idle_condition_variable", IDLE),
    own!("four threads wait in epoll", "idle_epoll", IDLE),
    own!("two threads wait for input from pipes", "idle_pipe", IDLE),
    own!("two threads wait for clients", "idle_accept", IDLE),
    own!("eight threads sleep for 10 ms at a time", "timers", IDLE),
    own!("a queue with little to do for four workers", "light_queue", ROOM),
    // Both may use the same CPU alone, and fill it.
    Case {
        name: "two processes take turns by pipe on one CPU",
        right: &["IPC_WAIT", "CPU_SATURATED"],
        start: |bench| Ok(Scene::of(bench.workload("pipe_pingpong", &["1"])?)),
        settle_ms: 300,
        children: false,
    },
    own!("two threads take turns by Unix socket", "unix_pingpong", IPC),
    own!("a client of a server that takes 10 ms for an answer", "downstream", &["DOWNSTREAM_WAIT"]),
    program!("perf bench sched pipe", IPC, |_| {
        installed("perf", "linux-perf")?;
        Scene::command(command("perf", &["bench", "sched", "pipe", "-l", "100000000"]))
    }),
    program!("perf bench sched messaging", &["IPC_WAIT", "CPU_SATURATED"], |_| {
        installed("perf", "linux-perf")?;
        Scene::command(command("perf", &["bench", "sched", "messaging", "-l", "1000000"]))
    }),
    program!("perf bench futex hash", &["CPU_BOUND", "CPU_SATURATED"], |_| {
        installed("perf", "linux-perf")?;
        Scene::command(command("perf", &["bench", "futex", "hash", "-r", "60"]))
    }),
    program!("perf bench mem memcpy", ONE_CPU, |_| {
        installed("perf", "linux-perf")?;
        Scene::command(command("perf", &["bench", "mem", "memcpy", "-s", "64MB", "-l", "100000"]))
    }),
    program!("fio, random reads, one at a time", READS, |bench| fio(
        bench,
        &["--ioengine=psync", "--rw=randread"]
    )),
    // Large ones: a disk of a virtual machine takes small ones as fast as a CPU can submit them.
    program!("fio, random reads of 256 KiB by libaio, 8 at a time", READS, |bench| {
        fio(bench, &["--ioengine=libaio", "--rw=randread", "--iodepth=8", "--bs=256k"])
    }),
    program!("fio, writes with fdatasync", SYNCS, |bench| {
        fio(bench, &["--ioengine=psync", "--rw=write", "--direct=0", "--fdatasync=1"])
    }),
    program!("fio, random writes of 64 KiB by libaio, 4 at a time", WRITES, |bench| {
        fio(bench, &["--ioengine=libaio", "--rw=randwrite", "--iodepth=4", "--bs=64k"])
    }),
    program!("fio, random writes of 64 KiB by io_uring, 4 at a time", WRITES, |bench| {
        fio(bench, &["--ioengine=io_uring", "--rw=randwrite", "--iodepth=4", "--bs=64k"])
    }),
    program!("fio, random reads of 64 KiB by io_uring, 4 at a time", READS, |bench| {
        fio(bench, &["--ioengine=io_uring", "--rw=randread", "--iodepth=4", "--bs=64k"])
    }),
    program!("fio, writes with fdatasync by io_uring", SYNCS, |bench| {
        fio(bench, &["--ioengine=io_uring", "--rw=write", "--direct=0", "--fdatasync=1"])
    }),
    program!("a shell runs short processes, one after another", ONE_CPU, |_| Scene::command(command(
        "bash",
        &["-c", "for ((number = 0; number < 1000000; number++)); do /bin/true; done"]
    ))),
    program!("stress-ng --cpu 2", &["CPU_BOUND", "CPU_SATURATED"], |_| {
        installed("stress-ng", "stress-ng")?;
        Scene::command(command("stress-ng", &["--cpu", "2", "--timeout", "60"]))
    }),
    program!("sysbench, mutex", &["LOCK_USER", "CPU_BOUND", "CPU_SATURATED"], |_| {
        installed("sysbench", "sysbench")?;
        Scene::command(command(
            "sysbench",
            &["mutex", "--threads=4", "--mutex-locks=100000000", "--mutex-num=1", "run"],
        ))
    }),
    program!("postgres, four clients of pgbench", &["CPU_SATURATED", "FSYNC_BOUND"], |bench| postgres(
        bench, None
    )),
    program!("postgres, eight clients change the same row", LOCK, |bench| {
        postgres(bench, Some("UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1;\n"))
    }),
    program!("a Go service without a client", IDLE, |bench| go(bench, "idle")),
    program!("two goroutines compute", CPU, |bench| go(bench, "compute")),
    // Goroutines that wait are no threads that wait: what is left is the one that writes.
    program!(
        "goroutines at a mutex that is held across fsync",
        &["FSYNC_BOUND", "LOCK_HELD_ACROSS_IO"],
        |bench| { go(bench, "mutex_across_sync") }
    ),
    program!("a Java service without a client", IDLE, |bench| java(bench, "idle")),
    program!("two Java threads compute", CPU, |bench| java(bench, "compute")),
    program!(
        "four Java threads at a hot monitor",
        &["LOCK_USER", "CPU_BOUND", "CPU_SINGLE_THREAD"],
        |bench| { java(bench, "monitor_hot") }
    ),
    // From outside they look as those that wait for work.
    program!("four Java threads at a monitor that is held across a sleep", HIDDEN_LOCK, |bench| {
        java(bench, "monitor_across_sleep")
    }),
    program!("goroutines at a mutex that is held across a sleep", HIDDEN_LOCK, |bench| {
        go(bench, "mutex_across_sleep")
    }),
    program!("four Python threads compute", &["LOCK_USER", "CPU_SINGLE_THREAD"], |bench| {
        python(bench, "compute")
    }),
    program!("four Python threads at a lock that is held across a sleep", LOCK, |bench| python(
        bench, "lock"
    )),
    program!("a queue with little to do for three Python threads", ROOM, |bench| python(bench, "rest")),
    program!("Python commits to SQLite, a row at a time", SYNCS, |bench| python(bench, "commit")),
    program!("redis without a client", IDLE, |bench| redis(bench, false)),
    program!("redis under redis-benchmark", &["CPU_SINGLE_THREAD", "CPU_BOUND", "CPU_SATURATED"], |bench| {
        redis(bench, true)
    }),
    program!("nginx without a client", IDLE, |bench| nginx(bench, false)),
    program!("nginx under wrk", &["CPU_SINGLE_THREAD", "CPU_BOUND", "CPU_SATURATED"], |bench| nginx(
        bench, true
    )),
];
