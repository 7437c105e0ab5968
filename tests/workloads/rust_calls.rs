//! `rust_calls`: generic functions, trait objects, closures and library code that calls back, as a release build makes
//! them. The main thread and a second one work and rest; a third waits for a channel, a fourth for a mutex.

use std::hint::black_box;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use profiler_tests::workload::{Scatter, ready, thread_named};

trait Shape {
    fn area(&self, side: u64) -> u64;
}

struct Polygon<const ROUNDS: u64>;

impl<const ROUNDS: u64> Shape for Polygon<ROUNDS> {
    #[inline(never)]
    fn area(&self, side: u64) -> u64 {
        black_box(mix::<ROUNDS>(side))
    }
}

#[inline(never)]
fn mix<const ROUNDS: u64>(value: u64) -> u64 {
    (0..ROUNDS).fold(value, |value, round| black_box(value.wrapping_mul(6_364_136_223_846_793_005) ^ round))
}

#[inline(never)]
fn areas(all: &[Box<dyn Shape>], source: &mut Scatter) -> u64 {
    black_box(all.iter().map(|shape| shape.area(source.below(1 << 20))).max().unwrap_or(0))
}

#[inline(never)]
fn sorted(source: &mut Scatter) -> u64 {
    let mut values: Vec<u64> = (0..256).map(|_| source.below(1 << 30)).collect();
    values.sort_by_key(|value| black_box(value ^ 0x5555));
    black_box(values[128])
}

#[inline(never)]
fn text(source: &mut Scatter) -> u64 {
    let words: Vec<String> = (0..64).map(|_| format!("{:x}", source.below(1 << 30))).collect();
    black_box(words.concat().len() as u64)
}

#[inline(never)]
fn some_work(all: &[Box<dyn Shape>], source: &mut Scatter) {
    for _ in 0..source.below(512) {
        let found = match source.below(3) {
            0 => areas(all, source),
            1 => sorted(source),
            _ => text(source),
        };
        black_box(found);
    }
}

fn work(seed: u64, mut after: impl FnMut(Duration)) {
    let all: Vec<Box<dyn Shape>> = vec![Box::new(Polygon::<500>), Box::new(Polygon::<1500>)];
    let mut source = Scatter::new();
    source.below(seed + 1);
    loop {
        some_work(&all, &mut source);
        after(Duration::from_micros(200 + source.below(1600)));
    }
}

#[inline(never)]
fn wait_for_message(messages: &mpsc::Receiver<u64>) {
    black_box(messages.recv().expect("the sender lives"));
}

#[inline(never)]
fn wait_for_lock(lock: &Mutex<u64>) {
    *lock.lock().expect("nobody panics") += 1;
    black_box(());
}

fn main() {
    let (sender, messages) = mpsc::channel();
    let lock = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&lock);
    thread_named("messages", move || {
        loop {
            wait_for_message(&messages);
        }
    });
    thread_named("lock", move || {
        loop {
            wait_for_lock(&theirs);
            thread::sleep(Duration::from_micros(100));
        }
    });
    thread_named("works", || work(1, thread::sleep));
    ready();
    work(2, |pause| {
        sender.send(1).expect("the receiver lives");
        let held = lock.lock().expect("nobody panics");
        thread::sleep(pause);
        drop(held);
    });
}
