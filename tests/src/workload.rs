//! What the workloads share: arguments, the sign that they are ready, clocks, and few system calls.
//!
//! In: the command line. Out: `ready PID…` on standard output once the workload is in its steady state, and for some
//! workloads one line of JSON at the end: what the workload itself knows to be true. Used by nothing but workloads.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, mem, thread};

/// Seconds after which a workload that nobody ended is killed by its alarm.
const LONGEST_LIFE: u32 = 180;

/// Argument number `index` (from 1) as a number, or `default` if it is not given.
pub fn number(index: usize, default: f64) -> f64 {
    match env::args().nth(index) {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_| panic!("argument {index} is no number: `{text}`")),
    }
}

/// Argument number `index` (from 1) as text.
pub fn text(index: usize) -> String {
    env::args().nth(index).unwrap_or_else(|| panic!("argument {index} is missing"))
}

/// Prints that this process is in its steady state.
pub fn ready() {
    ready_with(&[std::process::id()]);
}

/// Prints that these processes are in their steady state, and sees to it that this one does not outlive its test.
pub fn ready_with(pids: &[u32]) {
    die_eventually();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    println!("ready {}", pids.join(" "));
}

/// Sets the alarm that ends this process if nothing else does.
pub fn die_eventually() {
    // SAFETY: `alarm` takes a number and touches no memory of ours.
    unsafe { libc::alarm(LONGEST_LIFE) };
}

/// Turns the C convention for failure into a panic with the error's text.
#[track_caller]
pub fn check<T: Copy + PartialOrd + From<i8>>(result: T) -> T {
    assert!(result >= T::from(0i8), "system call failed: {}", io::Error::last_os_error());
    result
}

/// Starts a thread whose name is its `comm`.
pub fn thread_named(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    assert!(name.len() <= 15, "the kernel would cut the name `{name}`");
    thread::Builder::new().name(name.to_owned()).spawn(body).expect("thread is created")
}

/// Starts a thread that sleeps for longer than any test runs, and waits until it does: on a busy machine that takes a moment.
pub fn start_sleeper(name: &str) {
    let (tell, told) = std::sync::mpsc::channel();
    thread_named(name, move || {
        // SAFETY: the call only returns a number.
        tell.send(unsafe { libc::gettid() }).expect("its starter waits");
        thread::sleep(Duration::from_secs(1000));
    });
    let stat = format!("/proc/self/task/{}/stat", told.recv().expect("it tells its number"));
    let sleeps = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
    while !sleeps() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Keeps this thread, and those that it creates, on one CPU.
pub fn pin_to_cpu(cpu: usize) {
    pin_thread(0, cpu);
}

/// Keeps a thread on one CPU; 0 is the thread that calls.
pub fn pin_thread(tid: u32, cpu: usize) {
    // SAFETY: a `cpu_set_t` is an array of integers, for which zero is valid; the kernel reads it within its size.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(tid as libc::pid_t, size_of::<libc::cpu_set_t>(), &raw const set));
    }
}

/// Uses the CPU until `end`, without a system call.
#[inline(never)]
pub fn spin_until(end: Instant) {
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Uses the CPU for `duration` of wall-clock time.
pub fn spin_for(duration: Duration) {
    spin_until(Instant::now() + duration);
}

/// What the kernel says that this process has used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// Times that it gave up the CPU in order to wait.
    pub voluntary_switches: i64,
    /// Page faults that had to wait for the device.
    pub major_faults: i64,
}

/// Usage of this process so far.
pub fn usage() -> Usage {
    // SAFETY: `rusage` is made of integers, for which zero is valid; the kernel writes within it.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        check(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage));
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        voluntary_switches: usage.ru_nvcsw,
        major_faults: usage.ru_majflt,
    }
}

/// How long the thread that calls has not been blocked, as the kernel counts it: its CPU time, and field 2 of its `schedstat`,
/// how long it was ready for a CPU without one.
#[derive(Debug)]
pub struct Busy(fs::File);

impl Busy {
    pub fn of_this_thread() -> Self {
        Self(fs::File::open("/proc/thread-self/schedstat").expect("the kernel counts run-queue waits"))
    }

    /// So far.
    pub fn time(&self) -> Duration {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).expect("the counters are read");
        let text = std::str::from_utf8(&text[..length]).expect("numbers");
        let ns = text.split(' ').nth(1).and_then(|ns| ns.parse().ok()).expect("a second number");
        Duration::from_nanos(ns) + cpu_time(libc::CLOCK_THREAD_CPUTIME_ID)
    }
}

/// CPU time by one of the kernel's clocks of it. Unlike field 1 of `schedstat`, it includes the time since the last tick.
fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes into the local.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) });
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Writes a file of `bytes` bytes without a hole, and waits until it is on the device.
pub fn make_file(path: &Path, bytes: usize) {
    let content: Vec<u8> = (0..bytes).map(|index| (index / 4096) as u8).collect();
    fs::write(path, content).and_then(|()| fs::File::open(path)?.sync_all()).expect("the file is written");
}

/// A sequence that visits numbers in no order that read-ahead could guess (a linear congruential generator).
#[derive(Debug)]
pub struct Scatter(u64);

impl Scatter {
    /// The same sequence each time.
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Another sequence each time, by which a test tries what nobody has thought of: that of the number in `$SEED`, if there is one.
    /// It is printed, so that a test that fails can be run again.
    pub fn seeded() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
        println!("the same again: SEED={seed}");
        let mut scatter = Self(seed);
        // Seeds that are close to each other begin alike.
        for _ in 0..8 {
            scatter.below(1);
        }
        scatter
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

impl Default for Scatter {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory that a device can write to: a block, aligned to its size.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct AlignedBlock([u8; Self::BYTES]);

impl AlignedBlock {
    pub const BYTES: usize = 4096;

    #[allow(clippy::new_without_default, reason = "nobody needs one by default")]
    pub fn new() -> Box<Self> {
        Box::new(Self([0; Self::BYTES]))
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
