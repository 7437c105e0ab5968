//! Tells where a process's wall-clock time goes and why.
//!
//! The modules stand in the order of the data's path: from the kernel to a recording, which the crate
//! `profiler-report` analyses. ARCHITECTURE.md says what each may know of the others.

pub mod host;
pub mod kernel;
pub mod notice;
pub mod read_at;
pub mod runtimes;
pub mod decode;
pub mod process;
pub mod unwind;
pub mod collect;
pub mod instruments;
pub mod confine;
pub mod record;
pub mod symbolize;
pub mod output;
pub mod messages;
pub mod doctor;
pub mod cli;
