//! What a recording says: pure functions of its tables.

pub mod flame;
pub mod label;
