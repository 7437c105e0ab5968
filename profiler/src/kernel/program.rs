//! One program of the object: finds it, and loads it.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};

/// A program of the object by name and kind.
pub fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).with_context(|| format!("there is no kernel program `{name}`"))?;
    <&mut P>::try_from(program).with_context(|| format!("the kernel program `{name}` has an unexpected type"))
}

/// Most times that a program is loaded, as in libbpf (`PROG_LOAD_ATTEMPTS`): a signal that cannot be held back disturbs each.
const ATTEMPTS: u32 = 5;

/// Loads a program. Done again if the kernel was disturbed: it gives up the check (`EAGAIN`) when the thread is stopped, frozen
/// or traced.
pub fn load_program(name: &str, mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<()> {
    let mut attempt = 1;
    loop {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == std::io::ErrorKind::WouldBlock && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result.map_err(|error| refused(name, error)),
        }
    }
}

/// A program that the kernel refuses, with the verifier's words if it was the verifier.
pub fn refused(name: &str, error: ProgramError) -> anyhow::Error {
    let hint = match &error {
        // With a log it was the verifier, which has the same error for what it refuses.
        ProgramError::LoadError { io_error, verifier_log }
            if io_error.kind() == std::io::ErrorKind::PermissionDenied
                && verifier_log.to_string().trim().is_empty() =>
        {
            "\n  try: run as root, or see `kernel.unprivileged_bpf_disabled` and the kernel's lockdown mode"
        }
        _ => "",
    };
    anyhow::Error::new(error).context(format!("the kernel refuses the program `{name}`{hint}"))
}
