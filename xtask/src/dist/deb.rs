//! The Debian package, by `dpkg-deb`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Dist, files};
use crate::command::{self, repository};

/// What the package says where lintian would complain, and why that is so.
const OVERRIDES: &str = "\
# One package for every release: with the glibc of this one it would not run on those before it.
profiler: statically-linked-binary [usr/bin/profiler]
profiler: shared-library-lacks-prerequisites [usr/bin/profiler]
# The project has no mail address: reports go where its source is.
profiler: bogus-mail-host Maintainer *
profiler: bogus-mail-host-in-debian-changelog *
# It comes from the project itself, where no bug report asks for it.
profiler: initial-upload-closes-no-bugs [usr/share/doc/profiler/changelog.gz:1]
";

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: profiler

Files: *
Copyright: the authors of profiler
License: MIT or Apache-2.0

License: Apache-2.0
 On Debian systems, the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

License: MIT
";

/// Builds it. Returns where it is.
pub fn package(dist: &Dist) -> Result<PathBuf> {
    let architecture = if dist.architecture == "aarch64" { "arm64" } else { "amd64" };
    let root = dist.folder.join("deb");
    files::put(&dist.program, &root, "usr/bin/profiler", files::PROGRAM)?;
    for (path, text) in files::generated(&dist.program)? {
        let path = format!("usr/share/{path}");
        files::write(&root, &path, &text)?;
        if path.contains("/man/") {
            compress(&root.join(path))?;
        }
    }
    documents(dist, &root)?;
    files::write(&root, "DEBIAN/control", &control(dist, architecture, installed_kib(&root)?))?;
    let package = dist.folder.join(format!("profiler_{}_{architecture}.deb", dist.version));
    let mut build = Command::new("dpkg-deb");
    build.env("SOURCE_DATE_EPOCH", files::date()?).args(["--root-owner-group", "-Zxz", "--build"]);
    command::run(build.arg(&root).arg(&package))?;
    Ok(package)
}

fn documents(dist: &Dist, root: &Path) -> Result<()> {
    let mit = fs::read_to_string(repository().join("LICENSE-MIT")).context("no licence")?;
    let indented =
        mit.lines().map(|line| if line.trim().is_empty() { " .".into() } else { format!(" {line}") });
    let copyright = COPYRIGHT.to_owned() + &indented.collect::<Vec<_>>().join("\n") + "\n";
    files::write(root, "usr/share/doc/profiler/copyright", &copyright)?;
    let mut date = Command::new("date");
    date.args(["-u", "-R", "-d"]).arg(format!("@{}", files::date()?));
    let date = command::answer(&mut date).context("date does not run")?;
    let changelog = format!(
        "profiler ({}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n -- {MAINTAINER}  {date}\n",
        dist.version
    );
    files::write(root, "usr/share/doc/profiler/changelog", &changelog)?;
    compress(&root.join("usr/share/doc/profiler/changelog"))?;
    files::write(root, "usr/share/lintian/overrides/profiler", OVERRIDES)
}

const MAINTAINER: &str = "The authors of profiler <profiler@localhost>";

fn control(dist: &Dist, architecture: &str, kib: u64) -> String {
    format!(
        "Package: profiler\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {kib}\nSection: utils\nPriority: optional\n\
         Description: shows where the wall-clock time of a process goes, and why\n \
         An exact ledger of the scheduler's events covers every thread: on a CPU,\n \
         waiting for one, or blocked and on what. Sampled stacks show which code\n \
         the time belongs to, and each report starts with the bottleneck, how\n \
         certain that is, and what speaks against it. By kernel programs (eBPF):\n \
         Linux 5.10 or later with BTF.\n",
        dist.version
    )
}

fn compress(file: &Path) -> Result<()> {
    command::run(Command::new("gzip").arg("-9nf").arg(file))
}

fn installed_kib(root: &Path) -> Result<u64> {
    let mut du = Command::new("du");
    let answer = command::answer(du.args(["-sk", "--apparent-size"]).arg(root)).context("du does not run")?;
    answer.split_whitespace().next().and_then(|kib| kib.parse().ok()).context("du prints no number")
}
