//! Hostile text made safe for one line of a text format.

use std::fmt::Write;

/// The text as one frame of a folded stack.
///
/// A semicolon, which separates frames, becomes a colon. What a terminal, an XML parser or a reader of lines
/// would take for more than text is shown by its code: `\u{1b}`. So is the space before a last word of
/// digits, which would be read as a count, and a `#` at the start, which would make a comment. Spaces at the
/// ends go; no text becomes `[no name]`.
pub fn escaped(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "[no name]".to_owned();
    }
    let count_at =
        text.rfind(' ').filter(|&at| text[at + 1..].bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    let mut safe = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        match character {
            ';' => safe.push(':'),
            '#' if at == 0 => push_code(&mut safe, character),
            ' ' if count_at == Some(at) => push_code(&mut safe, character),
            _ if is_unsafe(character) => push_code(&mut safe, character),
            _ => safe.push(character),
        }
    }
    safe
}

/// The text with only that shown by its code which is more than text for a reader of XML or a terminal.
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            push_code(&mut safe, character);
        } else {
            safe.push(character);
        }
    }
    safe
}

fn push_code(safe: &mut String, character: char) {
    // Writing to a string cannot fail.
    let _ = write!(safe, "{}", character.escape_unicode());
}

/// Control characters, line and paragraph separators, those that reverse the direction of text, and those that XML
/// forbids.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(escaped(text), expected);
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        check("core::ops::FnOnce<(&str, u8)>::call", "core::ops::FnOnce<(&str, u8)>::call");
    }

    #[test]
    fn a_semicolon_cannot_separate_frames() {
        check("<[u8; 4]>::len", "<[u8: 4]>::len");
    }

    #[test]
    fn a_line_break_cannot_make_a_stack() {
        check("a\nb;c 5", "a\\u{a}b:c\\u{20}5");
    }

    #[test]
    fn a_terminal_sequence_is_told_by_its_codes() {
        check("\u{1b}]0;title\u{7}", "\\u{1b}]0:title\\u{7}");
    }

    #[test]
    fn a_number_at_the_end_is_not_a_count() {
        check("operator 12.5", "operator\\u{20}12.5");
    }

    #[test]
    fn a_number_within_is_left() {
        check("operator 12 x", "operator 12 x");
    }

    #[test]
    fn a_hash_at_the_start_is_not_a_comment() {
        check("# x", "\\u{23} x");
    }

    #[test]
    fn text_that_would_be_shown_reversed_is_told_by_its_codes() {
        check("a\u{202e}b", "a\\u{202e}b");
    }

    #[test]
    fn text_outside_of_stacks_keeps_its_numbers() {
        assert_eq!(plain("pid 12;\u{1b}"), "pid 12;\\u{1b}");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        check("  ", "[no name]");
    }
}
