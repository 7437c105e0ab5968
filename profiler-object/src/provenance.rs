//! The file beside the prebuilt objects: `name = "value"` lines, in a section for each processor.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};

/// What compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    pub rustc: String,
    pub bpf_linker: String,
}

/// Where prebuilt objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub sources_sha256: String,
    pub versions: Versions,
    pub objects: BTreeMap<String, Architecture>,
}

/// The object for kernels of one processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Of the object before it is compressed.
    pub object_sha256: String,
    /// Of the file.
    pub file_sha256: String,
}

const HEADER: &str = "\
# Where the prebuilt kernel programs come from. Written by `cargo xtask object`, checked by each build;
# `cargo xtask object --check` compiles them in two folders and compares.
";

impl Provenance {
    /// Reads it.
    ///
    /// # Errors
    /// Something is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let mut sections: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        let mut section = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            } else if let Some((name, value)) = line.split_once(" = ") {
                sections.entry(section).or_default().insert(name, value.trim_matches('"').to_owned());
            }
        }
        let field = |section: &str, name: &str| {
            let value = sections.get(section).and_then(|values| values.get(name)).cloned();
            value.with_context(|| format!("provenance.toml lacks `{name}`\n  try: cargo xtask object"))
        };
        let objects = sections.keys().filter(|name| !name.is_empty()).map(|name| {
            let (object_sha256, file_sha256) = (field(name, "object_sha256")?, field(name, "file_sha256")?);
            Ok(((*name).to_owned(), Architecture { object_sha256, file_sha256 }))
        });
        Ok(Self {
            sources_sha256: field("", "sources_sha256")?,
            versions: Versions { rustc: field("", "rustc")?, bpf_linker: field("", "bpf_linker")? },
            objects: objects.collect::<Result<_>>()?,
        })
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        writeln!(f, "sources_sha256 = \"{}\"", self.sources_sha256)?;
        writeln!(f, "rustc = \"{}\"", self.versions.rustc)?;
        writeln!(f, "bpf_linker = \"{}\"", self.versions.bpf_linker)?;
        for (name, object) in &self.objects {
            writeln!(f, "\n[{name}]\nobject_sha256 = \"{}\"", object.object_sha256)?;
            writeln!(f, "file_sha256 = \"{}\"", object.file_sha256)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let object = Architecture { object_sha256: "12ab".into(), file_sha256: "34cd".into() };
        let written = Provenance {
            sources_sha256: "56ef".into(),
            versions: Versions { rustc: "rustc 1.96.0".into(), bpf_linker: "bpf-linker 0.13.0".into() },
            objects: [("x86_64".to_owned(), object)].into(),
        };
        assert_eq!(Provenance::parse(&written.to_string()).expect("what was written"), written);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Provenance::parse("sources_sha256 = \"1\"\n").expect_err("half a file");
        assert!(error.to_string().contains("rustc"), "{error}");
    }
}
