//! Recordings of where threads' wall-clock time went: their file format, their analysis and their reports.
//!
//! Pure: opens no file, reads no `/proc`, no clock and no environment. It builds with stable Rust alone, without the
//! kernel programs and what loads them, so that other programs can read captures with it.
//!
//! The modules stand in the order of the data's path: a [`recording`] is what was seen, a [`capture`] its file,
//! [`analyze`] computes what it says, [`report`] writes that down.

pub mod recording;
pub mod capture;
pub mod analyze;
pub mod report;

#[cfg(test)]
mod testing;
