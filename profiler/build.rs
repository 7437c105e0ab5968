//! Builds the kernel programs, nothing else.

use anyhow::Context as _;
use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> anyhow::Result<()> {
    // aya-build names the kernel crate's own files only.
    println!("cargo::rerun-if-changed={}", concat!(env!("CARGO_MANIFEST_DIR"), "/../profiler-common/src"));
    let root_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiler-ebpf");
    // SAFETY: a build script is single-threaded here.
    // aya-ebpf uses BPF inline assembly, which a stable compiler allows only to the crates that are named. With
    // `RUSTC_BOOTSTRAP=1`, aya-build would build `core` itself and need its source.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf,aya_ebpf_bindings,aya_ebpf_cty,profiler_ebpf") };
    build_ebpf(
        [Package { name: "profiler-ebpf", root_dir, ..Default::default() }],
        Toolchain::Custom("profiler-ebpf"),
    )
    .context("failed to build the kernel programs\n  try: cargo xtask setup")
}
