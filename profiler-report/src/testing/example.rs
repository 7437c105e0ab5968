//! A small recording by hand, whose every number can be checked on paper.
//!
//! ```text
//! thread          elapsed  on_cpu  runq_wake  runq_preempt  fsync  poll  disk_write  unknown  futex_wait  net_recv
//! 812 db             10 s    4.0        0.5           0.5    3.0   1.9                                              0.1 s missing
//! 813 db-log         10 s    1.0                                                1.0      1.0         7.0
//! 900 evil            5 s    2.5                                                                              2.5
//! sum                25 s    7.5        0.5           0.5    3.0   1.9         1.0      1.0         7.0       2.5   24.9 s
//! ```

use profiler_common::{
    block_io::{ended_by, operation, share},
    histogram::bucket,
    state,
};

use crate::recording::{
    BlockIo, Broken, Budget, Cost, CpuTime, Detail, DetailStep, Device, Disk, DiskCounters, DiskWait,
    FileWait, Frame, InstrumentId, KernelCounters, Locks, Machine, Meta, Method, Module, Name, Pressure,
    Process, ProcessIo, ProgramCost, Quality, RequestShare, Requests, Sample, Skip, SkipCause, Span, Stack,
    StackEnd, Submitter, Thread, ThreadSum, WaitTimes,
};

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;

/// See the table above.
pub fn example() -> Span {
    Span {
        meta: meta(),
        processes: vec![
            Process {
                tgid: 812,
                comm: "db".into(),
                command_line: "/usr/bin/db -D /data".into(),
                io: Some(ProcessIo {
                    called_read_bytes: 100 << 20,
                    disk_read_bytes: 25 << 20,
                    ..ProcessIo::default()
                }),
            },
            Process { tgid: 900, comm: "evil\x1b[31m".into(), command_line: "evil\n--now".into(), io: None },
        ],
        threads: threads(),
        modules: vec![Module { path: "/usr/bin/db".into(), build_id: vec![0xab, 0xcd] }],
        frames: frames().iter().map(|&(frame, _)| frame).collect(),
        names: frames().iter().map(|(_, functions)| names(functions)).collect(),
        stacks: stacks(),
        samples: samples(),
        wait_times: wait_times(),
        block_io: block_io(),
        locks: Locks { followed: true, kernel_followed: true, ..Locks::default() },
        machine: machine(),
        quality: quality(),
        skipped: vec![Skip::new(InstrumentId::OnCpu, SkipCause::CyclesUnsafe)],
        cost: cost(),
        budget: budget(),
        ..Span::default()
    }
}

fn meta() -> Meta {
    Meta {
        profiler_version: "0.1.0".into(),
        target: "pid 812,900".into(),
        // date -u -d '2026-11-22 06:40:00' +%s
        started_unix_ns: 1_795_329_600_000_000_000,
        started_at_ns: START,
        ended_at_ns: START + 10_000 * MS,
        hostname: "web1".into(),
        kernel_release: "6.18.5".into(),
        architecture: "x86_64".into(),
        cpus: 4,
        sample_hz: 99,
        sample_source: "cycles".into(),
        command_exit_code: None,
    }
}

/// (state, milliseconds, intervals)
fn thread(process: u32, tid: u32, comm: &str, ms: u64, states: &[(u32, u64, u32)]) -> ThreadSum {
    let to_ns = START + 10_000 * MS;
    let row =
        Thread { process, tid, comm: comm.into(), from_ns: to_ns - ms * MS, to_ns, ..Thread::default() };
    let mut thread = ThreadSum {
        thread: row,
        is_present: true,
        elapsed_ns: ms * MS,
        state_ns: vec![0; state::SLOTS],
        state_count: vec![0; state::SLOTS],
        preemptions: 0,
    };
    for &(code, ms, count) in states {
        thread.state_ns[code as usize] = ms * MS;
        thread.state_count[code as usize] = count;
    }
    thread
}

fn threads() -> Vec<ThreadSum> {
    use state::{DISK_WRITE, FSYNC, FUTEX_WAIT, NET_RECV, ON_CPU, POLL, RUNQ_PREEMPT, RUNQ_WAKE, UNKNOWN};
    let db = [
        (ON_CPU, 4_000, 1_450),
        (RUNQ_WAKE, 500, 1_000),
        (RUNQ_PREEMPT, 500, 100),
        (FSYNC, 3_000, 300),
        (POLL, 1_900, 50),
    ];
    let log = [(ON_CPU, 1_000, 117), (DISK_WRITE, 1_000, 100), (UNKNOWN, 1_000, 10), (FUTEX_WAIT, 7_000, 7)];
    let counters = |run, run_queue, user, system| {
        let [run_ns, run_queue_ns, user_ns, system_ns] = [run, run_queue, user, system].map(|ms| ms * MS);
        Some(KernelCounters { run_ns, run_queue_ns, user_ns, system_ns, elapsed_ns: 10_000 * MS })
    };
    let mut db = thread(0, 812, "db", 10_000, &db);
    (db.preemptions, db.kernel_counters) = (100, counters(4_000, 1_000, 3_000, 1_000));
    let mut log = thread(0, 813, "db-log", 10_000, &log);
    log.kernel_counters = counters(1_500, 0, 500, 500);
    let mut evil = thread(1, 900, "evil\x1b[31m", 5_000, &[(ON_CPU, 2_500, 6), (NET_RECV, 2_500, 5)]);
    evil.born_inside = true;
    vec![db, log, evil]
}

/// Each frame with the functions there, the inlined ones first; a frame without a name at index 4.
fn frames() -> [(Frame, &'static [&'static str]); 10] {
    let user = |file_offset| Frame::User { module: 0, file_offset };
    let kernel = |address| Frame::Kernel { address };
    [
        (user(0x1000), &["main"]),
        (user(0x2000), &["execute"]),
        (user(0x3000), &["hash", "scan"]),
        (user(0x4000), &["flush"]),
        (user(0x5010), &[]),
        (kernel(0xffff_0001), &["schedule"]),
        (kernel(0xffff_0002), &["io_schedule_timeout"]),
        (kernel(0xffff_0003), &["jbd2_log_wait_commit"]),
        (kernel(0xffff_0004), &["odd_driver_wait"]),
        (kernel(0xffff_0005), &["inet_recv\x1b[31mmsg"]),
    ]
}

fn names(functions: &[&str]) -> Vec<Name> {
    let name = |(index, function): (usize, &&str)| Name {
        function: (*function).into(),
        inlined: index + 1 < functions.len(),
        ..Name::default()
    };
    functions.iter().enumerate().map(name).collect()
}

fn stacks() -> Vec<Stack> {
    let by = |method, kernel: &[u32], user: &[u32], end| Stack {
        kernel: kernel.into(),
        user: user.into(),
        end,
        method,
    };
    let stack = |kernel: &[u32], user: &[u32], end| by(Method::Tables, kernel, user, end);
    vec![
        stack(&[], &[2, 1, 0], StackEnd::Complete),
        by(Method::FramePointers, &[], &[4, 0], StackEnd::Complete),
        stack(&[5, 6, 7], &[3, 1, 0], StackEnd::Complete),
        stack(&[5, 8], &[3], StackEnd::Cut),
        stack(&[5], &[1, 0], StackEnd::Complete),
        by(Method::FramePointers, &[5, 9], &[], StackEnd::Broken(Broken::NoUnwindInfo)),
    ]
}

fn samples() -> Vec<Sample> {
    let sample =
        |thread, state, stack, weight, count| Sample { thread, state, stack, lock: None, weight, count };
    vec![
        sample(0, state::ON_CPU, 0, 300.0, 300),
        sample(0, state::ON_CPU, 1, 100.0, 100),
        sample(1, state::ON_CPU, 0, 50.0, 50),
        sample(0, state::FSYNC, 2, 200.0, 20),
        sample(0, state::POLL, 4, 180.0, 10),
        sample(1, state::UNKNOWN, 3, 90.0, 10),
        sample(2, state::NET_RECV, 5, 240.0, 10),
    ]
}

/// 1,100 waits for a CPU of 10 µs, and 3 of the 300 fsyncs took 100 ms, the others 9 ms.
fn wait_times() -> Vec<WaitTimes> {
    vec![
        WaitTimes { group: 0, buckets: vec![(bucket(10_000), 1_100)] },
        WaitTimes { group: 1, buckets: vec![(bucket(9_000_000), 297), (bucket(100_000_000), 3)] },
    ]
}

/// 450 + 50 samples arrived and 4 were lost: 4 / 504.
fn quality() -> Quality {
    let count = |name: &str, count| (name.to_owned(), count);
    Quality {
        kernel_counts: vec![
            count("oncpu_samples", 450),
            count("oncpu_dropped", 3),
            count("offcpu_samples", 50),
            count("offcpu_dropped", 1),
        ],
        offcpu_passes: 990,
        ..Quality::default()
    }
}

fn cost() -> Cost {
    Cost {
        own_cpu_ns: 40 * MS,
        rss_bytes: 31 << 20,
        kernel_bytes: 12 << 20,
        programs: vec![ProgramCost {
            name: "sched_switch".into(),
            in_own_time: false,
            run_ns: 630_000,
            runs: 3_000,
        }],
        measured_ns: 1_000 * MS,
        ..Cost::default()
    }
}

fn budget() -> Budget {
    Budget {
        startup_ns: 150 * MS,
        ratio: 0.01,
        steps: vec![DetailStep { at_ns: 2_000 * MS, detail: Detail::HalfRate, cost_ratio: 0.013 }],
    }
}

/// One disk. Writes: 100 of the db and 50 of another process, of 8 KiB, 1 ms in the device each; 300 writes of fsync, 9.9 ms in
/// it. The kernel counted 450 writes.
fn block_io() -> BlockIo {
    // A bucket of a histogram: 15 × 65.5 µs, just below 1 ms, and 9 × 1.05 ms.
    let (about_1_ms, about_10_ms) = (bucket(1_000_000), bucket(9_900_000));
    let writes = |operation, of_target, count: u32, each_us: u64, in_device| Requests {
        device: 0,
        operation,
        of_target,
        count: u64::from(count),
        bytes: 8192 * u64::from(count),
        sequential: if of_target { 10 } else { 5 },
        issued: u64::from(count),
        queue_ns: 10_000 * u64::from(count),
        device_ns: each_us * 1000 * u64::from(count),
        total_ns: (each_us + 10) * 1000 * u64::from(count),
        queue: vec![(bucket(10_000), count)],
        in_device: vec![(in_device, count)],
        total: vec![(in_device, count)],
        ..Requests::default()
    };
    let share = |id, name: &str, of_target, count, device_ms| RequestShare {
        kind: share::PROCESS,
        id,
        name: name.into(),
        of_target,
        device: 0,
        operation: operation::WRITE,
        count,
        bytes: 8192 * count,
        queue_ns: 10_000 * count,
        device_ns: device_ms * MS,
    };
    BlockIo {
        followed: true,
        devices: vec![Device {
            disk: Disk { major: 8, minor: 0, name: "sda".into(), stacked: false },
            counters: Some(DiskCounters {
                elapsed_ns: 10_000 * MS,
                writes: 450,
                written_bytes: 450 * 8192,
                busy_ns: 3_100 * MS,
                ..DiskCounters::default()
            }),
            depth: vec![0.25, 0.5],
            depth_interval_ns: 5_000 * MS,
        }],
        requests: vec![
            writes(operation::WRITE, true, 100, 1000, about_1_ms),
            writes(operation::WRITE, false, 50, 1000, about_1_ms),
            writes(operation::WRITE_THROUGH, true, 300, 9900, about_10_ms),
        ],
        shares: vec![share(812, "db", true, 100, 100), share(4242, "backup", false, 50, 500)],
        waits: vec![
            DiskWait {
                state: state::FSYNC,
                ended_by: ended_by::OWN_REQUEST,
                device: Some(0),
                operation: operation::WRITE_THROUGH,
                count: 290,
                blocked_ns: 2_900 * MS,
                queue_ns: 3 * MS,
                device_ns: 2_871 * MS,
                ..DiskWait::default()
            },
            DiskWait {
                state: state::FSYNC,
                ended_by: ended_by::KERNEL_THREAD,
                by: "jbd2/sda1-8".into(),
                count: 10,
                blocked_ns: 100 * MS,
                ..DiskWait::default()
            },
        ],
        files: vec![FileWait {
            path: "/data/wal\x1b[31m/0001".into(),
            inode: 77,
            major: 8,
            minor: 1,
            state: state::FSYNC,
            count: 300,
            blocked_ns: 3_000 * MS,
        }],
        submitters: vec![Submitter {
            stack: 0,
            device: 0,
            operation: operation::WRITE_THROUGH,
            samples: 30,
            count: 300,
            bytes: 300 * 8192,
        }],
    }
}

/// Half of the machine's CPU time was used; a disk was waited for in a third of the time.
fn machine() -> Machine {
    let cpu = Some(CpuTime {
        elapsed_ns: 10_000 * MS,
        busy_ns: 20_000 * MS,
        idle_ns: 18_000 * MS,
        iowait_ns: 2_000 * MS,
        steal_ns: 0,
    });
    Machine {
        cpu,
        allowed_cpu: cpu,
        pressure: Some(Pressure { elapsed_ns: 10_000 * MS, io_some_ns: 3_300 * MS, ..Pressure::default() }),
        allowed_cpus: Some(4),
        ..Machine::default()
    }
}
