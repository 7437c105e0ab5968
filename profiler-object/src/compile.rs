//! Compiles the kernel programs.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::Versions;

/// The rustup toolchain that `cargo xtask setup` links.
const TOOLCHAIN: &str = "profiler-ebpf";
const TARGET: &str = "bpfel-unknown-none";
const TRY: &str = "try: cargo xtask setup --kernel";

/// Compiles them for kernels of a processor in a target directory of their own, and returns where the object is.
///
/// # Errors
/// The compiler or the linker is missing, or refuses the programs.
pub fn compile(workspace: &Path, architecture: &str, target_directory: &Path) -> Result<PathBuf> {
    let mut cargo = tool("cargo");
    cargo.current_dir(workspace).args(["build", "--package", "profiler-ebpf", "--bins", "--release"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(target_directory);
    if !has_core()? {
        cargo.args(["-Z", "build-std=core"]);
    }
    // aya-ebpf uses BPF inline assembly, which a stable compiler allows only to the crates that are named.
    cargo.env("RUSTC_BOOTSTRAP", "aya_ebpf,aya_ebpf_bindings,aya_ebpf_cty,profiler_ebpf");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, architecture));
    // Those of the cargo that runs a build script would be used by this one, too.
    for name in ["RUSTC", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    let output = cargo.output().with_context(|| format!("cannot run rustup\n  {TRY}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the kernel programs cannot be compiled\n{said}\n  {TRY}");
    Ok(target_directory.join(TARGET).join("release/profiler-ebpf"))
}

/// What compiles them here.
///
/// # Errors
/// It is missing.
pub fn versions() -> Result<Versions> {
    let of = |command: &mut Command| {
        let output = command.arg("--version").output().ok().filter(|output| output.status.success());
        let output = output.with_context(|| format!("{command:?} does not run\n  {TRY}"))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok(Versions { rustc: of(&mut tool("rustc"))?, bpf_linker: of(&mut Command::new("bpf-linker"))? })
}

fn tool(name: &str) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", TOOLCHAIN, name]);
    rustup
}

/// Does the toolchain bring `core` for BPF? If not, it has its source.
fn has_core() -> Result<bool> {
    let output = tool("rustc").args(["--print", "sysroot"]).output();
    let output = output.with_context(|| format!("cannot run rustup\n  {TRY}"))?;
    ensure!(output.status.success(), "the toolchain `{TOOLCHAIN}` is missing\n  {TRY}");
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

/// The compiler's flags, as cargo wants them encoded.
///
/// The debug information becomes BTF, which has the paths of the sources: without the folders in which they happen to
/// be, so that the object is the same wherever it is compiled.
fn flags(workspace: &Path, architecture: &str) -> OsString {
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{architecture}\"").into(),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        remap(workspace, "."),
    ];
    flags.extend(registries().iter().map(|registry| remap(registry, "registry")));
    flags.join(&OsString::from("\x1f"))
}

fn remap(from: &Path, to: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(from);
    flag.push("=");
    flag.push(to);
    flag
}

/// Where cargo unpacks the sources of dependencies: a folder for each registry.
fn registries() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let entries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}
