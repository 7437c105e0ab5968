//! Live tests of `profiler`, and the workloads of known truth that they record.
//!
//! [`workload`] is what the programs under `workloads/` share. The other modules are what the tests and the benchmarks
//! share: to start a workload and the profiler, to read its report, and to read the kernel's own counters beside it.
//! [`command`] and [`document`] are what the benchmarks and the development tasks share.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a helper of tests fails")]

pub mod workload;

pub mod big_program;
pub mod command;
pub mod compile;
pub mod counters;
pub mod document;
pub mod frozen;
pub mod fuse;
pub mod harness;
pub mod leftovers;
pub mod loop_device;
pub mod report;
pub mod running;
pub mod servers;
pub mod setting;
pub mod slow_disk;
pub mod trace;
