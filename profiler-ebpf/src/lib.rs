//! The logic of the kernel programs. `main.rs` lists what is attached; here is what each hook does.
//!
//! A library, so that the parts that are pure also compile and are tested on the host.
#![cfg_attr(not(test), no_std)]

pub mod classify;
pub mod emit;
pub mod filter;
pub mod maps;
pub mod probes;
pub mod stack;
pub mod task;
