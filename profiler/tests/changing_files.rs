//! Files that are changed or cut short while they are read: names are right or left out and counted, and the program lives.
//!
//! What ends a process is tried in one of its own, which is this program again.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use profiler::confine;
use profiler::process::Stamp;
use profiler::read_at::ReadAt;
use profiler::symbolize::cut_files::{guard, reading};
use profiler::symbolize::{FileSymbolizer, KernelSymbols, ModuleSource, Sources, Symbolizer as _};
use profiler::unwind::parse_image;
use profiler_report::recording::Name;
use profiler_report::report::skip_sentence;
use profiler_tests::compile::compile;
use tempfile::TempDir;

const PAGE: usize = 4096;
const PAGES: usize = 64;

/// A file of [`PAGES`] pages of `0xff`, mapped.
struct Mapped {
    file: File,
    start: *const u8,
}

impl Mapped {
    fn new(protection: i32, flags: i32) -> Self {
        let file = tempfile::tempfile().expect("a file");
        io::Write::write_all(&mut &file, &vec![0xff; PAGES * PAGE]).expect("written");
        // SAFETY: a new mapping, where the kernel has room for it.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), PAGES * PAGE, protection, flags, file.as_raw_fd(), 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Self { file, start: start as *const u8 }
    }

    fn byte(&self, at: usize) -> u8 {
        assert!(at < PAGES * PAGE);
        // SAFETY: inside the mapping, which is never taken away.
        unsafe { self.start.add(at).read_volatile() }
    }
}

/// Runs a test that is ignored otherwise.
#[track_caller]
fn in_a_process_of_its_own(test: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let output = command.args(["--exact", test, "--ignored", "--nocapture"]).output().expect("it runs");
    println!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output.status
}

#[test]
fn what_is_cut_off_reads_as_zeros() {
    assert!(in_a_process_of_its_own("child_reads_what_is_cut_off").success());
}

/// As a confined profiler does.
#[test]
#[ignore = "restricts its process: run by the test above"]
fn child_reads_what_is_cut_off() {
    confine::install(&confine::Allowed::default()).expect("installed");
    guard();
    let work = || {
        let mapped = Mapped::new(libc::PROT_READ, libc::MAP_SHARED);
        let ((), was_cut) = reading(|| assert_eq!(mapped.byte(PAGES * PAGE - 1), 0xff));
        assert!(!was_cut, "nothing was cut yet");
        mapped.file.set_len(PAGE as u64 + 10).expect("cut");
        let (bytes, was_cut) =
            reading(|| [0, PAGE + 9, PAGE + 10, 3 * PAGE + 5, 2 * PAGE].map(|at| mapped.byte(at)));
        assert_eq!((bytes, was_cut), ([0xff, 0xff, 0, 0, 0], true));
    };
    // As every thread does.
    thread::spawn(work).join().expect("zeros");
    work();
}

#[track_caller]
fn check_ends_by_sigbus(test: &str) {
    let status = in_a_process_of_its_own(test);
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status:?}");
}

#[test]
fn every_other_bus_error_ends_the_program() {
    check_ends_by_sigbus("child_reads_what_nobody_asked_it_to");
    check_ends_by_sigbus("child_reads_private_memory");
    check_ends_by_sigbus("child_reads_what_it_may_write");
    check_ends_by_sigbus("child_is_sent_the_signal");
}

#[test]
#[ignore = "ends its process: run by the test above"]
fn child_reads_what_nobody_asked_it_to() {
    guard();
    let mapped = Mapped::new(libc::PROT_READ, libc::MAP_SHARED);
    mapped.file.set_len(0).expect("cut");
    mapped.byte(PAGE);
}

/// Programs and libraries are mapped as private.
#[test]
#[ignore = "ends its process: run by the test above"]
fn child_reads_private_memory() {
    guard();
    let mapped = Mapped::new(libc::PROT_READ, libc::MAP_PRIVATE);
    mapped.file.set_len(0).expect("cut");
    reading(|| mapped.byte(PAGE));
}

#[test]
#[ignore = "ends its process: run by the test above"]
fn child_reads_what_it_may_write() {
    guard();
    let mapped = Mapped::new(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    mapped.file.set_len(0).expect("cut");
    reading(|| mapped.byte(PAGE));
}

#[test]
#[ignore = "ends its process: run by the test above"]
fn child_is_sent_the_signal() {
    guard();
    // SAFETY: takes a number.
    reading(|| unsafe { libc::raise(libc::SIGBUS) });
}

/// Functions of a library.
const FUNCTIONS: usize = 500;

/// A library with debug information, whose functions have names of the same length whatever `letter` is: so two of them have the
/// same length too, and their functions lie at the same offsets.
fn library(directory: &Path, letter: char) -> Vec<u8> {
    let function = |index| {
        format!(
            "struct {letter}_{index:04}_s {{ int x; char name[{0}]; }};\n\
             int {letter}_{index:04}(struct {letter}_{index:04}_s *s, int n)\n\
             {{ for (int i = 0; i < n; i++) s->name[i % {0}] += s->x; return n; }}\n",
            index % 50 + 1,
        )
    };
    let source: String = (0..FUNCTIONS).map(function).collect();
    fs::read(compile(directory, "library.so", &source, &["-g", "-shared", "-fPIC"])).expect("a library")
}

/// What comes of the names of a library that is changed after `delay`: as they are, or none and a sentence that says why.
struct Trial<'a> {
    directory: &'a Path,
    library: &'a [u8],
    offsets: &'a [u64],
    names: &'a [Vec<Name>],
}

impl Trial<'_> {
    /// The sentences.
    #[track_caller]
    fn run(&self, delay: Duration, change: impl FnOnce(&File)) -> Vec<String> {
        let path = self.directory.join("changing.so");
        fs::write(&path, self.library).expect("a copy");
        let file = File::options().write(true).open(&path).expect("it is ours");
        // The kernel tells two changes within a tick from each other only on some file systems.
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("it is ours");
        let stamp = Stamp::of(&file.metadata().expect("its metadata"));
        let sources = sources(ModuleSource::Mapped { path, stamp });
        // Names are looked up at the lowest priority, for the rest of a thread's life: on a busy machine the change would wait for
        // their end if that were this one.
        let names = thread::scope(|scope| {
            let names = scope.spawn(|| FileSymbolizer::new(&sources).module(0, self.offsets));
            thread::sleep(delay);
            change(&file);
            names.join().expect("it does not panic")
        });
        let sentences: Vec<String> = sources.skips().iter().map(skip_sentence).collect();
        if sentences.is_empty() {
            assert!(names == self.names, "after {delay:?} other names, and nothing said");
        } else {
            assert!(names.iter().all(Vec::is_empty), "after {delay:?} names in spite of {sentences:?}");
        }
        sentences
    }
}

fn sources(source: ModuleSource) -> Sources<'static> {
    Sources::new(vec![source], KernelSymbols::open(), Box::new(|_| Err(io::ErrorKind::NotFound.into())))
}

/// Tries it at 40 moments from before the search to after it. Returns the sentences of all.
#[track_caller]
fn sweep(change: impl Fn(&File, &[u8])) -> Vec<String> {
    let directory = TempDir::new().expect("a directory");
    let [library, other] = ['a', 'b'].map(|letter| library(directory.path(), letter));
    assert_eq!(library.len(), other.len());
    let path = directory.path().join("whole.so");
    fs::write(&path, &library).expect("a copy");
    let offsets: Vec<u64> = (0..library.len() as u64).step_by(199).collect();
    let whole = sources(ModuleSource::File(path));
    let started = Instant::now();
    let look_up = || FileSymbolizer::new(&whole).module(0, &offsets);
    let names = thread::scope(|scope| scope.spawn(look_up).join().expect("it does not panic"));
    let took = started.elapsed();
    let is_told = |name: &Name| name.function.starts_with("a_0") && name.line > 0;
    assert!(names.iter().flatten().any(is_told), "no name is told of the whole file");
    let trial = Trial { directory: directory.path(), library: &library, offsets: &offsets, names: &names };
    (0..40).flat_map(|step| trial.run(took * step / 32, |file| change(file, &other))).collect()
}

#[test]
fn a_file_that_is_cut_while_it_is_read_has_no_names() {
    let sentences = sweep(|file, _| file.set_len(5000).expect("it is ours"));
    let cut = "1 file without names: truncated while being read";
    assert!(sentences.iter().any(|sentence| sentence == cut), "none was cut in time: {sentences:?}");
}

#[test]
fn a_file_that_becomes_another_build_while_it_is_read_has_no_names() {
    use std::os::unix::fs::FileExt;
    let sentences = sweep(|file, other| file.write_all_at(other, 0).expect("it is ours"));
    let changed = "1 file without names: changed since first read";
    assert!(sentences.iter().any(|sentence| sentence == changed), "none was changed in time: {sentences:?}");
}

/// A file of which the second half is gone after so many reads.
struct Shrinking {
    bytes: Vec<u8>,
    reads: Cell<usize>,
    whole_reads: usize,
}

impl ReadAt for Shrinking {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.reads.set(self.reads.get() + 1);
        self.there().read_at(offset, bytes)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.there().len() as u64)
    }
}

impl Shrinking {
    fn there(&self) -> &[u8] {
        let is_whole = self.reads.get() <= self.whole_reads;
        &self.bytes[..if is_whole { self.bytes.len() } else { self.bytes.len() / 2 }]
    }
}

/// Whatever of a file's end is gone: an image has its parts as they were, or not at all.
#[test]
fn an_image_that_is_cut_while_it_is_read_has_nothing_that_is_wrong() {
    let bytes = fs::read(std::env::current_exe().expect("this program")).expect("its file");
    let read = |whole_reads| {
        let file = Shrinking { bytes: bytes.clone(), reads: Cell::new(0), whole_reads };
        (parse_image(&file, 64 << 20), file.reads.get())
    };
    let (whole, reads) = read(usize::MAX);
    let whole = whole.expect("an image");
    assert!(whole.tables.is_some() && reads > 5, "{reads} reads");
    for whole_reads in 0..reads {
        let Ok(image) = read(whole_reads).0 else { continue };
        assert!(image.build_id.is_empty() || image.build_id == whole.build_id);
        if let (Some(tables), Some(all)) = (&image.tables, &whole.tables) {
            assert_eq!(tables.bytes(), all.bytes(), "cut after {whole_reads} reads");
        }
    }
}
