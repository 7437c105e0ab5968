//! The formats in which a report is written, one file each.
//!
//! In: a finished [`Report`] and a writer. Computes nothing that another format would want too, opens no files.
//!
//! ```
//! use profiler_report::{
//!     analyze::Report,
//!     recording::Recording,
//!     report::{Render as _, Text},
//! };
//!
//! let whole = Recording::default().whole();
//! let mut text = Vec::new();
//! Text::default().render(&Report::new(&whole), &mut text)?;
//! assert!(String::from_utf8(text)?.contains("Verdict: INSUFFICIENT_DATA"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod text;
mod json;
pub mod folded;
pub mod svg;
pub mod words;
mod skips;
mod escape;
pub mod frame_text;
mod function_name;
#[cfg(test)]
mod golden;

pub use escape::visible;
pub use json::{Json, SCHEMA_VERSION as JSON_VERSION};
pub use skips::sentence as skip_sentence;
pub use text::{DiskPage, Style, Text, verdict_line, wrapped};

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::analyze::Report;
pub use crate::analyze::numbers;
pub(crate) use crate::analyze::state_name;

/// One way to write a report.
pub trait Render {
    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the writer.
    fn render(&self, report: &Report<'_>, out: &mut dyn io::Write) -> io::Result<()>;
}

/// What can be asked for with `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Folded,
    Svg,
    /// The recording itself, see [`crate::capture`].
    Capture,
}

/// Each format by the extension of its files.
const FORMATS: &[(&str, Format)] = &[
    ("txt", Format::Text),
    ("json", Format::Json),
    ("folded", Format::Folded),
    ("svg", Format::Svg),
    ("prof", Format::Capture),
];

/// Formats of other tools, by how the names of their files end. Some end like one of ours, and what reads them would not
/// understand it.
const FOREIGN: &[(&str, &str)] = &[
    ("speedscope.json", "speedscope's format is not written"),
    ("pb.gz", "pprof's format is not written"),
    ("pprof", "pprof's format is not written"),
    ("html", "no page is written"),
    ("htm", "no page is written"),
    ("png", "flamegraphs are .svg"),
    ("pdf", "flamegraphs are .svg"),
    ("perf.data", "perf's format is not written"),
    ("collapsed", "folded stacks are .folded"),
    ("gz", "files are not compressed; captures (.prof) are by themselves"),
];

/// A file name that names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: {why}\n  try: one of {}", known())]
pub struct UnknownFormat {
    name: String,
    why: &'static str,
}

impl Format {
    /// The format that a file name asks for; text for `-`, which is standard output.
    ///
    /// # Errors
    /// The name has another extension, or none.
    pub fn of(name: &OsStr) -> Result<Self, UnknownFormat> {
        if name == "-" {
            return Ok(Self::Text);
        }
        let extension = Path::new(name).extension().unwrap_or_default().to_ascii_lowercase();
        let shown = name.to_string_lossy().into_owned();
        let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let ends =
            |end: &str| file.strip_suffix(end).is_some_and(|stem| stem.is_empty() || stem.ends_with('.'));
        if let Some(&(_, why)) = FOREIGN.iter().find(|(end, _)| ends(end)) {
            return Err(UnknownFormat { name: shown, why });
        }
        let row = FORMATS.iter().find(|(known, _)| extension == *known);
        let why = if extension.is_empty() {
            "the extension selects the format, and there is none"
        } else {
            "the extension selects the format, and this one is unknown"
        };
        row.map(|&(_, format)| format).ok_or(UnknownFormat { name: shown, why })
    }
}

fn known() -> String {
    FORMATS.iter().map(|(extension, _)| format!(".{extension}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Format) {
        assert_eq!(Format::of(OsStr::new(name)), Ok(expected));
    }

    #[test]
    fn the_extension_names_the_format() {
        check("out.prof", Format::Capture);
        check("/tmp/a.b/out.JSON", Format::Json);
        check("out.folded", Format::Folded);
        check("out.svg", Format::Svg);
        check("out.txt", Format::Text);
        check("-", Format::Text);
    }

    #[test]
    fn another_extension_is_refused_with_those_that_there_are() {
        let refusal = |name: &str| Format::of(OsStr::new(name)).expect_err("no such format").to_string();
        let tail = "try: one of .txt, .json, .folded, .svg, .prof";
        let unknown = "the extension selects the format, and this one is unknown";
        assert_eq!(refusal("out.xyz"), format!("`out.xyz`: {unknown}\n  {tail}"));
        for name in ["", "out", ".json"] {
            assert_eq!(
                refusal(name),
                format!("`{name}`: the extension selects the format, and there is none\n  {tail}")
            );
        }
    }

    #[test]
    fn the_format_of_another_tool_is_never_written_as_ours() {
        for name in [
            "a.speedscope.json",
            "speedscope.json",
            "/tmp/a.PB.GZ",
            "a.html",
            "perf.data",
            "a.svg.gz",
            "a.json.gz",
        ] {
            assert!(Format::of(OsStr::new(name)).is_err(), "{name}");
        }
        check("myspeedscope.json", Format::Json);
    }
}
