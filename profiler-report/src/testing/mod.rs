//! Recordings for the tests of more than one module.

mod arbitrary;
mod example;
mod windows;

pub use arbitrary::any_span;
pub use example::example;
pub use windows::{any_recording, example_recording, one_window};
