//! The log of the kernel programs: takes their lines out of its ring, and passes on a bounded number of them.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Size of the ring where there is a log. A line takes 256 bytes of it, or 512: it holds those of some 300
/// events, and is emptied each 50 ms.
pub const RING_BYTES: u32 = 128 << 10;
/// And where there is none: the least that a ring can have, which the loader rounds up to a page.
pub const NO_RING_BYTES: u32 = 4096;

/// Lines that are passed on at most: in a second, and in total.
const MOST_A_SECOND: u32 = 200;
const MOST: u32 = 20_000;

/// What stands before the name of a thread, which the programs tell in hexadecimal digits.
const NAME: &str = "; name ";

/// The lines of the programs.
pub struct KernelLog {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

impl KernelLog {
    /// Takes the ring out of the object.
    ///
    /// # Errors
    /// The object has no such map.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let lines = Lines(Arc::new(Mutex::new(Bounded::new(Instant::now()))));
        let logger = EbpfLogger::init_with_logger(ebpf, lines.clone())
            .context("cannot read the log of the kernel programs")?;
        Ok(Self { logger, lines })
    }

    /// Gives each line that has arrived and is within the bounds to `take`. Names from the targets are in it,
    /// unescaped.
    pub fn drain(&mut self, take: impl FnMut(&str)) {
        self.logger.flush();
        let lines = self.lines.with(|lines| mem::take(&mut lines.passed));
        lines.iter().map(String::as_str).for_each(take);
    }

    /// How many lines have arrived, and how many of them were beyond the bounds.
    pub fn counts(&self) -> (u64, u64) {
        self.lines.with(|lines| (lines.arrived, lines.beyond))
    }
}

/// Where aya-log puts them. Shared with it, as it keeps what it is given.
#[derive(Clone)]
struct Lines(Arc<Mutex<Bounded>>);

impl Lines {
    fn with<T>(&self, act: impl FnOnce(&mut Bounded) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.with(|lines| lines.take(record, Instant::now()));
    }

    fn flush(&self) {}
}

struct Bounded {
    passed: Vec<String>,
    second_began: Instant,
    in_second: u32,
    in_all: u32,
    arrived: u64,
    beyond: u64,
}

impl Bounded {
    fn new(now: Instant) -> Self {
        Self { passed: vec![], second_began: now, in_second: 0, in_all: 0, arrived: 0, beyond: 0 }
    }

    fn take(&mut self, record: &Record<'_>, now: Instant) {
        self.arrived += 1;
        if self.has_room(now) {
            self.passed.push(with_name(&record.args().to_string()));
        } else {
            self.beyond += 1;
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second_began).as_secs() > 0 {
            (self.second_began, self.in_second) = (now, 0);
        }
        if self.in_second == MOST_A_SECOND || self.in_all == MOST {
            return false;
        }
        self.in_second += 1;
        self.in_all += 1;
        true
    }
}

/// A line with the name of its thread in letters.
fn with_name(line: &str) -> String {
    let Some((head, digits)) = line.split_once(NAME) else { return line.to_owned() };
    let bytes = digits.as_bytes().chunks(2).map_while(|pair| {
        let digits = str::from_utf8(pair).ok()?;
        u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)
    });
    format!("{head} `{}`", String::from_utf8_lossy(&bytes.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_are_told_in_letters_up_to_their_final_zero_whatever_is_in_them() {
        assert_eq!(with_name("account of thread 7; name 61622031000000"), "account of thread 7 `ab 1`");
        assert_eq!(with_name("x; name ff1b5b4a"), "x `\u{fffd}\u{1b}[J`");
        assert_eq!(with_name("a line without one"), "a line without one");
    }

    #[test]
    fn a_second_has_so_many_lines_and_the_whole_so_many_and_the_rest_is_counted() {
        let began = Instant::now();
        let mut lines = Bounded::new(began);
        let mut room_at = |seconds, tries: u32| {
            (0..tries).filter(|_| lines.has_room(began + Duration::from_secs(seconds))).count() as u32
        };
        assert_eq!([room_at(0, 1000), room_at(0, 10), room_at(1, 1000)], [MOST_A_SECOND, 0, MOST_A_SECOND]);
        let later: u32 = (2..1000).map(|second| room_at(second, 1000)).sum();
        assert_eq!(later + 2 * MOST_A_SECOND, MOST);
    }

    #[test]
    fn lines_beyond_the_bounds_are_counted() {
        let now = Instant::now();
        let mut lines = Bounded::new(now);
        for _ in 0..MOST_A_SECOND + 3 {
            lines.take(&Record::builder().args(format_args!("x")).build(), now);
        }
        let passed = lines.passed.len() as u32;
        assert_eq!((passed, lines.arrived, lines.beyond), (MOST_A_SECOND, u64::from(MOST_A_SECOND) + 3, 3));
    }
}
