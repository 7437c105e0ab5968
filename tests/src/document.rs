//! Documents with measured parts: prose by hand, and between two marks what a benchmark or a row of kernels wrote last.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Puts a section into a document, between its marks.
pub fn write_section(path: &Path, name: &str, section: &str) -> Result<()> {
    let document = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let document = with_section(&document, name, section)?;
    fs::write(path, document).with_context(|| format!("cannot write {}", path.display()))
}

/// The document with the section `name` replaced. The marks must be there: their place is a decision of the prose.
fn with_section(document: &str, name: &str, section: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (before, rest) =
        document.split_once(&begin).with_context(|| format!("the document has no `{begin}`"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("the document has no `{end}`"))?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", section.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::with_section;

    const DOCUMENT: &str = "Prose.\n<!-- begin cpu -->\nold\n<!-- end cpu -->\nMore.\n";

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let expected = "Prose.\n<!-- begin cpu -->\nnew\n<!-- end cpu -->\nMore.\n";
        assert_eq!(with_section(DOCUMENT, "cpu", "new\n").unwrap(), expected);
    }

    #[test]
    fn a_document_without_the_marks_is_refused() {
        let error = with_section(DOCUMENT, "storm", "new").unwrap_err();
        assert_eq!(error.to_string(), "the document has no `<!-- begin storm -->`");
    }
}
