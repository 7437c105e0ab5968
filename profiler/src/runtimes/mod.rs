//! What is known of language runtimes: a room for each.
//!
//! In: bytes of a program, by [`crate::read_at::ReadAt`] or a function that reads code. Out: where the runtime keeps what a
//! stack needs, and which functions end one. Pure: opens no file, and knows nothing of how stacks are unwound.

pub mod go;
