//! The kernel programs as an object file: what of them is part of the source, how they are compiled, and whether
//! the one still belongs to the other.
//!
//! `profiler/build.rs` takes the prebuilt object, so that whoever builds `profiler` needs no compiler for BPF;
//! `cargo xtask object` writes it. With the same compilers it is the same to the byte, wherever it is compiled.

mod compile;
mod provenance;
mod sources;

pub use compile::{compile, versions};
pub use provenance::{Architecture, Provenance, Versions};
pub use sources::{sha256, sources, sources_sha256};

use std::path::{Path, PathBuf};

/// Names the way to the object: `prebuilt` (or nothing) or `build`.
pub const CHOICE: &str = "PROFILER_BPF";

/// The processors that there is an object for, as Rust calls them.
pub const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The prebuilt object, compressed with zstd.
pub fn prebuilt(workspace: &Path, architecture: &str) -> PathBuf {
    prebuilt_folder(workspace).join(format!("{architecture}.o.zst"))
}

/// What the prebuilt objects were compiled from, and with what.
pub fn provenance(workspace: &Path) -> PathBuf {
    prebuilt_folder(workspace).join("provenance.toml")
}

fn prebuilt_folder(workspace: &Path) -> PathBuf {
    workspace.join("profiler-object/prebuilt")
}
