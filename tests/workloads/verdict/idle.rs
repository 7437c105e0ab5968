//! What has nothing to do, or little.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::sleep;
use std::time::Duration;

use profiler_tests::workload::{check, spin_for, thread_named};

use super::Threads;

pub fn condition_variable(threads: usize) -> Threads {
    let pair = Arc::new((Mutex::new(()), Condvar::new()));
    (0..threads)
        .map(|index| {
            let pair = Arc::clone(&pair);
            thread_named(&format!("idle-{index}"), move || {
                let mut guard = pair.0.lock().expect("nobody panics");
                loop {
                    guard = pair.1.wait(guard).expect("nobody panics");
                }
            })
        })
        .collect()
}

pub fn epoll(threads: usize) -> Threads {
    (0..threads)
        .map(|index| {
            thread_named(&format!("epoll-{index}"), || {
                // SAFETY: the calls take numbers and a place for one event.
                unsafe {
                    let epoll = check(libc::epoll_create1(0));
                    let mut event: libc::epoll_event = std::mem::zeroed();
                    loop {
                        check(libc::epoll_wait(epoll, &raw mut event, 1, 1000));
                    }
                }
            })
        })
        .collect()
}

/// Readers of pipes into which nobody writes.
pub fn pipe(threads: usize) -> Threads {
    (0..threads)
        .map(|index| {
            let (mut reader, writer) = std::io::pipe().expect("a pipe");
            thread_named(&format!("reader-{index}"), move || {
                let _open = writer;
                let _ = reader.read(&mut [0]);
            })
        })
        .collect()
}

pub fn accept(threads: usize) -> Threads {
    (0..threads)
        .map(|index| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            thread_named(&format!("accept-{index}"), move || {
                let _ = listener.accept();
            })
        })
        .collect()
}

pub fn timers(threads: usize) -> Threads {
    (0..threads)
        .map(|index| {
            thread_named(&format!("timer-{index}"), || {
                loop {
                    sleep(Duration::from_millis(10));
                }
            })
        })
        .collect()
}

/// A queue into which something to do comes now and then, and more workers than it needs.
pub fn light_queue(workers: usize) -> Threads {
    let queue = Arc::new((Mutex::new(VecDeque::new()), Condvar::new()));
    let work = |index: usize| {
        let queue = Arc::clone(&queue);
        thread_named(&format!("worker-{index}"), move || {
            loop {
                let mut waiting = queue.0.lock().expect("nobody panics");
                let item: Duration = loop {
                    if let Some(item) = waiting.pop_front() {
                        break item;
                    }
                    waiting = queue.1.wait(waiting).expect("nobody panics");
                };
                drop(waiting);
                spin_for(item);
            }
        })
    };
    let mut threads: Threads = (0..workers).map(work).collect();
    threads.push(thread_named("producer", move || {
        loop {
            sleep(Duration::from_millis(20));
            queue.0.lock().expect("nobody panics").push_back(Duration::from_millis(1));
            queue.1.notify_one();
        }
    }));
    threads
}
