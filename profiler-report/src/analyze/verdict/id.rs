//! What a verdict can say, by its identifier in every output. docs/verdicts.md has each of them in words.

use std::fmt;

macro_rules! identifiers {
    ($($variant:ident $text:literal;)*) => {
        /// A cause, or why there is none to name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum VerdictId {
            $($variant,)*
        }

        impl VerdictId {
            /// In the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As a person and a program read it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

identifiers! {
    Deadlock "DEADLOCK";
    CpuQuota "CPU_QUOTA";
    MemoryPressure "MEMORY_PRESSURE";
    LockHeldAcrossIo "LOCK_HELD_ACROSS_IO";
    LockUser "LOCK_USER";
    LockKernel "LOCK_KERNEL";
    WritebackThrottled "WRITEBACK_THROTTLED";
    FsyncBound "FSYNC_BOUND";
    DiskReadBound "DISK_READ_BOUND";
    DiskWriteBound "DISK_WRITE_BOUND";
    CpuSaturated "CPU_SATURATED";
    CpuSingleThread "CPU_SINGLE_THREAD";
    CpuBound "CPU_BOUND";
    DownstreamWait "DOWNSTREAM_WAIT";
    IpcWait "IPC_WAIT";
    Idle "IDLE";
    NoBottleneck "NO_BOTTLENECK";
    Mixed "MIXED";
    InsufficientData "INSUFFICIENT_DATA";
}

/// So that a rule may leave out the fields of a finding that it has nothing to say about.
impl Default for VerdictId {
    fn default() -> Self {
        Self::InsufficientData
    }
}

impl fmt::Display for VerdictId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
