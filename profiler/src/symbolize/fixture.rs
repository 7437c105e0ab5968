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
#ifdef MANY
#define ONE(n) int one_##n(int a, int b) { int c = a * b; sink = c; return c + n; }
#define TEN(n) ONE(n##0) ONE(n##1) ONE(n##2) ONE(n##3) ONE(n##4) ONE(n##5) ONE(n##6) ONE(n##7) ONE(n##8) ONE(n##9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9)
#endif
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
    /// Offset in the file of the first byte of the function whose name contains this, by the address that `nm`
    /// tells.
    pub fn offsets_by_nm(&self, name: &str) -> Vec<u64> {
        let output = Command::new("nm").arg("fixture.so").current_dir(&self.0).output().expect("start");
        let text = String::from_utf8(output.stdout).expect("text");
        let is_it = |line: &&str| line.split(' ').nth(2).is_some_and(|symbol| symbol.contains(name));
        let line = text.lines().find(is_it).expect("the symbol");
        let address = u64::from_str_radix(&line[..16], 16).expect("an address");
        let bytes = fs::read(self.library()).expect("read");
        let elf = object::File::parse(&*bytes).expect("parse");
        let holds = |section: &object::Section<'_, '_>| {
            section.name() == Ok(".text")
                && (section.address()..section.address() + section.size()).contains(&address)
        };
        let section = elf.sections().find(holds).expect("its section");
        vec![address - section.address() + section.file_range().expect("in the file").0]
    }

    /// Whether a section of `fixture.so` is compressed, as `readelf` shows it.
    pub fn is_compressed(&self, section: &str) -> bool {
        let output = Command::new("readelf").args(["-SW", "fixture.so"]).current_dir(&self.0).output();
        let text = String::from_utf8(output.expect("start").stdout).expect("text");
        // Name, type, address, offset, size, entry size, flags.
        let line = text.lines().find(|line| line.split(&[']', ' ']).any(|word| word == section));
        let words: Vec<_> = line.expect("the section").split_whitespace().rev().collect();
        words.get(3).is_some_and(|flags| flags.contains('C'))
    }

    /// The build id in hexadecimal, as `readelf` shows it.
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
