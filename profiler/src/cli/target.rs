//! From the options that say what to record to a target.

use anyhow::Result;

use super::{args::Record, habits::SCHEMES};
use crate::record::{
    Target, TargetError,
    names::{self, NameError},
};

/// What to record.
pub struct Wanted {
    pub target: Target,
    /// With its children.
    pub children: bool,
}

impl Wanted {
    /// Finds what is named: clap has seen to it that it is one kind.
    ///
    /// # Errors
    /// There is nothing of that name, or several are called so.
    pub fn of(args: &Record) -> Result<Self> {
        let plain = |target| Ok(Self { target, children: args.children });
        if let Some(regex) = &args.comm {
            return plain(Target::Comm(regex.clone()));
        }
        if let Some(path) = &args.cgroup {
            return plain(Target::Cgroup(path.clone()));
        }
        if let Some(name) = &args.unit {
            return plain(Target::Cgroup(names::unit(name)?));
        }
        if let Some(name) = &args.container {
            return plain(Target::Cgroup(names::container(name)?));
        }
        if args.all {
            return plain(Target::All);
        }
        if !args.tid.is_empty() {
            return plain(Target::Threads(args.tid.clone()));
        }
        if !args.command.is_empty() {
            return plain(Target::Command(args.command.clone()));
        }
        match args.pid.as_slice() {
            [name] if scheme(name).is_some() => plain(Target::Cgroup(by_scheme(name)?)),
            names => processes(names, args.children),
        }
    }
}

fn scheme(name: &str) -> Option<(&str, &str)> {
    name.split_once(':').filter(|(scheme, _)| SCHEMES.contains(scheme))
}

fn by_scheme(name: &str) -> Result<std::path::PathBuf, NameError> {
    match scheme(name) {
        Some(("unit", unit)) => names::unit(unit),
        Some((_, container)) => names::container(container),
        None => names::container(name),
    }
}

/// Ids and names, in any mixture. A server's workers are its children, so that a name brings them.
fn processes(words: &[String], children: bool) -> Result<Wanted> {
    let mut wanted = Wanted { target: Target::All, children };
    let mut tgids = vec![];
    for word in words {
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            let tgid = word.parse().ok().filter(|&tgid| tgid > 0);
            // No process has an id that does not fit.
            tgids.push(tgid.ok_or_else(|| TargetError::NoSuchId(word.clone()))?);
        } else {
            tgids.push(names::process(word)?);
            wanted.children = true;
        }
    }
    tgids.sort_unstable();
    tgids.dedup();
    wanted.target = Target::Processes(tgids);
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_no_process_can_have_is_none() {
        for word in ["0", "99999999999999999999"] {
            let error = processes(&[word.to_owned()], false).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.starts_with("no such process: ")), "{word}");
        }
    }

    #[test]
    fn ids_are_taken_once_and_as_they_are() {
        let wanted = processes(&["7".to_owned(), "5".to_owned(), "7".to_owned()], false).expect("ids");
        assert!(matches!(&wanted.target, Target::Processes(tgids) if tgids == &[5, 7]));
        assert!(!wanted.children);
    }
}
