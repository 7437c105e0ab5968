//! `verdict CASE [DIRECTORY]`: does one thing whose bottleneck is known, until it is killed. The cases are those of
//! `cargo xtask bench verdicts` and of the live tests.

mod cpu;
mod disk;
mod idle;
mod ipc;
mod locks;
mod semaphores;

use std::path::Path;
use std::thread::JoinHandle;

use profiler_tests::workload::{ready, ready_with, text};

/// The threads of a case, which run until the process is killed.
type Threads = Vec<JoinHandle<()>>;

fn main() {
    let directory = std::env::args().nth(2).unwrap_or_else(|| ".".to_owned());
    let directory = Path::new(&directory);
    let threads = match text(1).as_str() {
        "spin_two" => cpu::spinners(2),
        "spin_one" => cpu::spinners(1),
        "spin_six" => cpu::spinners(6),
        "spin_on_cpu_0" => cpu::spin_on_cpu_0(),
        "spin_among_idle" => [cpu::spinners(1), idle::condition_variable(7)].concat_all(),
        "duty_cycle_30" => cpu::duty_cycle(3, 7),
        "spin_lock" => cpu::spin_lock(),
        "direct_read" => disk::direct(directory, 1, false),
        "direct_read_four" => disk::direct(directory, 4, false),
        "direct_write" => disk::direct(directory, 1, true),
        "fsync_four" => disk::fsync(directory, 4),
        "synchronous_write" => disk::synchronous_write(directory),
        "dirty" => disk::dirty(directory),
        "ring_sync" => disk::ring_sync(directory),
        "read_again" => disk::read_again(directory),
        "mutex_hot" => locks::mutex(4, &locks::Held::Computing),
        "mutex_across_fsync" => locks::mutex(4, &locks::Held::Syncing(directory.to_owned())),
        "mutex_across_sleep" => locks::mutex(4, &locks::Held::Sleeping),
        "mutex_without_cpu" => locks::without_cpu(),
        "mutex_inheriting" => locks::inheriting(4),
        "rust_mutex_hot" => locks::rust_mutex(4),
        "read_write_lock" => locks::read_write_lock(4),
        "rust_read_write_lock" => locks::rust_read_write_lock(4),
        "address_space" => locks::address_space(4),
        "semaphore_as_lock" => semaphores::as_lock(4),
        "semaphore_as_queue" => semaphores::as_queue(6),
        "deadlock" => locks::deadlock(),
        "idle_condition_variable" => idle::condition_variable(16),
        "idle_epoll" => idle::epoll(4),
        "idle_pipe" => idle::pipe(2),
        "idle_accept" => idle::accept(2),
        "timers" => idle::timers(8),
        "light_queue" => idle::light_queue(4),
        "unix_pingpong" => ipc::unix_pingpong(),
        "downstream" => return ipc::downstream(),
        other => panic!("there is no case `{other}`"),
    };
    ready();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

/// Says that another process is the one to record.
fn ready_as(pid: u32) {
    ready_with(&[pid]);
}

trait ConcatAll {
    fn concat_all(self) -> Threads;
}

impl<const N: usize> ConcatAll for [Threads; N] {
    fn concat_all(self) -> Threads {
        self.into_iter().flatten().collect()
    }
}
