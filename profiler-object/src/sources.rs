//! What an object is compiled from, as one number.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Files and folders of the workspace. The last has the compiler's flags.
const SOURCES: [&str; 3] = ["profiler-ebpf", "profiler-common", "profiler-object/src/compile.rs"];

/// Which of the workspace's lines decide about the programs: the versions of what they are built on.
const DEPENDENCIES: [&str; 2] = ["aya-ebpf", "aya-log-ebpf"];

/// All files that the kernel programs are compiled from, below the workspace, in order.
///
/// # Errors
/// A folder cannot be read.
pub fn sources(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    for source in SOURCES {
        collect(workspace, Path::new(source), &mut files)
            .with_context(|| format!("cannot read {}", workspace.join(source).display()))?;
    }
    files.sort();
    Ok(files)
}

fn collect(workspace: &Path, path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !workspace.join(path).is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(workspace.join(path))? {
        collect(workspace, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

/// One number for the contents of all of them, and for the versions of their dependencies.
///
/// # Errors
/// A file cannot be read.
pub fn sources_sha256(workspace: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in sources(workspace)? {
        let content = fs::read(workspace.join(&file));
        let content = content.with_context(|| format!("cannot read {}", file.display()))?;
        // With its length, so that what moves from one file to the next changes the number.
        writeln!(hash, "{} {}", file.display(), content.len())?;
        hash.update(content);
    }
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    for line in manifest.lines().filter(|line| DEPENDENCIES.iter().any(|name| line.starts_with(name))) {
        writeln!(hash, "{line}")?;
    }
    Ok(hex(&hash.finalize()))
}

/// As `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Into a string, this cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_sha256sum() {
        // printf abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
    }

    #[test]
    fn each_change_of_a_source_changes_the_number() {
        let folder = std::env::temp_dir().join(format!("profiler-object-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
            fs::write(path, text).expect("a new file");
        };
        for source in SOURCES.iter().filter(|source| !source.contains('.')) {
            write(&format!("{source}/src/a.rs"), "a");
            write(&format!("{source}/src/b.rs"), "b");
        }
        write(SOURCES[2], "flags");
        write("Cargo.toml", "aya-ebpf = \"=1\"\naya = \"1\"\n");
        let number = || sources_sha256(&folder).expect("sources");
        let first = number();
        write("Cargo.toml", "aya-ebpf = \"=1\"\naya = \"2\"\n");
        assert_eq!(number(), first, "what the kernel programs do not use counts");
        let mut seen = vec![first];
        let changes = [
            ("Cargo.toml", "aya-ebpf = \"=2\"\n"),
            ("profiler-ebpf/src/a.rs", "ab"),
            ("profiler-ebpf/src/b.rs", ""),
            ("profiler-common/src/c.rs", ""),
            (SOURCES[2], "other flags"),
        ];
        for (path, text) in changes {
            write(path, text);
            let next = number();
            assert!(!seen.contains(&next), "{path}");
            seen.push(next);
        }
        fs::remove_dir_all(folder).expect("the folder goes");
    }
}
