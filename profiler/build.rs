//! Takes the kernel programs: the prebuilt object, or with `PROFILER_BPF=build` one that is compiled here.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use profiler_object::{CHOICE, Provenance};

fn main() -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate is in no workspace")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("no OUT_DIR")?);
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    println!("cargo::rerun-if-env-changed={CHOICE}");
    for source in profiler_object::sources(workspace)? {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let (object, origin) = match env::var(CHOICE).unwrap_or_default().as_str() {
        "" | "prebuilt" => prebuilt(workspace, &architecture)?,
        "build" => {
            let object = profiler_object::compile(workspace, &architecture, &out.join("kernel"))?;
            (fs::read(object)?, "compiled with the program")
        }
        other => bail!("{CHOICE}={other} is neither `prebuilt` nor `build`"),
    };
    println!("cargo::rustc-env=PROFILER_OBJECT_SHA256={}", profiler_object::sha256(&object));
    println!("cargo::rustc-env=PROFILER_OBJECT_ORIGIN={origin}");
    fs::write(out.join("profiler-ebpf"), object).context("cannot write the object")
}

/// The prebuilt object, if it belongs to the sources of the kernel programs as they are.
fn prebuilt(workspace: &Path, architecture: &str) -> Result<(Vec<u8>, &'static str)> {
    let path = profiler_object::provenance(workspace);
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let provenance = Provenance::parse(&text)?;
    ensure!(
        provenance.sources_sha256 == profiler_object::sources_sha256(workspace)?,
        "the kernel programs have changed since the prebuilt object was compiled\n  \
         try: {CHOICE}=build to compile them with the program, or `cargo xtask object` to compile the object again"
    );
    let object = profiler_object::prebuilt(workspace, architecture);
    println!("cargo::rerun-if-changed={}", object.display());
    let expected = provenance.objects.get(architecture);
    let expected = expected.with_context(|| format!("there are no kernel programs for {architecture}"))?;
    let bytes = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    ensure!(
        profiler_object::sha256(&bytes) == expected.file_sha256,
        "{} is not the file that {} has the hash of\n  try: check both out again",
        object.display(),
        path.display()
    );
    Ok((bytes, "prebuilt"))
}
