//! The files beside the program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, repository};

/// Permissions.
pub const PROGRAM: u32 = 0o755;
pub const TEXT: u32 = 0o644;

/// Documents of the repository that go with it.
pub const DOCUMENTS: &[&str] =
    &["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "packaging/Containerfile"];

/// Where each manual page and each shell's completions are put below `usr/share`, and how the program is asked for them.
pub const GENERATED: &[(&str, &[&str])] = &[
    ("man/man1/profiler.1", &["man"]),
    ("man/man1/profiler-record.1", &["man", "record"]),
    ("man/man1/profiler-report.1", &["man", "report"]),
    ("man/man1/profiler-io.1", &["man", "io"]),
    ("man/man1/profiler-doctor.1", &["man", "doctor"]),
    ("bash-completion/completions/profiler", &["completions", "bash"]),
    ("zsh/vendor-completions/_profiler", &["completions", "zsh"]),
    ("fish/vendor_completions.d/profiler.fish", &["completions", "fish"]),
];

/// What the program prints of itself.
pub fn generated(program: &Path) -> Result<Vec<(&'static str, String)>> {
    let text = |arguments: &[&str]| {
        let text = command::answer(Command::new(program).args(arguments));
        text.with_context(|| format!("the program does not print `{}`", arguments.join(" ")))
    };
    GENERATED.iter().map(|&(path, arguments)| Ok((path, text(arguments)? + "\n"))).collect()
}

/// The date of all files: that of the last commit, in seconds since 1970.
pub fn date() -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(repository()).args(["log", "-1", "--format=%ct"]);
    command::answer(&mut git).context("git does not know the date of the last commit")
}

/// The commit that is built, marked where the source has changes that are in none.
pub fn commit() -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(repository()).args(["describe", "--always", "--dirty", "--abbrev=12"]);
    command::answer(&mut git).context("git does not know the commit")
}

/// Copies a file to `path` below `root`.
pub fn put(from: &Path, root: &Path, path: &str, mode: u32) -> Result<()> {
    let to = folder_of(root, path)?;
    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(mode)).context("cannot set permissions")
}

/// Writes a text to `path` below `root`.
pub fn write(root: &Path, path: &str, text: &str) -> Result<()> {
    let to = folder_of(root, path)?;
    fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(TEXT)).context("cannot set permissions")
}

fn folder_of(root: &Path, path: &str) -> Result<std::path::PathBuf> {
    let to = root.join(path);
    fs::create_dir_all(to.parent().unwrap_or(root)).context("cannot make a folder")?;
    Ok(to)
}
