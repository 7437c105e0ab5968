//! `cargo xtask dist`: what is handed out: a static program, its manual and completions, a tarball, a Debian package, and
//! their checksums.
//!
//! The program is linked with glibc's static libraries, so that it runs on any distribution and in an empty directory. What
//! that loses: glibc finds the name of a host (for debuginfod servers) by modules that it loads, and a static program can
//! load only those of the very same glibc; elsewhere it asks DNS as `/etc/resolv.conf` says, and nothing but DNS.

mod deb;
mod files;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, cargo, repository, target_directory};
use crate::setup;

/// Bytes of the program at most: it is downloaded for one look.
const MOST_BYTES: u64 = 15 * 1000 * 1000;

#[derive(clap::Args)]
pub struct Args {
    /// Only what `cargo xtask dist` has built before is tried
    #[arg(long)]
    check: bool,
}

/// What is handed out.
struct Dist {
    version: String,
    /// As Rust calls the processor.
    architecture: &'static str,
    program: PathBuf,
    folder: PathBuf,
}

pub fn dist(args: &Args) -> Result<()> {
    setup::setup(setup::Wanted { dist: true, ..Default::default() })?;
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = target_directory(&repository().join("Cargo.toml"))?;
    let dist = Dist {
        version: version()?,
        architecture: std::env::consts::ARCH,
        program: folder.join(&target).join("dist/profiler"),
        folder: folder.join("dist"),
    };
    if args.check {
        return trial::try_out(&dist);
    }
    let mut build = cargo(["build", "--profile", "dist", "--package", "profiler", "--target", &target]);
    // With `--target`, the flags are for the program alone, not for build scripts.
    build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("PROFILER_COMMIT", files::commit()?);
    command::run(&mut build)?;
    if dist.folder.exists() {
        fs::remove_dir_all(&dist.folder).context("cannot remove the folder of an earlier dist")?;
    }
    let bytes = fs::metadata(&dist.program).context("there is no program")?.len();
    anyhow::ensure!(bytes <= MOST_BYTES, "the program has {bytes} bytes, more than {MOST_BYTES}");
    let tarball = dist.tarball()?;
    let package = deb::package(&dist)?;
    let sums = checksums(&dist.folder, &[&tarball, &package])?;
    trial::try_out(&dist)?;
    for file in [&tarball, &package, &sums] {
        let bytes = fs::metadata(file).map_or(0, |metadata| metadata.len());
        eprintln!("xtask: {} ({bytes} bytes)", file.display());
    }
    Ok(())
}

fn version() -> Result<String> {
    let metadata = command::metadata(&repository().join("Cargo.toml"))?;
    let packages = metadata["packages"].as_array().context("there are no packages")?;
    let profiler = packages.iter().find(|package| package["name"] == "profiler");
    let version = profiler.and_then(|package| package["version"].as_str());
    Ok(version.context("the package has no version")?.to_owned())
}

impl Dist {
    /// `profiler-0.1.0-x86_64-linux.tar.gz`, with all in one folder. The same bytes for the same program.
    fn tarball(&self) -> Result<PathBuf> {
        let name = format!("profiler-{}-{}-linux", self.version, self.architecture);
        let root = self.folder.join(&name);
        files::put(&self.program, &root, "profiler", files::PROGRAM)?;
        for (path, text) in files::generated(&self.program)? {
            files::write(&root, path, &text)?;
        }
        for document in files::DOCUMENTS {
            files::put(&repository().join(document), &root, document, files::TEXT)?;
        }
        let tarball = self.folder.join(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.current_dir(&self.folder).args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.arg(format!("--mtime=@{}", files::date()?)).args(["--use-compress-program", "gzip -9n"]);
        command::run(tar.arg("-cf").arg(&tarball).arg(&name))?;
        Ok(tarball)
    }
}

/// As `sha256sum -c` reads them.
fn checksums(folder: &Path, files: &[&PathBuf]) -> Result<PathBuf> {
    let mut sum = Command::new("sha256sum");
    sum.current_dir(folder).args(files.iter().filter_map(|file| file.file_name()));
    let sums = command::answer(&mut sum).context("sha256sum does not run")?;
    let path = folder.join("SHA256SUMS");
    fs::write(&path, sums + "\n").context("cannot write the checksums")?;
    Ok(path)
}
