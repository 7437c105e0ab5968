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

/// A timer that goes off once a period. Ticks that nobody waited for in time are one.
pub struct Ticks(AsyncFd<OwnedFd>);

impl Ticks {
    /// Begins now.
    pub fn every(period: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let period = Timespec { tv_sec: period.as_secs() as i64, tv_nsec: i64::from(period.subsec_nanos()) };
        let times = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        // SAFETY: an `OwnedFd` answers with the same descriptor as long as it lives, and closes it when it is dropped.
        Ok(Self(unsafe { AsyncFd::register(timer) }?))
    }

    /// Waits for the next tick. Nothing is lost when the wait is given up.
    pub async fn tick(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            let result = rustix::io::read(ready.get_inner(), &mut expirations);
            // One reading takes all that has gone off.
            ready.clear_ready();
            match result {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
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
}
