//! Every cause of loss or doubt that the kernel programs count, per CPU.

macro_rules! stats {
    ($($code:literal $variant:ident $name:literal $meaning:literal;)*) => {
        /// A counted cause. The code is the index into the map `STATS`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Stat { $(#[doc = $meaning] $variant = $code,)* }

        impl Stat {
            /// Each cause, by code.
            pub const ALL: &[Stat] = &[$(Stat::$variant,)*];

            /// Name in the JSON report.
            pub const fn name(self) -> &'static str {
                match self { $(Stat::$variant => $name,)* }
            }

            /// One line for a person.
            pub const fn meaning(self) -> &'static str {
                match self { $(Stat::$variant => $meaning,)* }
            }
        }
    };
}

stats! {
    0 OnCpuSamples "oncpu_samples" "on-CPU samples sent";
    1 OnCpuDropped "oncpu_dropped" "on-CPU samples lost because the ring was full";
    2 OffCpuSamples "offcpu_samples" "off-CPU stacks sent";
    3 OffCpuDropped "offcpu_dropped" "off-CPU stacks lost because the ring was full";
    4 ThreadsFull "threads_full" "attempts to open an account that the full map refused";
    5 EndsDropped "ends_dropped" "final accounts lost because the ring was full";
    6 ProcessEventsDropped "process_events_dropped" "fork and exec events lost because the ring was full";
    7 ClockBackwards "clock_backwards" "intervals set to zero because two CPUs' clocks disagreed";
    8 TidReused "tid_reused" "accounts replaced because another thread had their tid";
    9 WakeBeforeSwitch "wake_before_switch" "waits counted as run queue: woken before they had left the CPU";
    10 UserStackUnreadable "user_stack_unreadable" "samples whose user stack could not be read";
    11 KernelStackFailed "kernel_stack_failed" "samples whose kernel stack could not be read";
    12 RegistersUnreadable "registers_unreadable" "waits without a reason because the registers could not be read";
    13 OffCpuRaced "offcpu_raced" "off-CPU stacks given up because the thread ran meanwhile";
    14 LeftCpu "left_cpu" "times that a recorded thread left a CPU, other than to the profiler, or appeared off it";
    15 OtherStacks "other_stacks" "goroutines' stacks sent beside those of their threads";
    16 OtherStacksDropped "other_stacks_dropped" "goroutines' stacks lost because the ring was full";
    17 RequestsFull "requests_full" "requests to block devices not followed because too many were under way";
    18 RequestsUnseen "requests_unseen" "completed requests whose arrival was not seen";
    19 RequestTotalsFull "request_totals_full" "completed requests of devices and operations for which there was no room";
    20 RequestSharesFull "request_shares_full" "completed requests of processes, cgroups or files for which there was no room";
    21 DiskWaitsFull "disk_waits_full" "waits for disks whose cause there was no room for";
    22 FileWaitsFull "file_waits_full" "waits for files for which there was no room";
    23 FileNamesDropped "file_names_dropped" "files whose path was not asked for because the ring was full";
    24 Wakes "wakes" "ends of waits told";
    25 WakesDropped "wakes_dropped" "ends of waits told later, or without a stack, because the ring was full";
    26 LocksSeen "locks_seen" "waits for locks seen at ticks";
    27 LocksDropped "locks_dropped" "waits for locks seen at ticks and not told because the ring was full";
    28 LocksOverLimit "locks_over_limit" "waits for locks at ticks that had told enough of them";
    29 KernelLocksFull "kernel_locks_full" "waits for locks of the kernel of which there were too many to keep apart";
    30 Submits "submits" "stacks that submit requests";
    31 SubmitsDropped "submits_dropped" "stacks that submit requests lost because the ring was full";
    32 SubmitsOverLimit "submits_over_limit" "stacks that submit requests passed over because there were enough at that moment";
    33 LogLines "log_lines" "lines of the programs' log, for `-vv`";
}
