//! What the programs do, line by line, for those who ask for it (`-vv`).
//!
//! Behind a load-time constant, so that the verifier removes the lines for all others: what remains of each
//! is the reading of the constant, at places that are seldom reached. A line is a function of its own:
//! inlined, its registers would push those of the program to the stack, which all would pay for.
//!
//! No text of a target is in a line but the name of a thread, and that in hexadecimal digits: userspace takes
//! what it is given as text for valid UTF-8, and ends if it is not.

use profiler_common::{ledger::ThreadRecord, stat::Stat};

use crate::emit::count;

/// Defines functions that say one line each. The lines are counted before: what userspace does not get of
/// them was lost because the ring was full.
macro_rules! lines {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) $format:literal $(, $value:expr)*;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($($argument: $type),*) {
            #[inline(never)]
            fn say($($argument: $type),*) {
                count(Stat::LogLines);
                aya_log_ebpf::info!((), target: "", $format $(, $value)*);
            }
            if $crate::config!(log) != 0 {
                say($($argument),*);
            }
        }
    )*};
}

lines! {
    /// A pass over all tasks found a target.
    account_of_a_present_thread(record: &ThreadRecord)
        "account of thread {} of process {}: it was there; name {:x}",
        record.tid, record.tgid, record.comm.as_slice();
    /// A recorded thread has created another.
    account_of_a_created_thread(record: &ThreadRecord)
        "account of thread {} of process {}: a recorded thread has created it; name {:x}",
        record.tid, record.tgid, record.comm.as_slice();
    /// The command that is recorded begins.
    account_at_exec(record: &ThreadRecord)
        "account of thread {} of process {}: it is a target, and runs a new image; name {:x}",
        record.tid, record.tgid, record.comm.as_slice();
    /// A thread that was not its process's leader runs a new image, and has the leader's id from now on.
    account_of_a_new_leader(record: &ThreadRecord, old_tid: u32)
        "account of thread {} of process {}, until now thread {}: it runs a new image; name {:x}",
        record.tid, record.tgid, old_tid, record.comm.as_slice();
    /// With `-a` and `--cgroup`.
    account_at_first_sight(record: &ThreadRecord)
        "account of thread {} of process {}: it leaves a CPU and had none; name {:x}",
        record.tid, record.tgid, record.comm.as_slice();
    /// The map of accounts is full.
    no_room_for_an_account(tid: u32, tgid: u32)
        "no account of thread {} of process {}: the map is full", tid, tgid;
    /// The thread's end was not seen, or its id changed hands in an exec.
    account_of_another(tid: u32, tgid: u32)
        "the account of thread {} of process {} is closed: another thread has its id now", tid, tgid;
    /// Nothing is charged then.
    woken_beside_its_account(tid: u32, tgid: u32)
        "thread {} of process {} is woken, but the account under its id is another thread's", tid, tgid;
    /// What there was to see of a wait: the number of its system call (negative: none) and the call's class,
    /// see [`profiler_common::syscall`]; what the descriptor refers to that was looked at last, a code of
    /// [`crate::classify::FileKind`].
    wait_without_a_reason(record: &ThreadRecord, call: i32, class: i32)
        "wait of thread {} without a reason: system call {} of class {}; last descriptor {} of kind {}",
        record.tid, call, class, record.file_descriptor as i32, record.file_kind;
}
