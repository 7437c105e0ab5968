//! Where the on-CPU sampler interrupts, by the kernel's own count of the runs of its program.

use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use profiler_tests::harness::Live;
use profiler_tests::report::check_closed;
use profiler_tests::running::{Running, Workload};
use profiler_tests::setting::Setting;
use profiler_tests::workload::pin_thread;

const SAMPLE_HZ: f64 = 99.0;
/// As long as the runs are counted.
const WATCHED: Duration = Duration::from_secs(2);

/// The kernel counts the runs of programs while this is on.
fn count_runs() -> Setting {
    Setting::change("/proc/sys/kernel/bpf_stats_enabled", "1")
}

/// So often has the sampler's program run so far: the one of its type among the descriptors of a recording.
#[track_caller]
fn runs(recording: &Running) -> Option<u64> {
    const PERF_EVENT: &str = "prog_type:\t7\n";
    let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", recording.pid())).ok()?;
    let texts = descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let text = texts.into_iter().find(|text| text.contains(PERF_EVENT))?;
    let count = text.lines().find_map(|line| line.strip_prefix("run_cnt:"))?;
    Some(count.trim().parse().expect("a number"))
}

/// Interrupts a second beside a recording of this process, from a second after its start on.
#[track_caller]
fn interrupts_a_second(live: &Live, workload: &Workload) -> f64 {
    let counting = count_runs();
    let pid = workload.pid().to_string();
    let recording = live.start_recording(&["-p", &pid]);
    thread::sleep(Duration::from_secs(1));
    let (began, before) = (Instant::now(), runs(&recording).expect("the program is attached"));
    thread::sleep(WATCHED);
    let ran = runs(&recording).expect("it stays") - before;
    let rate = ran as f64 / began.elapsed().as_secs_f64();
    drop(counting);
    recording.signal(libc::SIGINT);
    check_closed(&live.finish_recording(recording));
    rate
}

/// A thread that may run on one CPU alone is interrupted there, at the sampling rate; no other CPU is. Where it may run on each,
/// each is. A timer of the kernel may come late: 5 % less. Each CPU that is counted is busy: the timers of an idle one may wait until
/// something else wakes it (`docs/decisions/0012-sampler-on-the-targets-cpus.md`).
#[test]
fn only_cpus_on_which_the_target_may_run_are_interrupted() {
    let Some(live) = Live::start() else { return };
    let pinned = live.workload("spin", &["1", "60", "0"]);
    check_rate(interrupts_a_second(&live, &pinned), 1);
    drop(pinned);
    let free = live.workload("spin", &[&cpus().to_string(), "60"]);
    check_rate(interrupts_a_second(&live, &free), cpus());
}

/// A thread that is moved to another CPU is sampled there too, from its first switch there on: its samples are as many as its time on
/// the CPU has ticks, but for those of the first 200 ms on the new one.
#[test]
fn the_sampler_follows_a_target_to_another_cpu() {
    let Some(live) = Live::start() else { return };
    if cpus() < 2 {
        return println!("not run: one CPU");
    }
    let workload = live.workload("duty_cycle", &[]);
    let pid = workload.pid().to_string();
    move_to(0, &workload);
    let recording = live.start_recording(&["-p", &pid]);
    thread::sleep(Duration::from_secs(1));
    move_to(1, &workload);
    thread::sleep(Duration::from_secs(3));
    recording.signal(libc::SIGINT);
    let report = live.finish_recording(recording);
    check_closed(&report);
    let ticks = report.seconds("on_cpu") * SAMPLE_HZ;
    let samples = report.number("/quality/counts/oncpu_samples");
    // Each time on the CPU begins at any phase of a tick, so hits deviate no more than that many draws.
    let deviation = 4.0 * ticks.sqrt();
    assert!(
        (ticks - 0.2 * SAMPLE_HZ - deviation..=ticks + deviation).contains(&samples),
        "{samples} samples in {ticks:.0} ticks"
    );
}

/// While nothing but the ledger records, there are no interrupts at all: the count stays what it is from the step to that until
/// the next one, which ends the recording.
#[test]
fn without_stacks_there_are_no_interrupts() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("pipe_pingpong", &[]);
    let counting = count_runs();
    let recording =
        live.start_recording(&["-p", &workload.pid().to_string(), "--max-overhead", "0.01%", "-d", "40"]);
    let mut readings = vec![];
    while let Some(runs) = runs(&recording) {
        readings.push((unix_ns(), runs));
        thread::sleep(Duration::from_millis(300));
    }
    drop(counting);
    let report = live.finish_recording(recording);
    let began_ns = report.interval_unix_ns().0;
    let step_ns = |name: &str| {
        let steps = report.0["cost"]["steps"].as_array().expect("a list");
        let step = steps.iter().find(|step| step["detail"] == name).expect("all detail is given up");
        began_ns + (1e9 * step["at_seconds"].as_f64().expect("a time")) as u64
    };
    let (from_ns, to_ns) = (step_ns("ledger_only"), step_ns("detached"));
    let inside = readings.iter().filter(|(at_ns, _)| (from_ns..to_ns).contains(at_ns)).map(|(_, runs)| *runs);
    // The step takes effect a moment after it is noted, so the first reading may be of before.
    let inside: Vec<_> = inside.skip(1).collect();
    assert!(inside.len() >= 3 && inside[0] > 0, "the sampler ran before: {inside:?}");
    assert!(inside.iter().all(|runs| *runs == inside[0]), "interrupts: {inside:?}");
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

#[track_caller]
fn move_to(cpu: usize, workload: &Workload) {
    let threads = fs::read_dir(format!("/proc/{}/task", workload.pid())).expect("it runs");
    for thread in threads.flatten() {
        let tid = thread.file_name().to_string_lossy().parse().expect("a number");
        pin_thread(tid, cpu);
    }
}

fn cpus() -> usize {
    thread::available_parallelism().expect("a number of CPUs").get()
}

#[track_caller]
fn check_rate(rate: f64, cpus: usize) {
    let expected = cpus as f64 * SAMPLE_HZ;
    assert!((0.95 * expected..=1.02 * expected).contains(&rate), "{rate} interrupts a second on {cpus} CPUs");
}
