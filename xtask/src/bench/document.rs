//! The document of the benchmarks: prose by hand, and between two marks what a benchmark wrote last.

use anyhow::{Context, Result};

/// The document with the section `name` replaced. The marks must be there: their place is a decision of the prose.
pub fn with_section(document: &str, name: &str, section: &str) -> Result<String> {
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
