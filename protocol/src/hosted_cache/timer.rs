//! The request timer of a client ([MS-PCHC] 3.2.2).

use std::time::Duration;

/// Times the outstanding requests: one timer that ticks every five seconds while there are any. A request expires when
/// the tick counter exceeds what it was when the request was sent by more than two, so after 10 to 15 seconds.
///
/// Moments are times since a start of the caller's.
#[derive(Debug, Default)]
pub struct RequestTimer {
    started: Option<Duration>,
    outstanding: usize,
}

impl RequestTimer {
    /// The period of the timer.
    pub const TICK: Duration = Duration::from_secs(5);
    /// A request survives so many ticks.
    const TICKS: u32 = 2;

    /// A timer that does not tick.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request is sent, or sent again. Returns when it expires. Every call is followed by one of [`Self::ended`].
    pub fn sent(&mut self, now: Duration) -> Duration {
        let started = *self.started.get_or_insert(now);
        self.outstanding += 1;
        let ticks = now.saturating_sub(started).as_nanos() / Self::TICK.as_nanos();
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX - Self::TICKS - 1);
        started.saturating_add(Self::TICK.saturating_mul(ticks + Self::TICKS + 1))
    }

    /// A request is no longer outstanding: it was answered, or it expired.
    pub fn ended(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 {
            self.started = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_expires_with_the_third_tick_after_it() {
        let seconds = Duration::from_secs;
        let mut timer = RequestTimer::new();
        assert_eq!(timer.sent(seconds(100)), seconds(115));
        assert_eq!(timer.sent(seconds(104)), seconds(115));
        assert_eq!(timer.sent(seconds(105)), seconds(120));
        assert_eq!(timer.sent(Duration::from_millis(114_999)), seconds(125));
        (0..3).for_each(|_| timer.ended());
        assert_eq!(timer.sent(seconds(116)), seconds(130), "it ticks on while one is left");
        (0..2).for_each(|_| timer.ended());
        assert_eq!(timer.sent(seconds(117)), seconds(132), "it starts anew with the first one");
        timer.ended();
        timer.ended();
        assert_eq!(timer.sent(Duration::MAX), Duration::MAX);
    }
}
