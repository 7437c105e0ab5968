//! The logic of the kernel programs. `main.rs` lists what is attached; here is what each hook does.
//!
//! A library, so that the parts that are pure also compile and are tested on the host.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
// A BPF function has 512 bytes of stack and five arguments, and before 5.10 may not call others with maps: everything is
// inlined into its program, where the verifier also sees what is known of each value.
#![allow(clippy::inline_always)]

pub mod atomic;
pub mod classify;
pub mod descriptor;
pub mod emit;
pub mod filter;
pub mod log;
pub mod maps;
pub mod probes;
pub mod request;
pub mod stack;
pub mod task;
pub mod wait;
