//! Faults of symbol files: they are replaced, vanish, change, are cut or are something else. Names are right or missing, and nothing waits.
//!
//! Each library here has one function of its own, whose name tells the build: `spin_in_old` is what runs, `spin_in_new` never does.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use profiler_tests::compile::compile;
use profiler_tests::harness::Live;
use profiler_tests::report::{Report, check_closed};
use profiler_tests::running::{Running, Workload, run, wait_until};
use profiler_tests::workload::Scatter;

const SOON: Duration = Duration::from_secs(20);
const CHANGED: &str = "1 file without names: changed since first read";

/// A library, with debug information, that uses the CPU for some microseconds. Two builds differ by their names alone.
#[track_caller]
fn library(live: &Live, build: &str, file: &str) -> PathBuf {
    let source = format!(
        "volatile unsigned long sink;
         static __attribute__((noinline)) void spin_in_{build}(void) {{ for (int i = 0; i < 20000; i++) sink = sink * 3 + 1; }}
         void work(void) {{ spin_in_{build}(); }}\n"
    );
    compile(live.scratch.path(), file, &source, &["-g", "-shared", "-fPIC"])
}

/// Starts a program that does nothing but call the old build of `libwork.so`.
#[track_caller]
fn start(live: &Live) -> (Workload, PathBuf) {
    let library = library(live, "old", "libwork.so");
    let source = "#include <stdio.h>
         #include <unistd.h>
         void work(void);
         int main(void) { printf(\"ready %d\\n\", getpid()); fflush(stdout); alarm(60); for (;;) work(); }";
    let host = compile(live.scratch.path(), "host", source, &[library.to_str().expect("plain")]);
    (Workload::start_command(Command::new(host)).expect("it starts"), library)
}

/// Names of all frames on the CPU.
fn frames(report: &Report) -> Vec<String> {
    let stacks = report.0["stacks"]["on_cpu"].as_array().expect("stacks").iter();
    let frames = stacks.flat_map(|stack| stack["frames"].as_array().expect("frames"));
    frames.map(|frame| frame.as_str().expect("a name").to_owned()).collect()
}

/// The function has its name, and no other name is there.
#[track_caller]
fn check_named(report: &Report) {
    let frames = frames(report);
    assert!(frames.iter().any(|frame| frame == "spin_in_old"), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame == "spin_in_new"), "{frames:?}");
}

/// The function is told by its place in the file.
#[track_caller]
fn check_nameless(report: &Report) {
    let frames = frames(report);
    assert!(frames.iter().any(|frame| frame.starts_with("[libwork.so+0x")), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.starts_with("spin_in_") || frame == "work"), "{frames:?}");
}

#[track_caller]
fn check_skipped(report: &Report, sentence: &str) {
    let skipped = report.0["quality"]["skipped"].as_array().expect("a list");
    assert!(skipped.iter().any(|skipped| skipped["sentence"] == sentence), "no `{sentence}` in {skipped:?}");
}

/// Records the program, and changes its library meanwhile.
#[track_caller]
fn record_and(live: &Live, change: impl FnOnce(&Path)) -> Report {
    let (workload, library) = start(live);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "1"]);
    thread::sleep(Duration::from_millis(400));
    change(&library);
    let report = live.finish_recording(recording);
    check_closed(&report);
    report
}

/// Puts something else in the place of a file.
fn replace(path: &Path, what: &str) {
    fs::remove_file(path).expect("it is there");
    match what {
        "FIFO" => assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success()),
        "directory" => fs::create_dir(path).expect("a directory"),
        "loop" => symlink(path, path).expect("a link"),
        other => unreachable!("{other}"),
    }
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }.expect("it is there");
}

#[test]
fn a_library_that_is_replaced_by_another_build_keeps_its_names() {
    let Some(live) = Live::start() else { return };
    let new = library(&live, "new", "new.so");
    check_named(&record_and(&live, |library| fs::rename(new, library).expect("the update")));
}

#[test]
fn a_library_that_is_deleted_keeps_its_names() {
    let Some(live) = Live::start() else { return };
    check_named(&record_and(&live, |library| fs::remove_file(library).expect("it is there")));
}

/// Before the recording, so that the path is all that leads to a file; the mapping itself leads to the old one for those who
/// may follow it. Those who may not see no names, and wait for nothing.
#[test]
fn what_stands_in_the_place_of_a_library_is_neither_waited_for_nor_read() {
    let Some(live) = Live::start() else { return };
    for what in ["FIFO", "directory", "loop"] {
        let (workload, library) = start(&live);
        replace(&library, what);
        let pid = workload.pid().to_string();
        check_named(&live.record(&["-p", &pid, "-d", "700ms"]));
        check_nameless(&record_without_privileges(&live, &pid));
        remove(&library);
    }
    let (workload, path) = start(&live);
    fs::rename(library(&live, "new", "new.so"), path).expect("the update");
    check_nameless(&record_without_privileges(&live, &workload.pid().to_string()));
}

/// Without those that let a process follow mappings to their files.
#[track_caller]
fn record_without_privileges(live: &Live, pid: &str) -> Report {
    let json = live.path("out.json");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-sys_admin,-checkpoint_restore"]).arg(live.profiler_path());
    command.args(["record", "-q", "--max-overhead", "100%", "-d", "700ms", "-p", pid, "-o"]).arg(json);
    let finished = run(command, SOON).expect("profiler ends");
    assert!(finished.status.success(), "{finished:?}");
    live.report()
}

/// The process goes on with the code that it has. What the file says of it by now was never true of the samples from before.
#[test]
fn a_library_that_becomes_another_build_in_its_place_has_no_names() {
    let Some(live) = Live::start() else { return };
    // A name of the same length, so that the file has that too.
    let new = fs::read(library(&live, "new", "libnext.so")).expect("the other build");
    let report = record_and(&live, |library| {
        assert_eq!(new.len() as u64, fs::metadata(library).expect("the library").len());
        let file = File::options().write(true).open(library).expect("it is ours");
        file.write_all_at(&new, 0).expect("written");
    });
    check_nameless(&report);
    check_skipped(&report, CHANGED);
}

#[test]
fn a_library_whose_debug_information_is_overwritten_has_no_names() {
    let Some(live) = Live::start() else { return };
    let mut random = Scatter::seeded();
    let report = record_and(&live, |library| {
        let (from, to) = debug_part(library);
        let garbage: Vec<u8> = (from..to).map(|_| random.below(256) as u8).collect();
        let file = File::options().write(true).open(library).expect("it is ours");
        file.write_all_at(&garbage, from).expect("written");
    });
    check_nameless(&report);
    check_skipped(&report, CHANGED);
}

#[test]
fn a_library_whose_debug_information_is_cut_has_no_names() {
    let Some(live) = Live::start() else { return };
    let report = record_and(&live, |library| {
        let (from, to) = debug_part(library);
        let file = File::options().write(true).open(library).expect("it is ours");
        file.set_len(from + (to - from) / 2).expect("cut");
    });
    check_nameless(&report);
    check_skipped(&report, CHANGED);
}

/// The part of a file that no process needs: behind all that is mapped, by the program headers.
fn debug_part(library: &Path) -> (u64, u64) {
    let bytes = fs::read(library).expect("the library");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    // e_phoff and e_phnum of the file's header; p_offset and p_filesz of each of its segments, of 56 bytes.
    let segments = (0..usize::from(bytes[56])).map(|index| number(32) as usize + index * 56);
    let mapped = segments.map(|at| number(at + 8) + number(at + 32)).max().expect("segments");
    // To the end of its last page, which is mapped as a whole.
    (mapped.next_multiple_of(4096), bytes.len() as u64)
}

/// All of it: the process dies, and is reported up to there.
#[test]
fn a_process_that_dies_of_its_library_is_reported_up_to_its_end() {
    let Some(live) = Live::start() else { return };
    let (workload, library) = start(&live);
    let recording = live.start_recording(&["-p", &workload.pid().to_string(), "-d", "20"]);
    thread::sleep(Duration::from_millis(500));
    File::options().write(true).open(library).and_then(|file| file.set_len(0)).expect("cut");
    let report = live.finish_recording(recording);
    check_closed(&report);
    assert!(report.elapsed() < 5.0, "it has ended: {}", report.elapsed());
    check_nameless(&report);
    check_skipped(&report, CHANGED);
}

/// A debug link says a name; what has it may be anything. The symbol table is still there.
#[test]
fn what_a_debug_link_leads_to_is_neither_waited_for_nor_read() {
    let Some(live) = Live::start() else { return };
    let (workload, library) = start(&live);
    let debug = live.path("libwork.debug");
    fs::copy(&library, &debug).expect("a copy");
    let stripped = live.path("stripped.so");
    let mut objcopy = Command::new("objcopy");
    objcopy
        .arg("--strip-debug")
        .arg(format!("--add-gnu-debuglink={}", debug.display()))
        .args([&library, &stripped]);
    assert!(objcopy.status().expect("binutils").success());
    drop(workload);
    fs::rename(stripped, &library).expect("the stripped library");
    let workload = Workload::start_command(Command::new(live.path("host"))).expect("it starts");
    for what in ["FIFO", "directory", "loop"] {
        replace(&debug, what);
        check_named(&live.record(&["-p", &workload.pid().to_string(), "-d", "700ms"]));
        remove(&debug);
        fs::write(&debug, "").expect("a file");
    }
}

/// Half a gigabyte of debug information, which takes some time to look through, is cut in the midst of that.
#[test]
fn a_program_that_is_cut_while_its_names_are_looked_up_has_none() {
    let Some(live) = Live::start() else { return };
    let directory = std::env::temp_dir().join("profiler-big-program");
    fs::create_dir_all(&directory).expect("a directory");
    let whole = profiler_tests::big_program::build(&directory).expect("the program is built");
    let program = live.path("big");
    fs::copy(whole, &program).expect("a copy");
    let json = live.path("out.json").to_string_lossy().into_owned();
    let command = live.profiler(&["record", "-q", "-o", &json, "--", &program.to_string_lossy(), "2"]);
    let profiler = Running::start(command).expect("profiler starts");
    wait_until("names are looked up", SOON, || has_mapped(profiler.pid(), &program)).expect("its mapping");
    thread::sleep(Duration::from_millis(50));
    // Its process is gone, and with it what keeps a program from being written to.
    File::options().write(true).open(&program).and_then(|file| file.set_len(1 << 20)).expect("cut");
    let finished = profiler.finish(SOON).expect("profiler ends");
    assert!(finished.status.success() && !finished.stderr.contains("panicked"), "{finished:?}");
    let report = live.report();
    check_closed(&report);
    check_skipped(&report, "1 file without names: truncated while being read");
    let frames = frames(&report);
    assert!(frames.iter().any(|frame| frame.starts_with("[big+0x")), "{frames:?}");
    assert!(!frames.iter().any(|frame| frame.starts_with("work_") || frame == "main"), "{frames:?}");
}

/// Whether a process reads a file by a mapping.
fn has_mapped(pid: u32, file: &Path) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().any(|line| line.contains("r--s") && line.ends_with(&*file.to_string_lossy()))
}

/// A program that makes a function at run time (`inc rax; dec rdi; jnz` back to it; `ret`) and does nothing but call it. It prints where.
#[cfg(target_arch = "x86_64")]
const COMPILER: &str = r#"#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
  static const unsigned char code[] = { 0x48, 0xff, 0xc0, 0x48, 0xff, 0xcf, 0x75, 0xf8, 0xc3 };
  void *made = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(made, code, sizeof code);
  char name[64];
  sprintf(name, "/tmp/perf-%d.address", getpid());
  FILE *address = fopen(name, "w");
  fprintf(address, "%lx", (unsigned long)made);
  fclose(address);
  printf("ready %d\n", getpid());
  fflush(stdout);
  alarm(60);
  for (;;) ((void (*)(long))made)(100000);
}"#;

/// What a runtime says of its code may be anything: it is waited for no longer, and read no further, than a stated bound.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_perf_map_may_be_anything() {
    let Some(live) = Live::start() else { return };
    let program = compile(live.scratch.path(), "compiler", COMPILER, &[]);
    let workload = Workload::start_command(Command::new(program)).expect("it starts");
    let pid = workload.pid().to_string();
    let at = |suffix| PathBuf::from(format!("/tmp/perf-{pid}.{suffix}"));
    let (map, address) = (at("map"), fs::read_to_string(at("address")).expect("an address"));
    remove(&at("address"));
    let line = format!("{address} 9 made_at_run_time\n");
    let check = |is_named: bool, make: &dyn Fn()| {
        make();
        let report = live.record(&["-p", &pid, "-d", "700ms"]);
        remove(&map);
        let frames = frames(&report);
        assert_eq!(frames.iter().any(|frame| frame == "made_at_run_time"), is_named, "{frames:?}");
        // Without the three digits that tell the place in the page.
        let page = format!("[unknown 0x{}", &address[..address.len() - 3]);
        assert_eq!(frames.iter().any(|frame| frame.starts_with(&page)), !is_named, "{frames:?}");
    };
    check(true, &|| fs::write(&map, &line).expect("a map"));
    for what in ["FIFO", "directory", "loop"] {
        check(false, &|| {
            fs::write(&map, "").expect("a file");
            replace(&map, what);
        });
    }
    let mut random = Scatter::seeded();
    let garbage: Vec<u8> = (0..1 << 20).map(|_| random.below(256) as u8).collect();
    check(false, &|| fs::write(&map, &garbage).expect("a map"));
    // 8 GiB of zeros, which take no room, in one line behind that which counts.
    check(true, &|| {
        let file = File::create(&map).expect("a map");
        file.write_all_at(line.as_bytes(), 0).and_then(|()| file.set_len(8 << 30)).expect("a hole");
    });
}
