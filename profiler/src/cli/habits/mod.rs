//! What fingers type that know perf, py-spy and bcc, turned into the words of this program before clap reads them.
//!
//! In: the words of the command line. Out: words for clap, and a notice of what was understood; or a hint: one line with what
//! to type instead. What clap refuses after that is said in [`refusal`].

mod foreign;
mod refusal;
mod walk;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{Command, CommandFactory as _};

use super::args::Args;
pub use refusal::shown;
use walk::{Step, Walk};

/// What was understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Understood {
    pub words: Vec<OsString>,
    /// Said on stderr, where a word could have meant something else.
    pub notice: Option<String>,
}

/// What to type instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}\n  try: {instead}")]
pub struct Hint {
    pub wrong: String,
    pub instead: String,
}

/// Schemes before a name, as in `docker:web`.
pub const SCHEMES: &[&str] = &["docker", "podman", "container", "unit"];

/// Understands the words behind the program's name. `is_running` says whether a process is called so.
///
/// # Errors
/// The words are those of another tool, and mean something else here.
pub fn understand(words: Vec<OsString>, is_running: impl Fn(&str) -> bool) -> Result<Understood, Hint> {
    let definition = Args::command();
    let Some(first) = words.first().map(|word| word.to_string_lossy().into_owned()) else {
        return Ok(Understood { words, notice: None });
    };
    let known = |name: &str| definition.find_subcommand(name).is_some();
    match first.as_str() {
        "record" => record(&definition, words, is_running),
        "version" => Ok(Understood { words: vec!["--version".into()], notice: None }),
        "help" | "-h" | "--help" | "-V" | "--version" => Ok(Understood { words, notice: None }),
        name if known(name) => Ok(Understood { words, notice: None }),
        name if Path::new(name).extension().is_some_and(|extension| extension == "prof") => {
            Ok(before("report", words))
        }
        name if name.starts_with('-') || names_target(name) => {
            record(&definition, before("record", words).words, is_running)
        }
        name => match foreign::command(name, &words[1..]) {
            Some(hint) => Err(hint),
            None if is_running(name) => record(&definition, before("record", words).words, is_running),
            None if name.contains('/') => {
                Err(Hint { wrong: format!("`{name}` is no command of profiler"), instead: started(&words) })
            }
            None => Ok(Understood { words, notice: None }),
        },
    }
}

fn before(word: &str, words: Vec<OsString>) -> Understood {
    Understood { words: [vec![word.into()], words].concat(), notice: None }
}

fn started(words: &[OsString]) -> String {
    format!("profiler record -- {}", words.join(OsStr::new(" ")).to_string_lossy())
}

/// Ids, or a name behind a scheme: nothing that can be started.
fn names_target(word: &str) -> bool {
    let is_ids = word.split(',').all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
    is_ids || word.split_once(':').is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// `record`: what stands first without a dash is a target or the command that is started; all behind that command is its own.
fn record(
    definition: &Command,
    words: Vec<OsString>,
    is_running: impl Fn(&str) -> bool,
) -> Result<Understood, Hint> {
    let Some(record) = definition.find_subcommand("record") else {
        return Ok(Understood { words, notice: None });
    };
    let mut walk = Walk::new(record, &words[1..]);
    let mut target = None;
    let at = loop {
        match walk.next() {
            Some(Step::Option(id)) => target = target.or(walk::is_target(record, &id).then_some(id)),
            Some(Step::Word(at)) => break at + 1,
            // Clap says what is wrong with it.
            Some(Step::Unknown | Step::Separator) | None => return Ok(Understood { words, notice: None }),
        }
    };
    let (first, behind) = (words[at].to_string_lossy().into_owned(), &words[at + 1..]);
    if let Some(target) = target {
        return Err(Hint {
            wrong: format!("--{target} says what to record already, so nothing starts `{first}`"),
            instead: "-d TIME, to record for that long".to_owned(),
        });
    }
    let only_options = Walk::new(record, behind).all(|step| matches!(step, Step::Option(_)));
    let is_name = !first.contains('/') && only_options && is_running(&first);
    let insert = if is_name || only_options && names_target(&first) { "-p" } else { "--" };
    let notice = is_name.then(|| {
        format!("profiler: recording the running `{first}`; to start one: profiler record -- {first}")
    });
    let mut words = words;
    words.insert(at, insert.into());
    Ok(Understood { words, notice })
}

#[cfg(test)]
mod tests;
