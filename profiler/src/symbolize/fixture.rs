//! A small program that `cc`, which Rust needs as its linker, builds for a test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};

/// Line 3 is inlined into line 4. The other two have the names that C++ and Rust compilers would give them.
pub const PROGRAM: &str = r#"
volatile int sink;
static inline __attribute__((always_inline)) void inner(void) { sink = sink * 3 + 1; }
void outer(void) { inner(); }
void cpp(void) __asm__("_ZN5store4openEi"); void cpp(void) { sink = 1; }
void rust(void) __asm__("_ZN5cargo5build17h0123456789abcdefE"); void rust(void) { sink = 2; }
"#;

/// A fresh directory with the program in `fixture.c` and, built from it, `fixture.so`; gone when dropped.
pub struct Fixture(pub PathBuf);

impl Fixture {
    pub fn build(test: &str, flags: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("profiler-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("create a directory");
        fs::write(directory.join("fixture.c"), PROGRAM).expect("write the program");
        let fixture = Self(directory);
        fixture.run("cc", &[flags, &["-O1", "-fPIC", "-shared", "-o", "fixture.so", "fixture.c"]].concat());
        fixture
    }

    pub fn run(&self, program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).current_dir(&self.0).status();
        assert!(status.expect("start").success(), "{program} {arguments:?}");
    }

    pub fn library(&self) -> PathBuf {
        self.0.join("fixture.so")
    }

    /// Offsets in the file of each byte of a function.
    pub fn offsets_of(&self, symbol: &str) -> Vec<u64> {
        let bytes = fs::read(self.library()).expect("read");
        let elf = object::File::parse(&*bytes).expect("parse");
        let symbol = elf.dynamic_symbols().find(|found| found.name() == Ok(symbol)).expect("find the symbol");
        let section = elf.section_by_index(symbol.section_index().expect("defined")).expect("its section");
        let start = symbol.address() - section.address() + section.file_range().expect("in the file").0;
        (start..start + symbol.size()).collect()
    }
}

impl Fixture {
    /// The build id in hexadecimal, as `readelf` tells it.
    pub fn build_id(&self) -> String {
        let output = Command::new("readelf").args(["-n", "fixture.so"]).current_dir(&self.0).output();
        let text = String::from_utf8(output.expect("start").stdout).expect("text");
        let (_, id) = text.split_once("Build ID: ").expect("a build id");
        id.split_whitespace().next().expect("its digits").to_owned()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
