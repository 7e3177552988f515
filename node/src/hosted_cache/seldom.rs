//! What others can make happen as often as they like, and the log says at most once a minute.

use std::time::{Duration, Instant};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(60);

/// Something that happens now and then.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// It happens. Returns whether that is to be said: if so, how often it happened since the last line about it.
    pub(super) fn happened(&mut self, now: Instant) -> Option<u64> {
        if self.said_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute_with_how_often_it_happened_since() {
        let start = Instant::now();
        let mut seldom = Seldom::default();
        let said = (0..=120).filter_map(|second| seldom.happened(start + Duration::from_secs(second)));
        assert_eq!(said.collect::<Vec<_>>(), [0, 59, 59]);
    }
}
