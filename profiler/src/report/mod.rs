//! Renderers: one file a format.

mod frame_text;
pub mod folded;
pub mod svg;
