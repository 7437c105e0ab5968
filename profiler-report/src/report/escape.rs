//! Names from the recorded programs, made safe for a terminal.
//!
//! A program chooses its own name, arguments and symbols: an escape sequence in them must not reach the terminal.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// `text` with each character that is not printed as itself written as `\n`, `\x1b` or `\u{202e}`, cut to `columns`
/// with `…` in the middle: both ends of a symbol say something.
pub fn visible(text: &str, columns: usize) -> String {
    // Nothing is shown twice: a name of megabytes costs no more than its two ends.
    let (head, tail) = (columns.div_ceil(2).saturating_sub(1), columns / 2);
    let start: String = escaped(text.chars()).take(columns + 1).collect();
    if self::columns(&start) <= columns {
        return start; // the whole: each character takes a column at least
    }
    let mut ending: Vec<char> = Vec::new();
    let mut used = 0;
    for character in text.chars().rev() {
        let shown: Vec<char> = escaped([character].into_iter()).collect();
        used += shown.iter().copied().map(width).sum::<usize>();
        if used > tail {
            break;
        }
        ending.extend(shown.iter().rev());
    }
    let mut cut = take_columns(&start, head);
    cut.push('…');
    cut.extend(ending.iter().rev());
    cut
}

/// How many columns of a terminal `text` takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// The start of `text` that fits into `columns`.
pub fn take_columns(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += width(*character);
        used <= columns
    };
    text.chars().take_while(fits).collect()
}

fn width(character: char) -> usize {
    character.width().unwrap_or(0)
}

fn escaped(characters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    characters.flat_map(|character| {
        let mut shown = String::new();
        // Writing to a string cannot fail.
        let _ = match character {
            '\n' => write!(shown, "\\n"),
            '\t' => write!(shown, "\\t"),
            '\r' => write!(shown, "\\r"),
            c if c.is_ascii_control() => write!(shown, "\\x{:02x}", c as u32),
            c if is_invisible(c) => write!(shown, "\\u{{{:x}}}", c as u32),
            c => write!(shown, "{c}"),
        };
        shown.chars().collect::<Vec<_>>()
    })
}

/// Control characters, line separators, and what changes the direction of text or has no width of its own.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || character.width() == Some(0)
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, columns: usize, expected: &str) {
        assert_eq!(visible(text, columns), expected);
    }

    #[test]
    fn terminal_escapes_are_shown() {
        check("evil\x1b[31m", 40, "evil\\x1b[31m");
    }

    #[test]
    fn line_ends_are_shown() {
        check("a\nb\r\tc", 40, "a\\nb\\r\\tc");
    }

    #[test]
    fn eight_bit_controls_and_direction_marks_are_shown() {
        check("\u{9b}31m\u{202e}x\u{200b}", 40, "\\u{9b}31m\\u{202e}x\\u{200b}");
    }

    #[test]
    fn ordinary_names_stay() {
        check("Äpfel::日本<T>", 40, "Äpfel::日本<T>");
    }

    #[test]
    fn long_names_lose_their_middle() {
        check("abcdefghij", 10, "abcdefghij");
        check("abcdefghijk", 10, "abcd…ghijk");
    }

    #[test]
    fn a_name_of_four_kib_takes_its_columns() {
        assert_eq!(columns(&visible(&"x".repeat(4096), 48)), 48);
    }

    #[test]
    fn wide_characters_count_twice() {
        check("日本語日本語", 12, "日本語日本語");
        check("日本語日本語", 8, "日…本語");
    }

    proptest! {
        #[test]
        fn no_name_takes_more_columns_or_a_control(text in any::<String>(), limit in 1_usize..60) {
            let shown = visible(&text, limit);
            prop_assert!(columns(&shown) <= limit, "{shown:?}");
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
