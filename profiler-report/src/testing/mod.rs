//! Recordings for the tests of more than one module.

mod arbitrary;
mod example;

pub use arbitrary::any_recording;
pub use example::example;
