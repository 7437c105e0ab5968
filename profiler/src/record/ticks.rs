//! The ticks of the recording, by a timer of the kernel.
//!
//! Two system calls a tick: the wait for all inputs, and the reading of the timer. tokio's own interval takes five, since
//! setting a timer wakes its driver, and its waits end at whole milliseconds.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::unix::AsyncFd;

use crate::host::monotonic_ns;

/// One of the ticks at which the timer goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it was due, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Ticks from the last one to this one. Late ones, for which there is one in all, do not count.
    pub passed: u32,
}

/// A timer that goes off at each tick, or at each so-manyth. Ticks that nobody waited for in time are one.
pub struct Ticks {
    timer: AsyncFd<OwnedFd>,
    period_ns: u64,
    /// When tick 0 was, CLOCK_MONOTONIC, and the last one that has gone off.
    origin_ns: u64,
    last: u64,
    /// The timer goes off at each so-manyth tick.
    stride: u32,
}

impl Ticks {
    /// Begins now.
    pub fn every(period: Duration) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: an `OwnedFd` answers with the same descriptor as long as it lives, and closes it when it is dropped.
        let timer = unsafe { AsyncFd::register(timer) }?;
        let period_ns = period.as_nanos() as u64;
        let ticks = Self { timer, period_ns, origin_ns: monotonic_ns(), last: 0, stride: 1 };
        ticks.set()?;
        Ok(ticks)
    }

    /// Goes off at each so-manyth tick from now on.
    pub fn sleep(&mut self, stride: u32) -> io::Result<()> {
        if stride == self.stride {
            return Ok(());
        }
        self.stride = stride;
        self.set()
    }

    fn set(&self) -> io::Result<()> {
        let stride = u64::from(self.stride);
        let next_ns = self.origin_ns + (self.last + stride) * self.period_ns;
        let times =
            Itimerspec { it_interval: timespec(stride * self.period_ns), it_value: timespec(next_ns) };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &times)?;
        Ok(())
    }

    /// Waits until the timer goes off. Nothing is lost when the wait is given up.
    pub async fn tick(&mut self) -> io::Result<Tick> {
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            let result = rustix::io::read(ready.get_inner(), &mut expirations);
            // One reading takes all that has gone off.
            ready.clear_ready();
            match result {
                Ok(_) => {
                    self.last += u64::from_ne_bytes(expirations) * u64::from(self.stride);
                    let at_ns = self.origin_ns + self.last * self.period_ns;
                    return Ok(Tick { at_ns, passed: self.stride });
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn ticks_come_once_a_period_and_late_ones_are_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let period = Duration::from_millis(20);
            let (mut ticks, began) = (Ticks::every(period).expect("a timer"), Instant::now());
            ticks.tick().await.expect("a tick");
            // Not early. How late is up to the machine.
            assert!(began.elapsed() >= period, "{:?}", began.elapsed());
            std::thread::sleep(5 * period);
            let before = Instant::now();
            ticks.tick().await.expect("a tick");
            let at_once = before.elapsed();
            ticks.tick().await.expect("a tick");
            assert!(at_once < before.elapsed(), "the ticks that were missed came one by one");
            // Six periods have gone off by the first two, so that the third waited for the seventh.
            assert!(began.elapsed() >= 7 * period, "{:?}", began.elapsed());
        });
    }

    #[test]
    fn strides_keep_to_the_same_ticks() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let period = Duration::from_millis(10);
            let (mut ticks, began) = (Ticks::every(period).expect("a timer"), Instant::now());
            assert_eq!(ticks.tick().await.expect("a tick").passed, 1);
            ticks.sleep(3).expect("a stride");
            assert_eq!(ticks.tick().await.expect("a tick").passed, 3);
            assert_eq!(ticks.tick().await.expect("a tick").passed, 3);
            ticks.sleep(1).expect("a stride");
            assert_eq!(ticks.tick().await.expect("a tick").passed, 1);
            // Not early, by the ticks of the beginning. A late machine has more of them behind it than the eight.
            assert!(ticks.last >= 8, "{}", ticks.last);
            assert!(began.elapsed() >= ticks.last as u32 * period, "{:?}", began.elapsed());
        });
    }
}
