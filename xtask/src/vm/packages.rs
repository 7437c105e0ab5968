//! Debian packages of other releases: found by a private apt, downloaded into a cache, and checked by SHA-256 at each use.
//!
//! Nothing of the system's own apt is changed, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::sources::Mirror;
use crate::command::{self, answer};

/// Lists younger than this are taken as they are.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// A private apt.
pub struct Packages {
    cache: PathBuf,
    /// Why the lists are not fresh, if they are not.
    pub stale: Option<String>,
}

/// A package file, as apt's signed lists describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    pub file: String,
    pub sha256: String,
}

impl Packages {
    /// Gets the lists ready. Where they cannot be refreshed, older ones serve.
    pub fn open(cache: &Path) -> Result<Self> {
        let mut packages = Self { cache: cache.to_owned(), stale: None };
        let folder = packages.apt();
        for name in ["lists/partial", "archives/partial", "none"] {
            fs::create_dir_all(folder.join(name))
                .with_context(|| format!("cannot make the cache in {}", folder.display()))?;
        }
        let list = Mirror::of_this_machine()?.list();
        let is_known = fs::read_to_string(folder.join("sources.list")).is_ok_and(|known| known == list);
        fs::write(folder.join("sources.list"), list)?;
        fs::write(folder.join("apt.conf"), configuration(&folder))?;
        let stamp = folder.join("refreshed");
        let age =
            fs::metadata(&stamp).and_then(|stamp| stamp.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_known && age.is_some_and(|age| age < FRESH) {
            return Ok(packages);
        }
        // A release that the mirror no longer has is an error of the whole command, but the others are refreshed.
        match command::run(packages.command("apt-get").args(["-q", "update"])) {
            Ok(()) => fs::write(&stamp, "")?,
            Err(error) => packages.stale = Some(format!("{error:#}")),
        }
        Ok(packages)
    }

    fn apt(&self) -> PathBuf {
        self.cache.join("apt")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.apt().join("apt.conf"));
        command
    }

    /// Names that begin like this.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let names = answer(self.command("apt-cache").args(["pkgnames", prefix])).unwrap_or_default();
        names.lines().map(str::to_owned).collect()
    }

    /// The newest version of a package that is in a suite.
    pub fn version_in(&self, name: &str, suite: &str) -> Option<String> {
        let table = answer(self.command("apt-cache").args(["madison", name]))?;
        version_in(&table, suite).map(str::to_owned)
    }

    /// The file of a package, `NAME` or `NAME=VERSION`: from the cache, or downloaded. Its checksum is verified.
    pub fn file(&self, package: &str) -> Result<(PathBuf, Deb)> {
        let uris = answer(self.command("apt-get").args(["download", "--print-uris", "-qq", package]));
        let uris = uris.with_context(|| format!("apt knows no package `{package}`"))?;
        let deb = uris
            .lines()
            .find_map(described)
            .with_context(|| format!("no file of `{package}` in `{uris}`"))?;
        let folder = self.cache.join("packages");
        fs::create_dir_all(&folder)?;
        let path = folder.join(&deb.file);
        if sha256(&path).is_some_and(|found| found == deb.sha256) {
            return Ok((path, deb));
        }
        // What is there by this name is damaged or of another package.
        let _ = fs::remove_file(&path);
        command::run(self.command("apt-get").args(["-q", "download", package]).current_dir(&folder))?;
        let found = sha256(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(found == deb.sha256, "{} has the SHA-256 {found}, not {}", path.display(), deb.sha256);
        Ok((path, deb))
    }
}

/// Unpacks a package into a folder.
pub fn unpack(deb: &Path, folder: &Path) -> Result<()> {
    let output =
        Command::new("dpkg-deb").arg("-x").args([deb, folder]).output().context("cannot run dpkg-deb")?;
    if !output.status.success() {
        bail!("cannot unpack {}: {}", deb.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The checksum of a file that can be read.
fn sha256(path: &Path) -> Option<String> {
    let line = answer(Command::new("sha256sum").arg(path))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Of the system's configuration only how to reach the network; everything else is in the private folder.
fn configuration(folder: &Path) -> String {
    let system = answer(Command::new("apt-config").args(["dump", "Acquire"])).unwrap_or_default();
    let network = ["Acquire::http", "Acquire::ForceIPv", "Acquire::Retries", "Acquire::Check-"];
    let kept = system.lines().filter(|line| network.iter().any(|prefix| line.starts_with(prefix)));
    let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
    let at = folder.display();
    format!(
        "{kept}Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"{at}/none\";\nDir::Etc::preferencesparts \"{at}/none\";\n\
         Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"{at}/none\";\n\
         Dir::State::lists \"{at}/lists\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{at}\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAcquire::Languages \"none\";\n\
         APT::Sandbox::User \"root\";\n"
    )
}

/// Takes the table of `apt-cache madison`: `NAME | VERSION | URI SUITE/main amd64 Packages` a line, newest first.
fn version_in<'a>(table: &'a str, suite: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let mut columns = line.split('|').map(str::trim);
        let (version, place) = (columns.nth(1)?, columns.next()?);
        place.split_whitespace().nth(1)?.starts_with(&format!("{suite}/")).then_some(version)
    })
}

/// Takes a line of `apt-get download --print-uris`: `'URI' FILE BYTES SHA256:HEX`.
fn described(line: &str) -> Option<Deb> {
    let mut words = line.split_whitespace();
    let (file, checksum) = (words.nth(1)?, words.nth(1)?);
    let sha256 = checksum.strip_prefix("SHA256:")?;
    // The name becomes a path.
    let is_plain =
        !file.contains('/') && Path::new(file).extension().is_some_and(|extension| extension == "deb");
    is_plain.then(|| Deb { file: file.into(), sha256: sha256.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_looked_up_by_its_suite() {
        let table = "qemu | 1:11.1.3+ds-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages\n\
                     qemu | 1:10.0.2+ds-2~bpo12+1 | http://m/debian bookworm-backports/main amd64 Packages\n";
        assert_eq!(version_in(table, "bookworm-backports"), Some("1:10.0.2+ds-2~bpo12+1"));
        assert_eq!(version_in(table, "bookworm"), None);
    }

    #[test]
    fn a_file_is_described_by_its_name_and_checksum() {
        let line = "'http://m/pool/l/linux_1_amd64.deb' linux_1_amd64.deb 1928 SHA256:4545cd";
        let expected = Deb { file: "linux_1_amd64.deb".into(), sha256: "4545cd".into() };
        assert_eq!(described(line), Some(expected));
        assert_eq!(described("'http://m/x.deb' ../x.deb 1 SHA256:00"), None);
        assert_eq!(described("'http://m/x.deb' x.deb 1 MD5:00"), None);
    }
}
