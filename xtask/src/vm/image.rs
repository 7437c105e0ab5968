//! The guests' disk: one ext4 file system for all kernels, with the programs, the shared libraries that they need and the
//! few tools that the tests call. The guests' writes to it are thrown away.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use profiler_tests::running::run as run_quietly;

use super::programs::Programs;
use crate::command::{self, answer};

/// Where the programs lie in the guest, as in a target directory.
pub const PROGRAMS: &str = "opt/debug";

/// Tools of this machine that the tests call; everything else is busybox's.
const TOOLS: &[&str] =
    &["sh", "setpriv", "unshare", "mount", "umount", "bpftool", "xmllint", "dmsetup", "setcap"];

/// Folders in which programs are looked for, as in the guest.
const PLACES: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Room on the disk beside its files, for what the tests write.
const ROOM_MIB: u64 = 512;

/// Makes the disk's image from the folder `work`, in which it also leaves the folder that it was made from.
pub fn build(programs: &Programs, work: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    let _ = fs::remove_dir_all(&root);
    for place in ["proc", "sys", "dev", "run", "tmp", "root", "mnt", "etc", "bin", "usr/bin", "var/tmp"] {
        fs::create_dir_all(root.join(place))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    // The live tests ask for a folder on a disk where cargo has it.
    let scratch = programs.target.join("tmp");
    fs::create_dir_all(
        root.join(scratch.strip_prefix("/").context("cargo's target directory is absolute")?),
    )?;
    let mut copied = BTreeSet::new();
    add_busybox(&root)?;
    for tool in TOOLS {
        let path = PLACES.iter().map(|place| Path::new(place).join(tool)).find(|path| path.is_file());
        let path = path.with_context(|| format!("there is no `{tool}`\n  try: cargo xtask setup --tests"))?;
        copy(&path, &root.join("usr/bin").join(tool))?;
        copied.extend(libraries(&path)?);
    }
    add_programs(programs, &root, &mut copied)?;
    for library in &copied {
        copy(library, &root.join(library.strip_prefix("/")?))?;
    }
    file_system(&root, &work.join("root.img"))
}

fn add_busybox(root: &Path) -> Result<()> {
    let busybox = Path::new("/bin/busybox");
    ensure!(busybox.is_file(), "there is no /bin/busybox\n  try: cargo xtask setup --tests");
    copy(busybox, &root.join("bin/busybox"))?;
    let applets =
        answer(Command::new(busybox).arg("--list")).context("busybox does not list its programs")?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}

/// The same programs that the tests run on this machine, without the debug information, which takes nine tenths of them.
fn add_programs(programs: &Programs, root: &Path, libraries_of: &mut BTreeSet<PathBuf>) -> Result<()> {
    let to = root.join(PROGRAMS);
    fs::create_dir_all(to.join("deps"))?;
    let debug = programs.target.join("debug");
    let workloads = command::metadata(&command::repository().join("tests/Cargo.toml"))?;
    let targets =
        workloads["packages"].as_array().into_iter().flatten().filter(|p| p["name"] == "profiler-tests");
    let targets = targets.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let bins = targets
        .filter(|target| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == "bin")));
    let names = bins.filter_map(|target| target["name"].as_str()).chain(["profiler"]);
    let mut files: Vec<_> = names.map(|name| (debug.join(name), to.join(name))).collect();
    files.extend(programs.tests.iter().map(|(name, path)| (path.clone(), to.join("deps").join(name))));
    for (from, to) in &files {
        let mut strip = Command::new("objcopy");
        strip.arg("--strip-debug").args([from, to]);
        let done = run_quietly(strip, std::time::Duration::from_secs(60))?;
        ensure!(done.status.success(), "cannot copy {}: {}", from.display(), done.stderr);
        libraries_of.extend(libraries(from)?);
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Shared libraries of a program, with the one that loads them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // A program without any is no failure of ours.
    let list = answer(Command::new("ldd").arg(program)).unwrap_or_default();
    ensure!(!list.contains("not found"), "{} lacks a shared library: {list}", program.display());
    Ok(paths(&list))
}

/// Takes `NAME => PATH (ADDRESS)` and `PATH (ADDRESS)`, one a line; the vDSO has no path.
fn paths(list: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        place.split_whitespace().next().filter(|word| word.starts_with('/')).map(PathBuf::from)
    };
    list.lines().filter_map(path).collect()
}

fn file_system(root: &Path, image: &Path) -> Result<PathBuf> {
    let du = answer(Command::new("du").args(["--summarize", "--block-size=1M"]).arg(root));
    let mib: u64 = du.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("`du` failed")?;
    let _ = fs::remove_file(image);
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]).args([root, image]);
    command::run(make.arg(format!("{}M", mib + ROOM_MIB)))?;
    Ok(image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let list = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(paths(list), expected);
        assert_eq!(paths("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}
