//! One cause in each file.

pub mod cpu_bound;
pub mod cpu_quota;
pub mod cpu_saturated;
pub mod cpu_single_thread;
pub mod deadlock;
pub mod disk_bound;
pub mod downstream_wait;
pub mod fsync_bound;
pub mod ipc_wait;
pub mod lock_held_across_io;
pub mod lock_kernel;
pub mod lock_user;
pub mod memory_pressure;
pub mod writeback_throttled;
