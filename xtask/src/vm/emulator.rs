//! The emulator: QEMU 10 or later.
//!
//! Under the multi-threaded translation of Debian 12's 7.2, a guest with two CPUs dies when its kernel patches its own text
//! (as it does when a tracepoint is switched on) while the other CPU runs there. So where the machine's own QEMU is older,
//! that of Debian 12's backports is unpacked into the cache; its shared libraries are those of the machine's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::packages::{Packages, unpack};
use crate::command::answer;

const PROGRAM: &str = "qemu-system-x86_64";
const SUITE: &str = "bookworm-backports";
const PARTS: &[&str] = &["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];

/// A QEMU that can be trusted with the guests.
pub struct Emulator {
    program: PathBuf,
    /// Where it finds its firmware, if not where it was built for.
    firmware: Vec<PathBuf>,
    pub version: String,
}

impl Emulator {
    /// The machine's own if it is new enough, else the one of the cache.
    pub fn find(packages: &Packages, cache: &Path) -> Result<Self> {
        if let Some(own) = Self::new(PROGRAM.into(), Vec::new()).filter(Self::is_new_enough) {
            return Ok(own);
        }
        let folder = cache.join("qemu");
        let cached = || {
            let firmware = ["usr/share/qemu", "usr/share/seabios"].map(|place| folder.join(place));
            let firmware = firmware.into_iter().chain(["/usr/share/qemu".into()]).collect();
            Self::new(folder.join("usr/bin").join(PROGRAM), firmware).filter(Self::is_new_enough)
        };
        if let Some(cached) = cached() {
            return Ok(cached);
        }
        if answer(Command::new(PROGRAM).arg("--version")).is_none() {
            bail!("there is no {PROGRAM}\n  try: cargo xtask setup --tests");
        }
        install(packages, &folder).context("cannot get QEMU 10")?;
        cached().with_context(|| format!("the QEMU in {} does not run", folder.display()))
    }

    fn new(program: PathBuf, firmware: Vec<PathBuf>) -> Option<Self> {
        let version = version(&answer(Command::new(&program).arg("--version"))?)?.to_owned();
        Some(Self { program, firmware, version })
    }

    fn is_new_enough(&self) -> bool {
        self.version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok())
            .is_some_and(|major| major >= 10)
    }

    /// The program with its firmware.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for place in &self.firmware {
            command.arg("-L").arg(place);
        }
        command
    }
}

fn install(packages: &Packages, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("a folder of the cache")?;
    let scratch = TempDir::new_in(parent)?;
    for part in PARTS {
        let version = packages.version_in(part, SUITE).with_context(|| format!("no `{part}` in {SUITE}"))?;
        let (deb, _) = packages.file(&format!("{part}={version}"))?;
        unpack(&deb, scratch.path())?;
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(scratch.keep(), folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Takes `QEMU emulator version 10.0.2 (Debian …)`.
fn version(text: &str) -> Option<&str> {
    text.split_once("version ")?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_in_the_first_line() {
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\nCopyright"), Some("10.0.2"));
    }
}
