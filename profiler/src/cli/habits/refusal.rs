//! What clap refuses, in our words: its own advice (`to pass '-g' as a value, use '-- -g'`) would start a command of that name.

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::foreign;

/// A suggestion that differs by more letters is a guess.
const MOST_LETTERS: usize = 2;

/// The text for stderr; help and version are for stdout and stay as they are.
pub fn shown(error: &Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let (wrong, name) = match error.kind() {
        ErrorKind::UnknownArgument => {
            let name = context(ContextKind::InvalidArg).unwrap_or_default();
            let what = if name.starts_with('-') { "option" } else { "word" };
            (format!("profiler does not know the {what} `{name}` here"), name)
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            (format!("profiler has no command `{name}`"), name)
        }
        ErrorKind::MissingRequiredArgument => {
            let what = "profiler does not know what to record";
            let wanted = context(ContextKind::InvalidArg).unwrap_or_default();
            if !wanted.contains("--pid") {
                return without_tips(error);
            }
            return format!("profiler: {what}\n  try: -p PID, -p NAME, -a for all, or -- COMMAND");
        }
        _ => return without_tips(error),
    };
    let suggested =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand].into_iter().find_map(context);
    let near = suggested.filter(|near| strsim::damerau_levenshtein(near, &name) <= MOST_LETTERS);
    let instead = foreign::option(&name).map(str::to_owned).or(near);
    let instead = instead.unwrap_or_else(|| "profiler --help, or profiler record --help".to_owned());
    format!("profiler: {wrong}\n  try: {instead}")
}

/// Clap's own text, but for its advice.
fn without_tips(error: &Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.trim_start().starts_with("Usage:"));
    let lines: Vec<&str> =
        lines.filter(|line| !line.trim_start().starts_with("tip:") && !line.trim().is_empty()).collect();
    format!("profiler: {}\n  try: profiler --help, or profiler record --help", lines.join("\n"))
}
