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
pub use text::{DiskPage, Style, Text, wrapped};

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

/// A file name that names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: the extension selects the format, and this one is unknown\n  try: one of {}", known())]
pub struct UnknownFormat {
    name: String,
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
        let row = FORMATS.iter().find(|(known, _)| extension == *known);
        row.map(|&(_, format)| format)
            .ok_or_else(|| UnknownFormat { name: name.to_string_lossy().into_owned() })
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
    fn another_extension_is_told_with_those_that_there_are() {
        for name in ["out.png", "out", ".json"] {
            let error = Format::of(OsStr::new(name)).expect_err("no such format").to_string();
            let tail = "the extension selects the format, and this one is unknown\n  try: one of .txt, .json, .folded, .svg, .prof";
            assert_eq!(error, format!("`{name}`: {tail}"));
        }
    }
}
