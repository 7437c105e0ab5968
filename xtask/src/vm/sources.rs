//! Where Debian's packages come from on this machine: the mirror that its own apt is set up with.
//!
//! In: the text of apt's source lists. Out: the mirror, and the lines for releases other than the machine's own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Debian's key ring, where a source names none.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Releases whose sources say where the mirror is.
const RELEASES: &[&str] =
    &["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing"];

/// Releases with kernels of the row, or with a newer QEMU than Debian 12's.
const SUITES: &[&str] = &["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports"];
const SECURITY_SUITES: &[&str] = &["bullseye-security", "bookworm-security", "trixie-security"];

/// One source of apt's lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    signed_by: Option<String>,
}

/// Debian's mirror, and that of its security updates if the machine has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    main: Source,
    security: Option<Source>,
}

impl Mirror {
    /// The one of this machine.
    pub fn of_this_machine() -> Result<Self> {
        let texts = source_files().into_iter().filter_map(|path| fs::read_to_string(path).ok());
        let sources: Vec<_> = texts.flat_map(|text| parse(&text)).collect();
        Self::among(&sources).context("no Debian mirror in /etc/apt\n  try: a machine with Debian")
    }

    fn among(sources: &[Source]) -> Option<Self> {
        let has = |source: &Source, suffix: &str| {
            let known = |suite: &String| RELEASES.iter().any(|name| *suite == format!("{name}{suffix}"));
            source.suites.iter().any(known)
        };
        let main = sources.iter().find(|source| has(source, ""))?.clone();
        let security = sources.iter().find(|source| has(source, "-security")).cloned();
        Some(Self { main, security })
    }

    /// A source list for all releases that are looked into.
    pub fn list(&self) -> String {
        let line = |source: &Source, suite: &str| {
            let key = source.signed_by.as_deref().unwrap_or(KEYRING);
            format!("deb [signed-by={key}] {} {suite} main\n", source.uri)
        };
        let main = SUITES.iter().map(|suite| line(&self.main, suite));
        let security =
            self.security.iter().flat_map(|source| SECURITY_SUITES.iter().map(|s| line(source, s)));
        main.chain(security).collect()
    }
}

fn source_files() -> Vec<PathBuf> {
    let folder = Path::new("/etc/apt/sources.list.d");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    files
}

/// Takes either form: lines `deb [OPTIONS] URI SUITE …`, or paragraphs of fields.
fn parse(text: &str) -> Vec<Source> {
    let lines = text.lines().filter_map(one_line);
    let paragraphs = text.split("\n\n").filter_map(paragraph);
    lines.chain(paragraphs).collect()
}

/// `deb [signed-by=/path] http://mirror/debian bookworm main`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let uri = words.next()?.trim_end_matches('/').into();
    Some(Source { uri, suites: vec![words.next()?.into()], signed_by: signed_by.map(Into::into) })
}

/// `Types: deb`, `URIs: …`, `Suites: …`, `Signed-By: …`, one a line.
fn paragraph(text: &str) -> Option<Source> {
    let field = |name: &str| {
        let value = |line: &str| {
            line.split_once(':').filter(|(key, _)| *key == name).map(|(_, v)| v.trim().to_owned())
        };
        text.lines().find_map(value)
    };
    if !field("Types")?.split_whitespace().any(|kind| kind == "deb") {
        return None;
    }
    let uri = field("URIs")?.split_whitespace().next()?.trim_end_matches('/').into();
    let suites = field("Suites")?.split_whitespace().map(Into::into).collect();
    // A key may also stand in the field itself, over several lines: then Debian's own is taken.
    let signed_by = field("Signed-By").filter(|value| value.starts_with('/'));
    Some(Source { uri, suites, signed_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAGRAPHS: &str = "Types: deb\n# a comment\nURIs: http://mirror/debian/\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By: /keys/debian.gpg\n\n\
        Types: deb\nURIs: http://mirror/debian-security\nSuites: bookworm-security\nComponents: main\n";

    #[track_caller]
    fn check(text: &str, main: &str, security: Option<&str>) {
        let mirror = Mirror::among(&parse(text)).unwrap();
        assert_eq!(mirror.main.uri, main);
        assert_eq!(mirror.security.as_ref().map(|source| source.uri.as_str()), security);
    }

    #[test]
    fn the_mirror_is_found_in_paragraphs() {
        check(PARAGRAPHS, "http://mirror/debian", Some("http://mirror/debian-security"));
    }

    #[test]
    fn the_mirror_is_found_in_lines() {
        let text = "# deb http://old/debian sid main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror/debian trixie main\n";
        check(text, "http://mirror/debian", None);
    }

    #[test]
    fn other_archives_are_no_mirror() {
        let text = "deb https://example.org/apt sdk main\nTypes: deb\nURIs: https://example.org/node\nSuites: nodistro\n";
        assert_eq!(Mirror::among(&parse(text)), None);
    }

    #[test]
    fn each_release_has_a_line_with_the_mirrors_key() {
        let list = Mirror::among(&parse(PARAGRAPHS)).unwrap().list();
        assert!(
            list.contains("deb [signed-by=/keys/debian.gpg] http://mirror/debian trixie-backports main\n")
        );
        assert!(list.contains(&format!(
            "[signed-by={KEYRING}] http://mirror/debian-security bullseye-security main\n"
        )));
    }
}
