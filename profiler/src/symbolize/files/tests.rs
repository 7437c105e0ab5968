//! The library against files of known content: a C program that `cc`, which Rust needs as its linker, builds here.

use std::fs;

use object::{Object, ObjectSymbol};

use super::*;
use crate::symbolize::fixture::Fixture;

pub fn sources(modules: Vec<ModuleSource>) -> Sources<'static> {
    Sources::new(modules, KernelSymbols::open(), Box::new(|_| Err(io::ErrorKind::NotFound.into())))
}

pub fn look_up(source: ModuleSource, file_offsets: &[u64]) -> Vec<Vec<Name>> {
    let sources = sources(vec![source]);
    FileSymbolizer::new(&sources).module(0, file_offsets)
}

#[track_caller]
fn check_function(symbol: &str, expected: &str) {
    let fixture = Fixture::build(expected.split(':').next().unwrap_or(expected), &[]);
    for names in look_up(ModuleSource::File(fixture.library()), &fixture.offsets_of(symbol)) {
        let functions: Vec<_> = names.iter().map(|name| name.function.as_str()).collect();
        assert_eq!(functions, [expected]);
    }
}

#[test]
fn a_cpp_name_is_demangled() {
    check_function("_ZN5store4openEi", "store::open(int)");
}

#[test]
fn a_rust_name_is_demangled_without_its_hash() {
    check_function("_ZN5cargo5build17h0123456789abcdefE", "cargo::build");
}

#[test]
fn a_file_without_debug_information_has_functions_and_no_lines() {
    let fixture = Fixture::build("plain", &[]);
    let names = look_up(ModuleSource::File(fixture.library()), &fixture.offsets_of("outer")[..1]);
    assert_eq!(names, [vec![Name { function: "outer".to_owned(), ..Name::default() }]]);
}

/// What each byte of `outer` is called, where it comes from the inlined function.
#[track_caller]
pub fn check_inlined(fixture: &Fixture, library: &Path) {
    let names = look_up(ModuleSource::File(library.to_owned()), &fixture.offsets_of("outer"));
    let inlined = names.iter().find(|names| names.len() == 2).expect("no byte of `outer` is inlined code");
    let seen: Vec<_> = inlined.iter().map(|name| (name.function.as_str(), name.inlined, name.line)).collect();
    assert_eq!(seen, [("inner", true, 3), ("outer", false, 4)]);
    assert!(inlined.iter().all(|name| name.file.ends_with("fixture.c")), "{inlined:?}");
}

#[test]
fn inlined_functions_come_first_each_with_its_line() {
    let fixture = Fixture::build("inlined", &["-g"]);
    check_inlined(&fixture, &fixture.library());
}

#[test]
fn a_deleted_file_that_is_still_open_is_read() {
    let fixture = Fixture::build("deleted", &["-g"]);
    let offsets = fixture.offsets_of("outer");
    let file = File::open(fixture.library()).expect("open");
    fs::remove_file(fixture.library()).expect("remove");
    let path = descriptor_path(&file);
    let names = look_up(ModuleSource::File(path), &offsets);
    assert!(names.iter().any(|names| names.len() == 2), "{names:?}");
}

#[test]
fn a_debug_link_is_followed_from_a_descriptor_to_the_directory_of_its_file() {
    let fixture = Fixture::build("debuglink", &["-g"]);
    separate(&fixture);
    let file = File::open(fixture.library()).expect("open");
    check_inlined(&fixture, &descriptor_path(&file));
}

/// Moves the debug information into `fixture.debug`, to which a link leads.
pub fn separate(fixture: &Fixture) {
    fixture.run("objcopy", &["--only-keep-debug", "fixture.so", "fixture.debug"]);
    fixture.run("objcopy", &["--strip-debug", "--add-gnu-debuglink=fixture.debug", "fixture.so"]);
}

/// What the first byte of `outer` is called when only the symbol table names it.
#[track_caller]
pub fn check_symbol_alone(fixture: &Fixture) {
    let names = look_up(ModuleSource::File(fixture.library()), &fixture.offsets_of("outer")[..1]);
    assert_eq!(names, [vec![Name { function: "outer".to_owned(), ..Name::default() }]]);
}

#[test]
fn a_debug_link_to_another_build_leaves_the_symbol_table() {
    let fixture = Fixture::build("wronglink", &["-g"]);
    fixture.run(
        "cc",
        &["-g", "-O0", "-fPIC", "-shared", "-Wl,--build-id=0x0102", "-o", "other.so", "fixture.c"],
    );
    fixture.run("objcopy", &["--only-keep-debug", "other.so", "fixture.debug"]);
    fixture.run("objcopy", &["--strip-debug", "--add-gnu-debuglink=fixture.debug", "fixture.so"]);
    check_symbol_alone(&fixture);
}

#[test]
fn without_build_ids_the_checksum_of_the_debug_link_decides() {
    let fixture = Fixture::build("checksum", &["-g", "-Wl,--build-id=none"]);
    separate(&fixture);
    check_inlined(&fixture, &fixture.library());
    fixture.run("objcopy", &["--add-section", ".other=fixture.c", "fixture.debug"]);
    check_symbol_alone(&fixture);
}

#[test]
fn an_image_in_memory_is_read() {
    let fixture = Fixture::build("bytes", &[]);
    let bytes = fs::read(fixture.library()).expect("read");
    let names = look_up(ModuleSource::Bytes(bytes.into()), &fixture.offsets_of("outer")[..1]);
    assert_eq!(names[0][0].function, "outer");
}

#[test]
fn a_file_that_is_no_elf_has_no_names() {
    let fixture = Fixture::build("noelf", &[]);
    assert_eq!(look_up(ModuleSource::File(fixture.0.join("fixture.c")), &[0, 1]), [[], []]);
}

#[test]
fn a_truncated_file_has_no_names_and_does_no_harm() {
    let fixture = Fixture::build("truncated", &["-g"]);
    let offsets = fixture.offsets_of("outer");
    let bytes = fs::read(fixture.library()).expect("read");
    for length in (0..bytes.len()).step_by(509) {
        for names in look_up(ModuleSource::Bytes(bytes[..length].into()), &offsets) {
            assert_eq!(names, [], "{length} bytes");
        }
    }
}

#[test]
fn a_module_that_is_not_in_the_list_has_no_names() {
    assert_eq!(FileSymbolizer::new(&sources(Vec::new())).module(7, &[1]), [] as [Vec<Name>; 0]);
}

#[test]
fn an_address_of_the_kernel_has_the_name_that_kallsyms_gives() {
    if let Some(why) = KernelSymbols::open().hidden() {
        eprintln!("skipped: {why:?}");
        return;
    }
    let symbols = fs::read_to_string("/proc/kallsyms").expect("read");
    let line =
        symbols.lines().find(|line| line.ends_with(" T schedule")).expect("schedule is in every kernel");
    let address = u64::from_str_radix(&line[..16], 16).expect("an address");
    let names = FileSymbolizer::new(&sources(Vec::new())).kernel(&[address + 1]);
    assert_eq!(names[0][0].function, "schedule");
}

#[test]
fn the_vdso_of_this_process_has_names() {
    let (start, bytes) = own_vdso();
    let elf = object::File::parse(&*bytes).expect("parse");
    let symbol =
        elf.dynamic_symbols().find(|symbol| symbol.name().is_ok_and(|name| name.contains("clock_gettime")));
    let symbol = symbol.expect("every vDSO has it");
    assert!(symbol.address() < start, "the vDSO is linked at a low address");
    let names = look_up(ModuleSource::Bytes(bytes.clone().into()), &[symbol.address() + 1]);
    assert!(names[0][0].function.contains("clock_gettime"), "{names:?}");
}

/// Address and content of the vDSO.
fn own_vdso() -> (u64, Vec<u8>) {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string("/proc/self/maps").expect("read");
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("a vDSO");
    let (start, end) = line.split_once(' ').expect("fields").0.split_once('-').expect("a range");
    let start = u64::from_str_radix(start, 16).expect("start");
    let end = u64::from_str_radix(end, 16).expect("end");
    let mut bytes = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").expect("open").read_exact_at(&mut bytes, start).expect("read");
    (start, bytes)
}
