//! Debug information from debuginfod servers, when `DEBUGINFOD_URLS` names some.
//!
//! In: build ids. Out: files of those very builds, from the cache that elfutils' clients use too, or else from the
//! servers. What servers send is untrusted: it is bounded in size and time, and used only if its build id is the one
//! that was asked for. docs: <https://sourceware.org/elfutils/Debuginfod.html>.

mod cache;
mod settings;

pub use settings::Settings;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::Config;
use ureq::tls::{RootCerts, TlsConfig};

use self::cache::{Cache, Cached};
use super::debug_files::hexadecimal;
use super::elf_file::ElfFile;
use profiler_report::recording::Debuginfod as Counts;

/// Most redirects of one answer. They lead to http and https only.
const REDIRECTS: u32 = 5;
/// The progress line is written again this often.
const PERIOD: Duration = Duration::from_millis(200);

/// The servers of one recording. Shared by all workers.
pub struct Debuginfod {
    settings: Settings,
    cache: Cache,
    agent: Agent,
    deadline: Instant,
    progress: bool,
    shown_at: Mutex<Option<Instant>>,
    asked: AtomicU64,
    cached: AtomicU64,
    found: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

/// Why a file was not got.
enum Refused {
    /// The servers do not know it.
    Unknown,
    /// Time is up.
    Late,
    /// No server could be asked, or what it sent was of no use.
    Failed,
}

impl Debuginfod {
    /// From now on the time counts. A progress line is for a terminal.
    pub fn start(settings: Settings, progress: bool) -> Self {
        let config = Config::builder()
            .max_redirects(REDIRECTS)
            .timeout_connect(Some(settings.timeout))
            .timeout_recv_response(Some(settings.timeout))
            .user_agent(concat!("profiler/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        Self {
            cache: Cache::at(settings.cache.clone()),
            agent: config.into(),
            deadline: Instant::now() + settings.total_time,
            progress: progress && io::stderr().is_terminal(),
            settings,
            shown_at: Mutex::default(),
            asked: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            found: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    /// The separate debug information of a build.
    pub fn debug_information(&self, build_id: &[u8]) -> Option<File> {
        // A server that is asked for less could answer for another file.
        if build_id.len() < 8 {
            return None;
        }
        match self.cache.look_up(build_id) {
            Cached::File(file) if is_build(&file, build_id) => {
                self.cached.fetch_add(1, Relaxed);
                return Some(file);
            }
            Cached::KnownMiss => {
                self.unknown.fetch_add(1, Relaxed);
                return None;
            }
            Cached::File(_) | Cached::Nothing => {}
        }
        self.asked.fetch_add(1, Relaxed);
        let result = self.ask_all(build_id);
        self.clear_progress();
        let count = match &result {
            Ok(_) => &self.found,
            Err(Refused::Unknown) => &self.unknown,
            Err(Refused::Late) => &self.late,
            Err(Refused::Failed) => &self.failed,
        };
        count.fetch_add(1, Relaxed);
        result.ok()
    }

    /// What came of it, for the report.
    pub fn counts(&self) -> Counts {
        Counts {
            asked: self.asked.load(Relaxed),
            cached: self.cached.load(Relaxed),
            found: self.found.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            failed: self.failed.load(Relaxed),
            late: self.late.load(Relaxed),
        }
    }

    /// Asks each server until one has the file.
    fn ask_all(&self, build_id: &[u8]) -> Result<File, Refused> {
        let mut refused = Refused::Unknown;
        for url in &self.settings.urls {
            match self.ask(url, build_id) {
                Ok(file) => return Ok(file),
                Err(Refused::Late) => return Err(Refused::Late),
                Err(Refused::Failed) => refused = Refused::Failed,
                Err(Refused::Unknown) => {}
            }
        }
        if matches!(refused, Refused::Unknown) {
            self.cache.remember_miss(build_id);
        }
        Err(refused)
    }

    fn ask(&self, url: &str, build_id: &[u8]) -> Result<File, Refused> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refused::Late);
        }
        let id = hexadecimal(build_id);
        self.show_progress(&id, 0);
        let request = self.agent.get(format!("{}/buildid/{id}/debuginfo", url.trim_end_matches('/')));
        let request = request.config().timeout_global(Some(left.min(self.settings.file_time))).build();
        let mut response = match request.call() {
            Ok(response) => response,
            Err(ureq::Error::StatusCode(404)) => return Err(Refused::Unknown),
            Err(error) => return Err(self.why(&error)),
        };
        let mut download = self.cache.download(build_id).map_err(|_| Refused::Failed)?;
        self.receive(response.body_mut().as_reader(), &id, &mut download.file)?;
        if !is_build(&download.file, build_id) {
            return Err(Refused::Failed);
        }
        Ok(download.keep())
    }

    /// Writes a body to a file, up to the bound.
    fn receive(&self, mut body: impl Read, id: &str, file: &mut File) -> Result<(), Refused> {
        let mut piece = vec![0; 1 << 16];
        let mut bytes = 0_u64;
        loop {
            let length = body.read(&mut piece).map_err(|error| self.why(&ureq::Error::Io(error)))?;
            if length == 0 {
                return Ok(());
            }
            bytes += length as u64;
            if bytes > self.settings.most_bytes {
                return Err(Refused::Failed);
            }
            file.write_all(&piece[..length]).map_err(|_| Refused::Failed)?;
            self.show_progress(id, bytes);
        }
    }

    /// A server that was too slow is one thing when all time is up, and another when only its own is.
    fn why(&self, _error: &ureq::Error) -> Refused {
        if Instant::now() >= self.deadline { Refused::Late } else { Refused::Failed }
    }

    fn show_progress(&self, id: &str, bytes: u64) {
        if !self.progress {
            return;
        }
        // Another worker is just showing its own.
        let Ok(mut shown_at) = self.shown_at.try_lock() else { return };
        let now = Instant::now();
        if shown_at.is_some_and(|shown| now - shown < PERIOD) {
            return;
        }
        *shown_at = Some(now);
        let left = self.deadline.saturating_duration_since(now).as_secs();
        let short = id.get(..12).unwrap_or(id);
        let megabytes = bytes as f64 / 1e6;
        // A terminal that went away is no reason to lose the recording.
        let _ = write!(
            io::stderr(),
            "\r\x1b[Kdebuginfod: file {} ({short}…), {megabytes:.1} MB; {left} s left",
            self.asked.load(Relaxed)
        );
    }

    fn clear_progress(&self) {
        if self.progress {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Whether a file is an ELF file with this build id.
fn is_build(file: &File, build_id: &[u8]) -> bool {
    ElfFile::read(file).is_some_and(|elf| elf.build_id == build_id)
}

#[cfg(test)]
mod tests;
