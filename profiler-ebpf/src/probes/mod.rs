//! What each hook is for: one question a file.

pub mod block_io;
pub mod disk_waits;
pub mod ledger;
pub mod locks;
pub mod offcpu;
pub mod oncpu;
pub mod process;
pub mod seed;
pub mod submits;
pub mod wait_times;
