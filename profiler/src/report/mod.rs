//! Renderers: one file a format.

mod escape;
pub mod folded;
pub mod svg;
