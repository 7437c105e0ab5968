//! Which words of a command line are options, by clap's own definition of them.

use std::ffi::OsString;

use clap::{Arg, Command};

/// What a word is.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// An option, by its id, with its value.
    Option(String),
    /// The first word that is neither an option nor a value, by its place. Nothing is walked behind it.
    Word(usize),
    /// An option that there is none of. Nothing is walked behind it.
    Unknown,
    /// `--`. Nothing is walked behind it.
    Separator,
}

/// Goes from option to option.
pub struct Walk<'a> {
    command: &'a Command,
    words: &'a [OsString],
    at: usize,
}

impl<'a> Walk<'a> {
    pub fn new(command: &'a Command, words: &'a [OsString]) -> Self {
        Self { command, words, at: 0 }
    }

    fn end(&mut self, step: Step) -> Step {
        self.at = self.words.len();
        step
    }

    /// Passes an option, and its value if that is the next word.
    fn pass(&mut self, arg: &Arg, has_value: bool) -> Step {
        self.at += 1;
        let takes = arg.get_action().takes_values() && !has_value;
        let is_optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
        let next = self.words.get(self.at).map(|word| word.to_string_lossy());
        let fits = |next: &str| {
            let values = arg.get_possible_values();
            if is_optional { values.iter().any(|value| value.matches(next, false)) } else { true }
        };
        if takes && next.is_some_and(|next| fits(&next)) {
            self.at += 1;
        }
        Step::Option(arg.get_id().to_string())
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let word = self.words.get(self.at)?.to_string_lossy().into_owned();
        if word == "--" {
            return Some(self.end(Step::Separator));
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
            return Some(match self.command.get_arguments().find(|arg| has_long(arg, name)) {
                Some(arg) => self.pass(arg, has_value),
                None => self.end(Step::Unknown),
            });
        }
        if word == "-" || !word.starts_with('-') {
            let at = self.at;
            return Some(self.end(Step::Word(at)));
        }
        // Several short ones in a word: the first that takes a value has the rest of the word, or the next one.
        let mut letters = word[1..].char_indices().peekable();
        let mut last: Option<&Arg> = None;
        while let Some((_, letter)) = letters.next() {
            let Some(arg) = self.command.get_arguments().find(|arg| has_short(arg, letter)) else {
                return Some(self.end(Step::Unknown));
            };
            if arg.get_action().takes_values() {
                return Some(self.pass(arg, letters.peek().is_some()));
            }
            // A target among them counts, wherever it stands.
            last = last.filter(|last: &&Arg| is_target_arg(self.command, last)).or(Some(arg));
        }
        last.map(|arg| self.pass(arg, false))
    }
}

fn has_long(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

fn has_short(arg: &Arg, letter: char) -> bool {
    arg.get_short() == Some(letter)
        || arg.get_all_short_aliases().is_some_and(|aliases| aliases.contains(&letter))
}

/// Whether an option says what to record.
pub fn is_target(record: &Command, id: &str) -> bool {
    let mut groups = record.get_groups().filter(|group| group.get_id().as_str() == "target");
    groups.any(|group| group.get_args().any(|arg| arg.as_str() == id))
}

fn is_target_arg(record: &Command, arg: &Arg) -> bool {
    is_target(record, arg.get_id().as_str())
}
