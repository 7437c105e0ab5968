//! C programs that a test needs in a form of its own: a library that comes and goes, a binary without frame pointers.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a source text to `directory/name`, as distributions do: optimised, without frame pointers.
#[track_caller]
pub fn compile(directory: &Path, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let (text, output) = (directory.join(format!("{name}.c")), directory.join(name));
    std::fs::write(&text, source).expect("the source is written");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-fomit-frame-pointer", "-Wall", "-Werror", "-o"]).arg(&output).arg(&text).args(flags);
    let status = gcc.status().expect("gcc is there: rustc links with it");
    assert!(status.success(), "{gcc:?} failed");
    output
}
