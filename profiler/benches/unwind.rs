//! What unwinding one sample costs: the snapshots of a database under load, or of a small program of ours.
//!
//! As root, with Debian's `postgresql` installed, it takes the snapshots of a private server's processes under pgbench at
//! the start. They hold what these processes had in memory, so they never leave this one. Otherwise it unwinds the
//! snapshots that are committed. Each is unwound many times, so this is the steady state: all rules are known, as after the first
//! seconds of a recording.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use profiler::unwind::{Captured, Location, Registers};
use profiler_report::recording::StackEnd;

#[allow(dead_code, reason = "their names and frames are for the tests")]
#[path = "../tests/saved/mod.rs"]
mod saved;

struct Snapshot {
    tgid: u32,
    registers: Registers,
    stack: Vec<u8>,
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if let Some((snapshots, mut processes)) = postgres::snapshots() {
        let mut frames = vec![];
        tell("postgres", &snapshots, |snapshot| {
            frames.clear();
            processes
                .unwind(snapshot.tgid, Captured::new(snapshot.registers, &snapshot.stack), 0, &mut frames)
                .end
        });
        let mut next = snapshots.iter().cycle();
        criterion.bench_function("postgres under pgbench, one sample", |bencher| {
            bencher.iter(|| {
                let snapshot = next.next().expect("a snapshot");
                frames.clear();
                black_box(processes.unwind(
                    snapshot.tgid,
                    Captured::new(snapshot.registers, &snapshot.stack),
                    0,
                    &mut frames,
                ))
            });
        });
    }
    let cases = saved::cases();
    let mut unwinder = saved::unwinder();
    let mut next = cases.iter().cycle();
    let mut frames: Vec<Location> = vec![];
    criterion.bench_function("saved snapshots, one sample", |bencher| {
        bencher.iter(|| {
            let case = next.next().expect("a snapshot");
            frames.clear();
            black_box(unwinder.unwind(Captured::new(case.registers, &case.stack), 512, &mut frames))
        });
    });
    criterion.final_summary();
}

/// Prints what criterion does not: the spread over the samples, and how the stacks end.
fn tell(what: &str, snapshots: &[Snapshot], mut unwind: impl FnMut(&Snapshot) -> StackEnd) {
    const PASSES: usize = 20;
    let mut complete = 0;
    let mut times: Vec<Duration> = Vec::with_capacity(PASSES * snapshots.len());
    for pass in 0..=PASSES {
        for snapshot in snapshots {
            let start = Instant::now();
            let end = black_box(unwind(snapshot));
            // The first pass reads the files and fills the caches.
            if pass > 0 {
                times.push(start.elapsed());
                complete += usize::from(end == StackEnd::Complete);
            }
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize].as_nanos() as f64 / 1e3;
    let mean = times.iter().sum::<Duration>().as_nanos() as f64 / 1e3 / times.len() as f64;
    println!(
        "{what}: {} snapshots, {:.2} % complete; µs a sample, with the clock: median {:.2}, mean {mean:.2}, 90 % {:.2}, 99 % {:.2}",
        snapshots.len(),
        100.0 * complete as f64 / times.len() as f64,
        at(0.5),
        at(0.9),
        at(0.99),
    );
}

#[cfg(not(target_arch = "x86_64"))]
mod postgres {
    pub fn snapshots() -> Option<(Vec<super::Snapshot>, profiler::process::Processes)> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod postgres {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::thread;

    use profiler::process::{Limits, Processes};
    use profiler_tests::servers::{Postgres, process_and_children};

    use super::{Captured, Duration, Registers, Snapshot};

    /// Snapshots that are taken.
    const SNAPSHOTS: usize = 4000;
    /// As much as the profiler takes without `--stack-bytes`.
    const STACK_BYTES: usize = 16 * 1024;

    /// Takes them, if that is possible here.
    pub fn snapshots() -> Option<(Vec<Snapshot>, Processes)> {
        // SAFETY: reads this process's own id.
        let root = unsafe { libc::geteuid() } == 0;
        if !root || !fs::exists("/usr/bin/pgbench").is_ok_and(|exists| exists) {
            println!("no postgres here, or not root: only the saved snapshots are unwound");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        // The database's user has to pass through it.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        let postgres = Postgres::start(folder.path().join("data"));
        let load = postgres.load("60");
        thread::sleep(Duration::from_secs(2));
        let tgids = process_and_children(postgres.pid());
        for &tgid in &tgids {
            seize(tgid);
        }
        let taken: Vec<Snapshot> =
            (0..SNAPSHOTS).filter_map(|index| take(tgids[index % tgids.len()])).collect();
        // The mappings are read while the server lives; after this it would only take the CPU.
        let mut processes = Processes::new(Limits::default());
        for Snapshot { tgid, registers, stack } in &taken {
            processes.unwind(*tgid, Captured::new(*registers, stack), 0, &mut vec![]);
        }
        drop(load);
        drop(postgres);
        Some((taken, processes))
    }

    fn seize(tgid: u32) {
        // SAFETY: takes numbers only.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tgid, 0, 0) }, 0, "ptrace of process {tgid}");
    }

    /// Stops a process for the moment that it takes to read its registers and its stack.
    fn take(tgid: u32) -> Option<Snapshot> {
        let mut status = 0;
        // SAFETY: the struct is made of integers, for which zero is valid; the kernel writes within it.
        let registers = unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_INTERRUPT, tgid, 0, 0);
            if libc::waitpid(tgid as i32, &raw mut status, libc::__WALL) < 0 || !libc::WIFSTOPPED(status) {
                return None;
            }
            libc::ptrace(libc::PTRACE_GETREGS, tgid, 0, &raw mut registers);
            registers
        };
        let mut stack = vec![0; STACK_BYTES];
        let memory = fs::File::open(format!("/proc/{tgid}/mem")).ok()?;
        let read = memory.read_at(&mut stack, registers.rsp).unwrap_or(0);
        stack.truncate(read);
        // SAFETY: takes numbers only. A signal that stopped it is delivered.
        unsafe {
            let signal = if status >> 16 == libc::PTRACE_EVENT_STOP { 0 } else { libc::WSTOPSIG(status) };
            libc::ptrace(libc::PTRACE_CONT, tgid, 0, signal);
        }
        thread::sleep(Duration::from_micros(300));
        let registers = Registers { ip: registers.rip, sp: registers.rsp, fp: registers.rbp, lr: 0 };
        Some(Snapshot { tgid, registers, stack })
    }
}
