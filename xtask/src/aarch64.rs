//! `cargo xtask aarch64`: compiles everything for aarch64, and runs the unit tests in an emulator of that processor.
//!
//! The emulator runs programs, not a kernel: nothing is recorded. The cross compiler's own standard library comes from
//! where the compiler does: from Debian, unpacked into the target directory (installing it would bring dozens of arm64
//! packages), or from rustup.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::command::{self, answer, cargo, repository, target_directory};
use crate::setup;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Tests that would look at the emulator or at this machine's kernel instead of at an aarch64 one.
const NOT_EMULATED: &[&str] = &[
    // Their child is a program of this machine, whose system calls have other numbers.
    "a_deleted_program_is_still_read",
    "a_replaced_program_is_not_read_in_place_of_the_mapped_one",
    // The emulator has no vDSO.
    "the_vdso_of_this_process_has_names",
    // It is too slow to be on time.
    "ticks_come_once_a_period_and_late_ones_are_one",
];

#[derive(clap::Args)]
pub struct Args {
    /// Only compile
    #[arg(long)]
    check: bool,
}

/// Sets up, compiles, tests.
pub fn aarch64(args: &Args) -> Result<ExitCode> {
    setup::setup(setup::Wanted { cross: true, ..Default::default() })?;
    let compiler = Compiler::find()?;
    let all = ["--workspace", "--exclude", "profiler-ebpf", "--all-targets"];
    command::run(compiler.cargo("check").args(all).env("RUSTFLAGS", compiler.flags("-D warnings")))?;
    if !args.check {
        let pure = ["--package", "profiler", "--package", "profiler-common", "--package", "profiler-ebpf"];
        let mut test = compiler.cargo("test");
        test.args(pure).args(["--lib", "--"]).args(NOT_EMULATED.iter().flat_map(|name| ["--skip", name]));
        command::run(test.env("RUSTFLAGS", compiler.flags("-D warnings")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A compiler for aarch64.
enum Compiler {
    /// Debian's, and where its standard library for aarch64 is unpacked.
    Debian(PathBuf),
    /// The one that runs this task.
    Rustup,
}

impl Compiler {
    fn find() -> Result<Self> {
        if setup::kernel_compiler().is_some_and(|sysroot| sysroot == Path::new("/usr")) {
            let folder = target_directory(&repository().join("Cargo.toml"))?.join("cross");
            return standard_library(&folder).map(Self::Debian);
        }
        command::run(Command::new("rustup").args(["target", "add", TARGET]))?;
        Ok(Self::Rustup)
    }

    /// A subcommand of cargo that compiles for aarch64. With `--target`, `RUSTFLAGS` are for that alone.
    fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = match self {
            Self::Debian(_) => setup::kernel_cargo(),
            Self::Rustup => cargo::<&str>([]),
        };
        cargo.args([subcommand, "--target", TARGET]);
        cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
        cargo.env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "qemu-aarch64-static -L /usr/aarch64-linux-gnu",
        );
        cargo
    }

    fn flags(&self, flags: &str) -> String {
        match self {
            Self::Debian(library) => format!("{flags} -L {}", library.display()),
            Self::Rustup => flags.to_owned(),
        }
    }
}

/// Downloads Debian's standard library for aarch64, of the compiler's own version, and unpacks it below `folder`.
fn standard_library(folder: &Path) -> Result<PathBuf> {
    let version = answer(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "rustc-web"]))
        .context("the compiler in /usr is not Debian's `rustc-web`")?;
    let root = folder.join(&version);
    let library = root.join("usr/lib/rustlib").join(TARGET).join("lib");
    if library.is_dir() {
        return Ok(library);
    }
    eprintln!("xtask: downloading the standard library for aarch64, with package lists of its own");
    for part in ["lists/partial", "archives/partial"] {
        std::fs::create_dir_all(folder.join(part)).context("cannot make a folder for apt-get")?;
    }
    let status = folder.join("status");
    std::fs::write(&status, "").context("cannot write apt-get's status")?;
    let apt_get = || {
        let mut apt_get = Command::new("apt-get");
        apt_get.current_dir(folder).args([
            "-q",
            "-o",
            "APT::Architecture=arm64",
            "-o",
            "APT::Architectures=arm64",
        ]);
        for (key, path) in [("State::lists", "lists"), ("State::status", "status"), ("Cache", "")] {
            apt_get.arg("-o").arg(format!("Dir::{key}={}", folder.join(path).display()));
        }
        apt_get
    };
    command::run(apt_get().arg("update"))?;
    command::run(apt_get().arg("download").arg(format!("libstd-rust-web-dev={version}"))).context(
        "the mirror has no standard library of the compiler's version\n  try: apt-get upgrade rustc-web",
    )?;
    let package = std::fs::read_dir(folder)
        .context("cannot read the folder of the download")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get has downloaded nothing")?;
    // Renamed when it is whole, so that half of it is never taken for all.
    let unpacked = folder.join("unpacked");
    command::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
    std::fs::rename(&unpacked, &root).context("cannot rename what was unpacked")?;
    std::fs::remove_file(&package).context("cannot delete the package")?;
    Ok(library)
}
