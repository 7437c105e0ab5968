//! Whether what is handed out works: in a directory with nothing else in it, and as Debian's checker sees it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::Dist;
use crate::command::{self, as_root, repository};

/// A capture whose report must be the same inside and outside.
const CAPTURE: &str = "profiler-report/tests/captures/5-sleep-fsync-compute.prof";

/// Runs it.
pub fn try_out(dist: &Dist) -> Result<()> {
    let root = tempfile::tempdir().context("cannot make a folder")?;
    fs::copy(&dist.program, root.path().join("profiler")).context("there is no program to try")?;
    fs::copy(repository().join(CAPTURE), root.path().join("a.prof")).context("no capture")?;
    let inside = |arguments: &[&str]| inside(root.path(), arguments);
    let version = inside(&["--version"])?;
    ensure!(version.contains(&dist.version), "in an empty directory it says `{version}`");
    let outside = Command::new(&dist.program).arg("report").arg(repository().join(CAPTURE)).output();
    let outside = text(&outside.context("the program does not run")?)?;
    ensure!(inside(&["report", "a.prof"])? == outside, "the report of a capture is another one inside");
    let recorded = inside(&["record", "-a", "-d", "1", "-o", "-"])?;
    ensure!(recorded.contains("Verdict: "), "a recording inside says `{recorded}`");
    eprintln!("xtask: in an empty directory the program records, and reports what it does outside");
    lint(dist)
}

/// With `/proc` and `/sys` of the machine, as in a container, and nothing else. They are mounted in a namespace of their
/// own, which ends with the program.
fn inside(root: &Path, arguments: &[&str]) -> Result<String> {
    for folder in ["proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(folder)).context("cannot make a folder")?;
    }
    let script = "mount --rbind /proc \"$0/proc\" && mount --rbind /sys \"$0/sys\" && exec chroot \"$0\" /profiler \"$@\"";
    let mut unshare = as_root("unshare", "to run the program in an empty directory")?;
    unshare.args(["--mount", "sh", "-c", script]).arg(root).args(arguments);
    text(&unshare.output().context("unshare does not run")?)
}

fn text(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the program fails: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn lint(dist: &Dist) -> Result<()> {
    let entries = fs::read_dir(&dist.folder).context("there is no folder of a dist")?.flatten();
    let packages = entries.map(|entry| entry.path());
    let mut packages = packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = packages.next().context("there is no Debian package")?;
    command::run(Command::new("lintian").args(["--fail-on", "error,warning"]).arg(package))
}
