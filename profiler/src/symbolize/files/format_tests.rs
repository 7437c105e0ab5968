//! Each way in which debug information and symbols come, and what a hostile file could make of it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::tests::{check_inlined, check_symbol_alone, look_up, separate, sources};
use super::*;
use crate::symbolize::fixture::Fixture;
use profiler_report::recording::SkipCause;

#[track_caller]
fn check_compressed(kind: &str) {
    let fixture = Fixture::build(kind, &["-g", "-DMANY"]);
    let flag = format!("--compress-debug-sections={kind}");
    fixture.run("objcopy", &[&flag, "fixture.so"]);
    assert!(fixture.is_compressed(".debug_info"), "there is nothing to test");
    check_inlined(&fixture, &fixture.library());
}

#[test]
fn debug_information_compressed_by_zlib_is_read() {
    check_compressed("zlib");
}

#[test]
fn debug_information_compressed_by_zstd_is_read() {
    let help = Command::new("objcopy").arg("--help").output().expect("start");
    if !String::from_utf8_lossy(&help.stdout).contains("zstd") {
        eprintln!("skipped: this objcopy cannot compress by zstd");
        return;
    }
    check_compressed("zstd");
}

#[test]
fn a_compressed_section_that_claims_to_be_huge_costs_only_the_lines() {
    let fixture = Fixture::build("claim", &["-g", "-DMANY"]);
    fixture.run("objcopy", &["--compress-debug-sections=zlib", "fixture.so"]);
    let mut bytes = std::fs::read(fixture.library()).expect("read");
    // The compression header of each section: type 1 (zlib), 4 reserved bytes, size, alignment.
    let header = |at: usize, bytes: &[u8]| {
        bytes[at..].starts_with(&[1, 0, 0, 0, 0, 0, 0, 0])
            && bytes[at + 16..].starts_with(&[1, 0, 0, 0, 0, 0, 0, 0])
    };
    let places: Vec<usize> = (0..bytes.len() - 24).filter(|&at| header(at, &bytes)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 8..at + 16].copy_from_slice(&(1_u64 << 45).to_le_bytes());
    }
    std::fs::write(fixture.library(), bytes).expect("write");
    let sources = sources(vec![ModuleSource::File(fixture.library())]);
    let names = FileSymbolizer::new(&sources).module(0, &fixture.offsets_of("outer")[..1]);
    assert_eq!(names[0][0].function, "outer");
    assert_eq!(names[0][0].line, 0);
    assert_eq!(
        (sources.skips()[0].cause, sources.skips()[0].detail.as_str()),
        (SkipCause::DebugInfoTooLarge, "192 MiB")
    );
}

#[test]
fn separate_debug_information_is_found_by_build_id() {
    let fixture = Fixture::build("buildid", &["-g"]);
    fixture.run("objcopy", &["--only-keep-debug", "fixture.so", "fixture.debug"]);
    fixture.run("objcopy", &["--strip-debug", "fixture.so"]);
    let id = fixture.build_id();
    let directory = fixture.0.join("debug/.build-id").join(&id[..2]);
    std::fs::create_dir_all(&directory).expect("create");
    std::fs::rename(fixture.0.join("fixture.debug"), directory.join(format!("{}.debug", &id[2..])))
        .expect("move");
    let mut sources = sources(vec![ModuleSource::File(fixture.library())]);
    sources.debug_files = DebugFiles::below(&fixture.0.join("debug"));
    let names = FileSymbolizer::new(&sources).module(0, &fixture.offsets_of("outer"));
    assert!(names.iter().any(|names| names.len() == 2 && names[0].line == 3), "{names:?}");
}

/// As Fedora's packages have it: no `.symtab`, but one compressed by xz in `.gnu_debugdata`.
#[test]
fn mini_debug_information_names_functions_that_are_not_exported() {
    if Command::new("xz").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `xz`");
        return;
    }
    let fixture = Fixture::build("mini", &["-fvisibility=hidden"]);
    // The truth, while there is a symbol table.
    let offsets = fixture.offsets_by_nm("outer");
    fixture.run("objcopy", &["--only-keep-debug", "fixture.so", "mini"]);
    fixture.run("xz", &["mini"]);
    fixture.run("objcopy", &["--strip-all", "fixture.so"]);
    assert_eq!(look_up(ModuleSource::File(fixture.library()), &offsets), [[]], "there is nothing to test");
    fixture.run("objcopy", &["--add-section", ".gnu_debugdata=mini.xz", "fixture.so"]);
    let names = look_up(ModuleSource::File(fixture.library()), &offsets);
    assert_eq!(names[0][0].function, "outer");
}

#[test]
fn mini_debug_information_that_unpacks_without_end_is_not_read() {
    if Command::new("xz").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `xz`");
        return;
    }
    let fixture = Fixture::build("bomb", &["-fvisibility=hidden"]);
    let offsets = fixture.offsets_by_nm("outer");
    fixture.run("sh", &["-c", "head -c 80M /dev/zero | xz > bomb.xz"]);
    fixture.run("objcopy", &["--strip-all", "fixture.so"]);
    fixture.run("objcopy", &["--add-section", ".gnu_debugdata=bomb.xz", "fixture.so"]);
    let file = File::open(fixture.library()).expect("open");
    assert!(!ElfFile::read(&file).expect("an ELF file").symbols);
    assert_eq!(look_up(ModuleSource::File(fixture.library()), &offsets), [[]]);
}

/// The lines are in the program, the functions in its symbol table; what is inlined is in a file that is not read.
#[test]
fn split_dwarf_has_functions_and_lines_without_what_is_inlined() {
    let fixture = Fixture::build("split", &["-g", "-gsplit-dwarf"]);
    let names = look_up(ModuleSource::File(fixture.library()), &fixture.offsets_of("outer"));
    assert!(names.iter().all(|names| names.len() == 1 && names[0].function == "outer"), "{names:?}");
    assert!(names.iter().any(|names| names[0].line == 3), "{names:?}");
}

/// The library would open what the link names, and wait for a FIFO for ever.
#[test]
fn a_link_from_debug_information_to_a_fifo_is_not_followed() {
    let fixture = Fixture::build("fifo", &["-g"]);
    fixture.run("mkfifo", &["trap"]);
    let path = fixture.0.join("trap").to_str().expect("a plain path").to_owned();
    std::fs::write(fixture.0.join("link"), [path.as_bytes(), &[0; 21]].concat()).expect("write");
    fixture.run("objcopy", &["--add-section", ".gnu_debugaltlink=link", "fixture.so"]);
    let start = Instant::now();
    check_symbol_alone(&fixture);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_debug_link_that_leads_to_a_fifo_is_not_followed() {
    let fixture = Fixture::build("fifolink", &["-g"]);
    separate(&fixture);
    fixture.run("rm", &["fixture.debug"]);
    fixture.run("mkfifo", &["fixture.debug"]);
    check_symbol_alone(&fixture);
}

/// The expected name is that of `nm -C`.
#[test]
fn a_v0_name_of_rustc_is_demangled() {
    if Command::new("rustc").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `rustc`");
        return;
    }
    let fixture = Fixture::build("rust", &[]);
    let program = "pub mod shop { pub struct Cart<T>(pub T); impl<T: Copy> Cart<T> {\n\
                   #[inline(never)] pub fn total(&self) -> T { self.0 } } }\n\
                   #[no_mangle] pub extern \"C\" fn start(x: u64) -> u64 { shop::Cart(x).total() }\n";
    std::fs::write(fixture.0.join("fixture.rs"), program).expect("write");
    let flags = "--crate-type=cdylib -Copt-level=0 -Csymbol-mangling-version=v0 -o fixture.so fixture.rs";
    fixture.run("rustc", &flags.split(' ').collect::<Vec<_>>());
    let offset = fixture.offsets_by_nm("4Cart");
    let names = look_up(ModuleSource::File(fixture.library()), &offset);
    assert_eq!(names[0][0].function, "<fixture::shop::Cart<u64>>::total");
}

#[test]
fn every_line_is_that_of_addr2line() {
    let fixture = Fixture::build("addr2line", &["-g", "-DMANY"]);
    for function in ["outer", "one_42", "one_97"] {
        let offset = fixture.offsets_by_nm(function)[0];
        let output = Command::new("addr2line")
            .args(["-f", "-e", "fixture.so", &format!("{offset:x}")])
            .current_dir(&fixture.0)
            .output()
            .expect("start");
        let output = String::from_utf8(output.stdout).expect("text");
        let names = look_up(ModuleSource::File(fixture.library()), &[offset]);
        let seen = format!("{}\n{}:{}\n", names[0][0].function, names[0][0].file, names[0][0].line);
        assert_eq!(seen, output);
    }
}
