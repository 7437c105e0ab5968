//! Go: where its stacks end, and where it keeps its goroutines.

mod functions;
mod goroutine;

pub use functions::{Outermost, Place, outermost};
pub use goroutine::{first_call_end, offsets};
