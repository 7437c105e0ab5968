//! The command line: parse, run one subcommand, map the result to an exit code.

mod args;
mod doctor;
mod habits;
mod io;
mod manual;
mod outputs;
mod record;
mod report;
mod switches;
mod target;
mod values;
mod version;

use std::{ffi::OsString, process::ExitCode, time::Instant};

use clap::Parser as _;

use crate::{
    kernel::Denied,
    messages,
    record::{CommandError, names},
};
use args::{Args, Subcommand};
use profiler_report::report::UnknownFormat;

/// Exit codes of our own. A recorded command's code goes before them.
mod code {
    pub const RUNTIME: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const NOTHING_SAMPLED: u8 = 4;
    pub const DENIED: u8 = 77;
}

/// Runs the program.
pub fn main() -> ExitCode {
    let program_start = Instant::now();
    let args = match parsed(std::env::args_os().skip(1).collect()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let result = match args.subcommand {
        Subcommand::Record(args) => record::run(&args, program_start),
        Subcommand::Report(args) => report::run(&args),
        Subcommand::Io(args) => io::run(&args, program_start),
        Subcommand::Doctor(args) => doctor::run(&args),
        Subcommand::Completions(args) => manual::completions(&args),
        Subcommand::Man(args) => manual::man(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", messages::shown(&format!("profiler: {error:#}")));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The arguments; or the exit code, where there is nothing more to do than what was said.
fn parsed(words: Vec<OsString>) -> Result<Args, ExitCode> {
    let understood = habits::understand(words, names::is_running).map_err(|hint| {
        eprintln!("{}", messages::shown(&format!("profiler: {hint}")));
        ExitCode::from(code::USAGE)
    })?;
    let program = OsString::from("profiler");
    let args = Args::try_parse_from(std::iter::once(program).chain(understood.words));
    let args = args.map_err(|error| {
        if error.use_stderr() {
            eprintln!("{}", messages::shown(&habits::shown(&error)));
        } else {
            // Help and version. Nobody may be listening.
            let _ = error.print();
        }
        ExitCode::from(error.exit_code() as u8)
    })?;
    if let Some(notice) = understood.notice {
        eprintln!("{}", messages::shown(&notice));
    }
    Ok(args)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<CommandError>() {
        return error.exit_code() as u8;
    }
    if error.is::<Denied>() {
        code::DENIED
    } else if error.is::<UnknownFormat>() {
        code::USAGE
    } else {
        code::RUNTIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TargetError;

    #[test]
    fn a_command_that_is_not_there_is_127_as_in_a_shell() {
        let error =
            anyhow::Error::new(CommandError::NotFound { command: "x".into() }).context("while recording");
        assert_eq!(exit_code(&error), 127);
    }

    #[test]
    fn a_target_that_is_not_there_is_a_runtime_error() {
        assert_eq!(exit_code(&TargetError::NoSuchProcess(1).into()), code::RUNTIME);
    }
}
