//! Tells where a process's wall-clock time goes and why.
//!
//! The modules stand in the order of the data's path: from the kernel to a recording, which the crate
//! `profiler-report` analyses. ARCHITECTURE.md says what each may know of the others.

pub mod kernel;
pub mod decode;
pub mod process;
pub mod unwind;
pub mod collect;
pub mod confine;
pub mod session;
pub mod symbolize;
pub mod output;
pub mod messages;
pub mod doctor;
pub mod cli;
