//! Runs iterators over tasks: the seeding pass, and passes of an instrument.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::{Btf, Ebpf, programs::Iter};

use super::{
    program::{load_program, program},
    sys,
};

/// Opens accounts.
pub struct Seeder(OwnedFd);

/// A program that looks at threads each time that it is run.
pub struct Passes(Vec<OwnedFd>);

impl Seeder {
    /// Loads and links the program.
    pub fn new(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self> {
        Ok(Self(link(ebpf, btf, "seed_threads", None)?))
    }

    /// One pass.
    pub fn run(&self) -> io::Result<()> {
        run_to_end(sys::new_pass(self.0.as_fd())?)
    }
}

impl Passes {
    /// Loads the program, and links it to each of the processes if there are any, else to all tasks.
    pub fn new(ebpf: &mut Ebpf, btf: &Btf, (name, only): (&str, &[u32])) -> Result<Self> {
        load(ebpf, btf, name)?;
        if !only.is_empty() {
            let limited: io::Result<Vec<_>> =
                only.iter().map(|&tgid| link_loaded(ebpf, name, Some(tgid))).collect();
            // Before 6.1 the kernel cannot limit an iterator; and a process may be gone by now.
            if let Ok(links) = limited {
                return Ok(Self(links));
            }
        }
        Ok(Self(vec![link_loaded(ebpf, name, None).with_context(|| format!("cannot link `{name}`"))?]))
    }

    /// One pass.
    pub fn run(&self) -> io::Result<()> {
        for link in &self.0 {
            match sys::new_pass(link.as_fd()) {
                Ok(pass) => run_to_end(pass)?,
                // The process to which this link is limited has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn load(ebpf: &mut Ebpf, btf: &Btf, name: &str) -> Result<()> {
    let program: &mut Iter = program(ebpf, name)?;
    load_program(name, || program.load("task", btf))
}

fn link(ebpf: &mut Ebpf, btf: &Btf, name: &str, process: Option<u32>) -> Result<OwnedFd> {
    load(ebpf, btf, name)?;
    link_loaded(ebpf, name, process).with_context(|| format!("cannot link `{name}`"))
}

fn link_loaded(ebpf: &Ebpf, name: &str, process: Option<u32>) -> io::Result<OwnedFd> {
    let program = ebpf.program(name).ok_or(io::ErrorKind::NotFound)?;
    let fd = program.fd().map_err(io::Error::other)?;
    sys::link_task_iterator(fd.as_fd(), process)
}

/// The programs write nothing into the file: their records go through the ring. Reading only drives them; a read
/// returns 0 at the end, and the kernel pauses a long pass with `EAGAIN` every million tasks.
fn run_to_end(mut pass: File) -> io::Result<()> {
    let mut buffer = [0_u8; 64];
    loop {
        match pass.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
}
