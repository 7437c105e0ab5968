//! Who ended a wait: the thread that was on the CPU, or an interrupt that only came while that one ran.
//!
//! In: a [`Wake`] with its kernel stack. Out: an [`Ender`]. An interrupt's frames stand between the wake-up and what the CPU was doing
//! when it came; packets of this machine's own connections are handed on by the sender itself, without an interrupt.

use crate::analyze::stacks::label::{frame_labels, kernel_frames};
use crate::recording::{Party, Span, ThreadId, Wake};

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ender {
    /// A recorded thread.
    Thread(ThreadId),
    /// A thread of another process.
    Process {
        tgid: u32,
        comm: String,
    },
    /// A thread of the kernel, by its name without the numbers that distinguish it from others of its kind.
    KernelThread(String),
    Timer,
    /// A packet came in.
    Network,
    /// A device was done.
    Disk,
    /// An interrupt of another kind.
    Interrupt,
}

/// Functions by which interrupts enter, on x86_64 and aarch64.
const ENTRIES: &[&str] = &[
    "asm_sysvec_",
    "asm_common_interrupt",
    "common_interrupt",
    "sysvec_",
    "__sysvec_",
    "do_IRQ",
    "smp_apic_timer_interrupt",
    "el1_interrupt",
    "el0_interrupt",
    "el1h_64_irq",
    "el0t_64_irq",
    "irq_exit",
    "__irq_exit",
];
const TIMERS: &[&str] = &[
    "hrtimer_wakeup",
    "process_timeout",
    "call_timer_fn",
    "posix_timer_fn",
    "it_real_fn",
    "timerfd_tmrproc",
];
const DISKS: &[&str] = &["blk_mq_", "blk_update_request", "bio_endio", "blk_complete", "virtblk_", "nvme_"];
const NETWORK: &[&str] =
    &["net_rx_action", "__napi_poll", "tcp_v4_rcv", "tcp_v6_rcv", "udp_queue_rcv", "process_backlog"];

/// Who ended these waits.
pub fn ender(recording: &Span, wake: &Wake) -> Ender {
    let stack = &recording.stacks[wake.stack as usize];
    let functions: Vec<String> = kernel_frames(recording, stack)
        .iter()
        .flat_map(|&frame| frame_labels(recording, frame).into_iter().map(|label| label.text.into_owned()))
        .collect();
    let has = |prefixes: &[&str]| {
        functions.iter().any(|function| prefixes.iter().any(|prefix| function.starts_with(prefix)))
    };
    if has(TIMERS) {
        return Ender::Timer;
    }
    if wake.interrupted || has(ENTRIES) {
        return if has(DISKS) {
            Ender::Disk
        } else if has(NETWORK) {
            Ender::Network
        } else {
            Ender::Interrupt
        };
    }
    match &wake.waker {
        Party::Thread(thread) => Ender::Thread(*thread),
        Party::Stranger { comm, kernel: true, .. } if has(NETWORK) && comm.starts_with("ksoftirqd") => {
            Ender::Network
        }
        Party::Stranger { comm, kernel: true, .. } => Ender::KernelThread(kind_of_kernel_thread(comm)),
        Party::Stranger { tgid, comm, .. } => Ender::Process { tgid: *tgid, comm: comm.clone() },
        Party::Nobody => Ender::Interrupt,
    }
}

/// `kworker/u8:3+flush-254:0` and its like are `kworker (flush)`; `jbd2/vda-8` is `jbd2`.
pub fn kind_of_kernel_thread(comm: &str) -> String {
    if let Some(worker) = comm.strip_prefix("kworker/") {
        let queue = worker.split_once(['+', '-']).map_or("", |(_, queue)| queue);
        let queue = queue.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':' || c == '-');
        return if queue.is_empty() { "kworker".to_owned() } else { format!("kworker ({queue})") };
    }
    comm.split(['/', ':']).next().unwrap_or(comm).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Frame, Method, Name, Stack, StackEnd};

    /// A wake-up by thread 1 through these kernel functions, innermost first.
    #[track_caller]
    fn check(functions: &[&str], interrupted: bool, waker: Party, expected: &Ender) {
        let name = |function: &&str| vec![Name { function: (*function).to_owned(), ..Name::default() }];
        let frames = 0..functions.len() as u32;
        let recording = Span {
            frames: frames.clone().map(|index| Frame::Kernel { address: u64::from(index) }).collect(),
            names: functions.iter().map(name).collect(),
            stacks: vec![Stack {
                kernel: frames.collect(),
                user: vec![],
                end: StackEnd::NoUserStack,
                method: Method::None,
            }],
            ..Span::default()
        };
        let wake = Wake {
            waiter: 0,
            state: 0,
            lock: None,
            waker,
            interrupted,
            stack: 0,
            peer: None,
            weight_ns: 1,
            waits: 1.0,
            count: 1,
            meanwhile: vec![],
        };
        assert_eq!(&ender(&recording, &wake), expected);
    }

    #[test]
    fn whoever_calls_into_the_kernel_to_wake_is_the_one() {
        check(
            &["try_to_wake_up", "wake_up_q", "futex_wake", "do_syscall_64"],
            false,
            Party::Thread(1),
            &Ender::Thread(1),
        );
    }

    #[test]
    fn a_timers_interrupt_wakes_and_not_the_thread_below_it() {
        let stack = ["try_to_wake_up", "hrtimer_wakeup", "asm_sysvec_apic_timer_interrupt", "compute"];
        check(&stack, false, Party::Thread(1), &Ender::Timer);
    }

    #[test]
    fn packets_from_outside_come_by_interrupt_and_own_ones_from_their_sender() {
        let outside = [
            "sock_def_readable",
            "tcp_v4_rcv",
            "net_rx_action",
            "handle_softirqs",
            "irq_exit_rcu",
            "asm_common_interrupt",
        ];
        check(&outside, false, Party::Thread(1), &Ender::Network);
        let own = [
            "sock_def_readable",
            "tcp_v4_rcv",
            "net_rx_action",
            "handle_softirqs",
            "do_softirq",
            "tcp_sendmsg",
            "do_syscall_64",
        ];
        check(&own, false, Party::Thread(1), &Ender::Thread(1));
    }

    #[test]
    fn a_device_wakes_whoever_runs_there() {
        check(&["folio_end_read", "bio_endio", "blk_mq_end_request"], true, Party::Thread(1), &Ender::Disk);
    }

    #[test]
    fn threads_of_the_kernel_are_told_by_their_kind() {
        let by = |comm: &str| Party::Stranger { tgid: 9, comm: comm.into(), kernel: true };
        check(
            &["jbd2_journal_commit_transaction"],
            false,
            by("jbd2/vda-8"),
            &Ender::KernelThread("jbd2".into()),
        );
        check(
            &["process_one_work"],
            false,
            by("kworker/u8:3+flush-254:0"),
            &Ender::KernelThread("kworker (flush)".into()),
        );
        check(&["process_one_work"], false, by("kworker/1:1H"), &Ender::KernelThread("kworker".into()));
    }
}
