//! Running other programs: as the user, or as root with `sudo` where it must be. For the development tasks and the benchmarks.
//!
//! Everything that is run with an effect is printed first, so that its output has a heading.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// `cargo`, the one that runs this task, in the repository's root.
pub fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(repository());
    // What the cargo that runs this program says of its package: some build scripts (that of `ring`) run again where these differ,
    // so that this cargo and one that is called by hand would build after each other what the other has just built.
    let is_of_package = |name: &OsStr| {
        ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|begin| name.as_encoded_bytes().starts_with(begin.as_bytes()))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_package(name)) {
        cargo.env_remove(name);
    }
    cargo
}

/// Prints the command, runs it, and fails when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// The standard output of a quick question, or nothing when the program is missing or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where cargo builds this workspace.
pub fn target_directory(manifest: &Path) -> Result<PathBuf> {
    let metadata = metadata(manifest)?;
    let folder =
        metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
    Ok(folder.into())
}

/// What cargo knows of a workspace, without its dependencies.
pub fn metadata(manifest: &Path) -> Result<serde_json::Value> {
    let mut ask = cargo(["metadata", "--format-version=1", "--no-deps", "--manifest-path"]);
    let json =
        answer(ask.arg(manifest)).with_context(|| format!("cargo cannot read {}", manifest.display()))?;
    serde_json::from_str(&json).context("`cargo metadata` did not print JSON")
}

/// The command as one would type it: programs on the path by name, and the variables set for it in front. A script
/// among its arguments is only hinted at.
pub fn shown(command: &Command) -> String {
    let program = command.get_program();
    let name = Path::new(program).file_name().filter(|name| on_path(name)).unwrap_or(program);
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let words = std::iter::once(name).chain(command.get_args()).map(|word| quoted(&word.to_string_lossy()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@+".contains(c);
    match word {
        script if script.contains('\n') => "'…'".into(),
        word if !word.is_empty() && word.chars().all(plain) => word.into(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Is there an executable of this name on the path?
pub fn on_path(program: impl AsRef<Path>) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(&program).is_file())
}

/// How this process can act as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// It is root.
    Root,
    /// It is not, but `sudo` works, or can ask for a password.
    Sudo,
    /// Neither.
    None,
}

/// Asks the system how this process can act as root.
pub fn privilege() -> Privilege {
    // A process's folder in /proc belongs to its effective user.
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        return Privilege::Root;
    }
    if !on_path("sudo") {
        return Privilege::None;
    }
    let without_password = answer(Command::new("sudo").args(["--non-interactive", "true"])).is_some();
    if without_password || std::io::stdin().is_terminal() { Privilege::Sudo } else { Privilege::None }
}

/// What to put before a command for it to run as root with the caller's environment: nothing for root itself.
///
/// `why` ends the sentence that tells the user about `sudo`.
pub fn root_prefix(why: &str) -> Result<Vec<String>> {
    match privilege() {
        Privilege::Root => Ok(Vec::new()),
        Privilege::Sudo => {
            eprintln!("xtask: using sudo {why}");
            // sudo replaces PATH even when it keeps the rest of the environment.
            let path = format!("PATH={}", env::var("PATH").unwrap_or_default());
            Ok(["sudo", "--preserve-env", "env", &path].map(String::from).to_vec())
        }
        Privilege::None => {
            bail!("root is needed {why}, and sudo is missing or wants a password\n  try: run it as root")
        }
    }
}

/// A command that runs as root.
pub fn as_root(program: impl Into<PathBuf>, why: &str) -> Result<Command> {
    let program = program.into();
    let prefix = root_prefix(why)?;
    let Some((sudo, words)) = prefix.split_first() else { return Ok(Command::new(program)) };
    let mut command = Command::new(sudo);
    command.args(words).arg(program);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("/elsewhere/sh");
        command.args(["-c", "a b", "", "it's", "two\nlines"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), r"RUSTDOCFLAGS='-D warnings' sh -c 'a b' '' 'it'\''s' '…'");
    }

    #[test]
    fn a_program_that_is_not_on_the_path_is_shown_with_its_folder() {
        assert_eq!(shown(&Command::new("/elsewhere/no-such-program")), "/elsewhere/no-such-program");
    }

    #[test]
    fn a_program_that_is_missing_or_fails_answers_nothing() {
        assert_eq!(answer(&mut Command::new("/nonexistent")), None);
        assert_eq!(answer(&mut Command::new("false")), None);
        assert_eq!(answer(Command::new("echo").arg("yes")).as_deref(), Some("yes"));
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program"));
    }
}
