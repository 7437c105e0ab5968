//! `cargo xtask setup`: what the build, the tests and the benchmarks need from the machine.
//!
//! Idempotent: it looks first, installs only what is missing, and says what and why before it does. When all is
//! there it takes a fraction of a second and no network. It never upgrades or removes anything.

mod compiler;
mod packages;
mod tracefs;

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use profiler_object::CHOICE;

use crate::command;

/// The version whose configuration `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// What to set up beyond what the build needs.
#[derive(Clone, Copy, Default, clap::Args)]
pub struct Wanted {
    /// Also the compiler of the kernel programs, for whoever changes them
    #[arg(long)]
    pub kernel: bool,
    /// Also what the tests need: bpftool, perf, servers to profile, cargo-deny
    #[arg(long)]
    pub tests: bool,
    /// Also what the benchmarks need: the tools to compare with, and servers to profile
    #[arg(long)]
    pub bench: bool,
    /// Also what checks the Debian package
    #[arg(long)]
    pub dist: bool,
    /// Also what compiles and runs programs for aarch64
    #[arg(long)]
    pub cross: bool,
}

/// Makes the machine ready. Safe to call before every task.
pub fn setup(wanted: Wanted) -> Result<()> {
    if wanted.kernel || wanted.cross || env::var(CHOICE).is_ok_and(|choice| choice == "build") {
        compiler::ensure()?;
    }
    tracefs::ensure();
    if wanted.tests || wanted.bench {
        packages::ensure(packages::SERVERS)?;
    }
    if wanted.tests {
        packages::ensure(packages::TESTS)?;
        ensure_cargo_deny()?;
    }
    if wanted.bench {
        packages::ensure(packages::BENCH)?;
    }
    if wanted.dist {
        packages::ensure(packages::DIST)?;
    }
    if wanted.cross {
        packages::ensure(packages::CROSS)?;
    }
    Ok(())
}

/// Where the compiler of the kernel programs is.
pub fn kernel_compiler() -> Option<PathBuf> {
    compiler::sysroot(compiler::TOOLCHAIN)
}

/// Its cargo, in the repository's root.
pub fn kernel_cargo() -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", compiler::TOOLCHAIN, "cargo"]).current_dir(command::repository());
    cargo
}

/// A program of the LLVM that bpf-linker is built with.
///
/// # Errors
/// It is not installed.
pub fn llvm_tool(name: &str) -> Result<PathBuf> {
    let tool = compiler::llvm().map(|prefix| prefix.join("bin").join(name)).filter(|path| path.is_file());
    tool.with_context(|| {
        format!("{name} of LLVM 22 is missing\n  try: set LLVM_PREFIX to the folder of LLVM 22")
    })
}

fn ensure_cargo_deny() -> Result<()> {
    if command::answer(&mut command::cargo(["deny", "--version"])).is_some() {
        return Ok(());
    }
    eprintln!(
        "xtask: installing cargo-deny {CARGO_DENY}, which checks the dependencies' licences and sources"
    );
    eprintln!("       (compiled from source: two minutes on two cores)");
    command::run(&mut command::cargo(["install", "cargo-deny", "--locked", "--version", CARGO_DENY]))
}
