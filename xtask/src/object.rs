//! `cargo xtask object`: compiles the kernel programs into the prebuilt objects that are part of the source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use profiler_object::{ARCHITECTURES, Architecture, Provenance, sha256};

use crate::command::{self, repository, target_directory};
use crate::setup;

/// The object is decompressed at each start, and compressed once for many commits.
const ZSTD_LEVEL: i32 = 19;

#[derive(clap::Args)]
pub struct Args {
    /// Compile in two folders, compare both with the prebuilt objects, and write nothing
    #[arg(long)]
    pub check: bool,
}

pub fn object(args: &Args) -> Result<()> {
    setup::setup(setup::Wanted { kernel: true, ..Default::default() })?;
    let workspace = repository();
    let versions = profiler_object::versions()?;
    let objects = target_directory(&workspace.join("Cargo.toml"))?.join("object");
    if args.check {
        return check(workspace, &objects);
    }
    let mut provenance = Provenance {
        sources_sha256: profiler_object::sources_sha256(workspace)?,
        versions,
        objects: [].into(),
    };
    for architecture in ARCHITECTURES {
        let object = compiled(workspace, architecture, &objects)?;
        let file = zstd::encode_all(object.as_slice(), ZSTD_LEVEL).context("cannot compress the object")?;
        eprintln!(
            "xtask: the object for {architecture} has {} bytes, {} compressed",
            object.len(),
            file.len()
        );
        let hashes = Architecture { object_sha256: sha256(&object), file_sha256: sha256(&file) };
        let path = profiler_object::prebuilt(workspace, architecture);
        fs::write(&path, file).with_context(|| format!("cannot write {}", path.display()))?;
        provenance.objects.insert(architecture.to_owned(), hashes);
    }
    let path = profiler_object::provenance(workspace);
    fs::write(&path, provenance.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// Compiles the programs here and in a copy elsewhere, and compares each object with the prebuilt one.
fn check(workspace: &Path, objects: &Path) -> Result<()> {
    let text = fs::read_to_string(profiler_object::provenance(workspace)).context("no provenance")?;
    let provenance = Provenance::parse(&text)?;
    let versions = profiler_object::versions()?;
    ensure!(
        provenance.versions == versions,
        "the prebuilt objects were compiled with {:?}, and here is {versions:?}: they cannot be compared",
        provenance.versions
    );
    let copy = tempfile::tempdir().context("cannot make a folder")?;
    let elsewhere = copy.path().join("copy");
    let workspaces = [workspace.to_owned(), copied(workspace, &elsewhere)?];
    for architecture in ARCHITECTURES {
        let path = profiler_object::prebuilt(workspace, architecture);
        let file = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let prebuilt = zstd::decode_all(file.as_slice()).context("the prebuilt object is damaged")?;
        for (index, from) in workspaces.iter().enumerate() {
            let compiled = compiled(from, architecture, &objects.join(index.to_string()))?;
            ensure!(
                compiled == prebuilt,
                "compiled in {}, the object for {architecture} is {} and not {}\n  try: cargo xtask object",
                from.display(),
                sha256(&compiled),
                sha256(&prebuilt)
            );
        }
        eprintln!("xtask: the object for {architecture} is the same to the byte, compiled in two folders");
    }
    Ok(())
}

/// The workspace as git knows it, with the changes that are not committed, in another folder.
fn copied(workspace: &Path, to: &Path) -> Result<PathBuf> {
    let mut list = Command::new("git");
    list.current_dir(workspace).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let files = command::answer(&mut list).context("git cannot list the workspace's files")?;
    for file in files.lines().filter(|file| workspace.join(file).is_file()) {
        let copy = to.join(file);
        fs::create_dir_all(copy.parent().unwrap_or(to)).context("cannot make a folder")?;
        fs::copy(workspace.join(file), copy).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(to.to_owned())
}

/// The object without what only debuggers read; BTF stays.
fn compiled(workspace: &Path, architecture: &str, objects: &Path) -> Result<Vec<u8>> {
    eprintln!("xtask: compiling the kernel programs for {architecture} in {}", workspace.display());
    let object = profiler_object::compile(workspace, architecture, &objects.join(architecture))?;
    let stripped = object.with_extension("stripped");
    let mut strip = Command::new(setup::llvm_tool("llvm-strip")?);
    command::run(strip.arg("--strip-debug").arg("-o").arg(&stripped).arg(&object))?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}
