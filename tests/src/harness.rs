//! One live test: may it run here, is it alone, where are the programs, what did a recording say.
//!
//! In: `profiler`'s command line. Out: [`Report`]s. A live test starts with
//! `let Some(live) = Live::start() else { return };`.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::report::Report;
use crate::running::{Finished, Running, Workload, last_json_line, run, wait_until};

/// Longest time that any recording of the tests may take, its report included.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest time until a recording begins.
const SOON: Duration = Duration::from_secs(20);

/// The right to run a live test now, and what it needs.
#[derive(Debug)]
pub struct Live {
    /// Directory of this test's files; gone at its end. Every user may read it.
    pub scratch: TempDir,
    profiler: PathBuf,
    /// Held as long as the test runs: two recordings at once would disturb each other's timing.
    _turn: File,
}

impl Live {
    /// Waits for its turn. None if this user cannot record: then it has said so, and the test is over.
    #[track_caller]
    pub fn start() -> Option<Self> {
        // SAFETY: `geteuid` only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            let reason = "live tests load kernel programs: run them as root";
            assert!(env::var("CI").as_deref() != Ok("true"), "{reason}");
            // Past the test runner, which hides what tests that succeed print. Nobody hears it if standard error is closed.
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return None;
        }
        let turn = File::create(directory().join("live-tests.lock")).expect("the lock is created");
        turn.lock().expect("the lock is taken");
        let scratch = TempDir::with_prefix("profiler-tests-").expect("a directory for this test");
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        Some(Self { scratch, profiler: profiler().to_owned(), _turn: turn })
    }

    /// Path of a file in this test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Path of the `profiler` program.
    pub fn profiler_path(&self) -> &Path {
        &self.profiler
    }

    /// Starts a workload.
    #[track_caller]
    pub fn workload(&self, name: &str, arguments: &[&str]) -> Workload {
        Workload::start(directory(), name, arguments).expect("the workload gets ready")
    }

    /// Starts one that gets the CPUs that it wants before whatever else of this session runs.
    #[track_caller]
    pub fn urgent_workload(&self, name: &str, arguments: &[&str]) -> Workload {
        Workload::start_urgent(directory(), name, arguments).expect("the workload gets ready")
    }

    /// `profiler` with these arguments, not started yet. A recording may cost what it will, if they do not say otherwise: of the
    /// storms of the tests less would be recorded, and at last nothing.
    pub fn profiler(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.profiler);
        command.args(with_budget(arguments));
        command
    }

    /// Runs `profiler` to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(self.profiler(arguments), LIMIT).expect("profiler ends")
    }

    /// Starts a recording whose report goes to `out.json`, and waits until all is attached: a moment later it begins.
    #[track_caller]
    pub fn start_recording(&self, arguments: &[&str]) -> Running {
        let running = self.start_attaching(arguments);
        self.wait_until_attached(&running);
        running
    }

    /// Starts one like that, and waits until the first of its programs is attached: others are being loaded then.
    #[track_caller]
    pub fn start_attaching(&self, arguments: &[&str]) -> Running {
        let json = self.path("out.json");
        let json = json.to_string_lossy();
        let command = self.profiler(&[&["record", "-q", "-o", &json], arguments].concat());
        let running = Running::start(command).expect("profiler starts");
        let has_begun = || !attached_programs(running.pid()).is_empty();
        wait_until("a program attached", SOON, has_begun).expect("profiler attaches its programs");
        running
    }

    /// Waits until a recording has attached all. What it attaches last are the rings in which perf tells of mappings.
    #[track_caller]
    pub fn wait_until_attached(&self, recording: &Running) {
        let maps = format!("/proc/{}/maps", recording.pid());
        let has_rings = || fs::read_to_string(&maps).is_ok_and(|maps| maps.contains("[perf_event]"));
        wait_until("everything attached", SOON, has_rings).expect("profiler attaches its programs");
    }

    /// Waits for a recording's successful end and reads its report.
    #[track_caller]
    pub fn finish_recording(&self, running: Running) -> Report {
        let finished = running.finish(LIMIT).expect("profiler ends");
        self.report_of(&finished)
    }

    /// Records with these arguments, and reads the report.
    #[track_caller]
    pub fn record(&self, arguments: &[&str]) -> Report {
        let finished = self.record_any(arguments);
        self.report_of(&finished)
    }

    /// The report of a recording that was done. Where the kernel cannot take stacks of waiting threads, as the report then
    /// says, one of threads that only wait has the exit code for "no stack was sampled", and is done too.
    #[track_caller]
    fn report_of(&self, finished: &Finished) -> Report {
        const NO_SAMPLE: i32 = 4;
        let is_done = finished.status.success() || finished.status.code() == Some(NO_SAMPLE);
        assert!(is_done, "profiler failed: {finished:?}");
        let report = self.report();
        assert!(
            finished.status.success() || report.lacks_off_cpu_stacks(),
            "no stack was sampled: {:#}",
            report.0["quality"]
        );
        report
    }

    /// Records a workload from its first instruction to its end, and returns the truth that it told.
    #[track_caller]
    pub fn record_command(&self, name: &str, arguments: &[&str]) -> Value {
        self.record_command_with(&[], name, arguments)
    }

    /// The same with options for the recording.
    #[track_caller]
    pub fn record_command_with(&self, options: &[&str], name: &str, arguments: &[&str]) -> Value {
        let program = directory().join(name);
        let command = [options, &["--", program.to_str().expect("a plain path")], arguments].concat();
        let finished = self.record_any(&command);
        assert!(finished.status.success(), "profiler failed: {finished:?}");
        let own_lines: Vec<_> = finished.stdout.lines().filter(|line| line.starts_with("{\"")).collect();
        last_json_line(&own_lines.join("\n")).expect("the workload tells its truth")
    }

    /// Records with these arguments, whatever comes of it.
    #[track_caller]
    pub fn record_any(&self, arguments: &[&str]) -> Finished {
        let json = self.path("out.json");
        let json = json.to_string_lossy();
        let command = self.profiler(&[&["record", "-q", "-o", &json], arguments].concat());
        run(command, LIMIT).expect("profiler ends")
    }

    /// The report of the last recording.
    #[track_caller]
    pub fn report(&self) -> Report {
        Report::read(&self.path("out.json"))
    }
}

/// Identifiers of the kernel programs that a process holds attached by a link, as `/proc` tells them.
pub fn attached_programs(pid: u32) -> Vec<u32> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return Vec::new();
    };
    let texts = descriptors.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts
        .filter(|text| text.contains("link_id:"))
        .filter_map(|text| number_after(&text, "prog_id:"))
        .collect()
}

fn number_after(text: &str, key: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

/// Where cargo has put this test's workloads: the directory above that of the test's own program.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let test = env::current_exe().expect("the path of this program");
        test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps").to_owned()
    })
}

/// The program under test: `$PROFILER` if that is set, else built by cargo with this test's profile.
fn profiler() -> &'static Path {
    static PROFILER: OnceLock<PathBuf> = OnceLock::new();
    PROFILER.get_or_init(|| env::var_os("PROFILER").map_or_else(build_profiler, PathBuf::from))
}

/// Cargo builds a package's programs for that package's own tests only, so the test asks for this one itself.
fn build_profiler() -> PathBuf {
    let directory = directory();
    let target = directory.parent().expect("a profile's directory lies in the target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--package", "profiler", "--bin", "profiler", "--target-dir"])
        .arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo starts");
    assert!(
        status.success(),
        "cannot build `profiler`\n  try: `cargo xtask setup`, then `cargo build -p profiler`"
    );
    directory.join("profiler")
}

/// The arguments of `profiler`, of a recording with a budget that it never reaches unless they have one.
pub fn with_budget<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    match arguments {
        ["record", rest @ ..] if !rest.contains(&"--max-overhead") => {
            [&["record", "--max-overhead", "100%"], rest].concat()
        }
        _ => arguments.to_vec(),
    }
}
