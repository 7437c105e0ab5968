//! The command line: parse, run one subcommand, map the result to an exit code.

mod args;
mod doctor;
mod io;
mod outputs;
mod record;
mod report;
mod switches;
mod version;

use std::{process::ExitCode, time::Instant};

use clap::Parser as _;

use crate::{kernel::Denied, messages, record::CommandError};
use args::{Args, Subcommand};

/// Exit codes of our own. A recorded command's code goes before them; wrong usage is 2, from clap.
mod code {
    pub const RUNTIME: u8 = 1;
    pub const NOTHING_SAMPLED: u8 = 4;
    pub const DENIED: u8 = 77;
}

/// Runs the program.
pub fn main() -> ExitCode {
    let program_start = Instant::now();
    let args = Args::parse();
    let result = match args.subcommand {
        Subcommand::Record(args) => record::run(&args, program_start),
        Subcommand::Report(args) => report::run(&args),
        Subcommand::Io(args) => io::run(&args, program_start),
        Subcommand::Doctor(args) => doctor::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", messages::shown(&format!("profiler: {error:#}")));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<CommandError>() {
        return error.exit_code() as u8;
    }
    if error.is::<Denied>() { code::DENIED } else { code::RUNTIME }
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
