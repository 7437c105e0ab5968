//! The compiler of the kernel programs, and their linker.
//!
//! rustup has no prebuilt `core` for the BPF target. Debian has one, for a stable compiler, so that is taken where
//! apt-get offers it; elsewhere a nightly builds `core` from source. Either is linked as the rustup toolchain
//! `profiler-ebpf`, the only name that `profiler-object` knows.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::command::{self, answer, cargo};

pub const TOOLCHAIN: &str = "profiler-ebpf";

/// Rust 1.97, with the same LLVM as Debian's compiler. A dated one, so that the user's own `nightly` is not updated
/// and LLVM stays the one that bpf-linker is built for.
const NIGHTLY: &str = "nightly-2026-05-20";

/// Its LLVM must be at least as new as the compiler's: 22 for both compilers above.
const BPF_LINKER: &str = "0.13.0";

/// Makes both usable.
pub fn ensure() -> Result<()> {
    if !compiler_is_ready() {
        link_compiler()?;
    }
    if !linker_is_ready() {
        install_linker()?;
    }
    Ok(())
}

/// Can the toolchain compile for the BPF target, with a prebuilt `core` or with its source?
fn compiler_is_ready() -> bool {
    sysroot(TOOLCHAIN).is_some_and(|sysroot| {
        let rustlib = sysroot.join("lib/rustlib");
        rustlib.join("bpfel-unknown-none/lib").is_dir()
            || rustlib.join("src/rust/library/core/Cargo.toml").is_file()
    })
}

pub fn sysroot(toolchain: &str) -> Option<PathBuf> {
    let mut rustup = Command::new("rustup");
    answer(rustup.args(["run", toolchain, "rustc", "--print", "sysroot"])).map(PathBuf::from)
}

fn link_compiler() -> Result<()> {
    if !command::on_path("rustup") {
        bail!("rustup is missing\n  try: install it as https://rustup.rs says");
    }
    if packages::COMPILER.iter().all(|package| packages::is_offered(package.name)) {
        packages::ensure(packages::COMPILER)?;
        link(Path::new("/usr"))?;
    } else {
        link(&nightly()?)?;
    }
    if !compiler_is_ready() {
        bail!("the toolchain `{TOOLCHAIN}` has neither `core` for bpfel-unknown-none nor its source");
    }
    Ok(())
}

fn link(sysroot: &Path) -> Result<()> {
    eprintln!("xtask: naming the compiler in {} `{TOOLCHAIN}`, for profiler-object", sysroot.display());
    command::run(Command::new("rustup").args(["toolchain", "link", TOOLCHAIN]).arg(sysroot))
}

/// Installs the nightly and tells where it is. A network that swallows requests must not hold the task for ever.
fn nightly() -> Result<PathBuf> {
    eprintln!("xtask: installing {NIGHTLY} with rust-src, to compile the kernel programs");
    let mut install = Command::new("timeout");
    install.args(["900", "rustup", "toolchain", "install", NIGHTLY, "--no-self-update"]);
    command::run(install.args(["--profile", "minimal", "--component", "rust-src"])).context(
        "rustup cannot download a compiler for the kernel programs\n  \
         try: a Debian 12 machine, whose package `libstd-rust-web-dev-bpf` makes the download unnecessary",
    )?;
    sysroot(NIGHTLY).with_context(|| format!("{NIGHTLY} was installed and does not run"))
}

fn linker_is_ready() -> bool {
    let version = answer(Command::new("bpf-linker").arg("--version")).unwrap_or_default();
    is_new_enough(&version)
}

/// Takes `bpf-linker 0.13.0`.
fn is_new_enough(version: &str) -> bool {
    let numbers =
        |version: &str| version.split('.').map_while(|part| part.parse().ok()).collect::<Vec<u32>>();
    let found = version.strip_prefix("bpf-linker ").map(numbers);
    found.is_some_and(|found| found >= numbers(BPF_LINKER))
}

fn install_linker() -> Result<()> {
    if llvm().is_none() && packages::LLVM.iter().all(|package| packages::is_offered(package.name)) {
        packages::ensure(packages::LLVM)?;
    }
    if let Some(llvm) = llvm() {
        eprintln!("xtask: installing bpf-linker {BPF_LINKER}, which links the kernel programs");
        eprintln!("       (compiled against {}: a minute on two cores)", llvm.display());
        let mut install = cargo(["install", "bpf-linker", "--version", BPF_LINKER]);
        return command::run(
            install.args(["--no-default-features", "--features", "llvm-22"]).env("LLVM_PREFIX", llvm),
        );
    }
    if !command::on_path("cargo-binstall") {
        bail!(
            "bpf-linker {BPF_LINKER} is missing, and so is LLVM 22 to build it with\n  \
             try: install LLVM 22's development files and set LLVM_PREFIX to their folder,\n  \
             or install cargo-binstall, which gets a built bpf-linker"
        );
    }
    eprintln!("xtask: installing the released bpf-linker {BPF_LINKER}, which links the kernel programs");
    command::run(&mut cargo(["binstall", "--no-confirm", &format!("bpf-linker@{BPF_LINKER}")]))
}

/// Where LLVM 22 is installed, with what is needed to build against it.
pub fn llvm() -> Option<PathBuf> {
    let named = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    let usual = ["/usr/lib/llvm-22", "/usr/lib64/llvm22"].map(PathBuf::from);
    named.into_iter().chain(usual).find(|prefix| {
        let version = answer(Command::new(prefix.join("bin/llvm-config")).arg("--version"));
        version.is_some_and(|version| version.starts_with("22."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(version: &str, expected: bool) {
        assert_eq!(is_new_enough(version), expected);
    }

    #[test]
    fn the_linker_that_we_install_is_new_enough() {
        check("bpf-linker 0.13.0", true);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        check("bpf-linker 0.9.15", false);
        check("bpf-linker 0.100.0", true);
        check("bpf-linker 1.0.0", true);
    }

    #[test]
    fn no_linker_is_not_new_enough() {
        check("", false);
    }
}
