//! Rates: how often this host may speak, and how loud the LAN is.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::Moment;

/// A token bucket as one moment: the time until which its tokens are spent (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    spent_until: Moment,
}

impl Bucket {
    /// When the next token is there, for `burst` tokens that come one every `interval`.
    pub(super) fn ready_at(&self, interval: Duration, burst: u32) -> Moment {
        self.spent_until.saturating_sub(interval.saturating_mul(burst.saturating_sub(1)))
    }

    /// Takes a token.
    pub(super) fn take(&mut self, now: Moment, interval: Duration) {
        self.spent_until = self.spent_until.max(now).saturating_add(interval);
    }
}

/// The time from one token to the next; a rate of nothing counts as one a second.
pub(super) fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

/// One bucket for each source, in a table of fixed size: sources that share a place share its rate.
#[derive(Debug)]
pub(super) struct SourceBuckets {
    key: u64,
    buckets: Vec<Bucket>,
}

/// A multiple of what one broadcast domain holds, so that sharing is rare; 64 KiB.
const PLACES: usize = 4096;

impl SourceBuckets {
    pub(super) fn new(key: u64) -> Self {
        Self { key, buckets: vec![Bucket::default(); PLACES] }
    }

    pub(super) fn of(&mut self, source: IpAddr) -> &mut Bucket {
        let mut hasher = DefaultHasher::new();
        (self.key, source).hash(&mut hasher);
        let place = hasher.finish() as usize % PLACES;
        // The place is within the table.
        #[allow(clippy::indexing_slicing)]
        &mut self.buckets[place]
    }
}

/// How many Probes of others were overheard in a second: the larger of the running second and the one before it.
#[derive(Debug, Default)]
pub(super) struct Loudness {
    second: u64,
    running: u32,
    before: u32,
}

impl Loudness {
    pub(super) fn hear(&mut self, now: Moment) {
        self.advance(now);
        self.running = self.running.saturating_add(1);
    }

    pub(super) fn per_second(&mut self, now: Moment) -> u32 {
        self.advance(now);
        self.running.max(self.before)
    }

    fn advance(&mut self, now: Moment) {
        let second = now.as_secs();
        if second == self.second {
            return;
        }
        self.before = if second == self.second + 1 { self.running } else { 0 };
        self.running = 0;
        self.second = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        let interval = interval(10);
        let start = 5 * SECOND;
        for _ in 0..3 {
            assert!(bucket.ready_at(interval, 3) <= start);
            bucket.take(start, interval);
        }
        assert_eq!(bucket.ready_at(interval, 3), start + SECOND / 10);
        bucket.take(start + SECOND / 10, interval);
        assert_eq!(bucket.ready_at(interval, 3), start + SECOND / 5);
    }

    #[test]
    fn loudness_is_that_of_the_louder_of_two_seconds() {
        let mut loudness = Loudness::default();
        for _ in 0..100 {
            loudness.hear(SECOND / 2);
        }
        assert_eq!(loudness.per_second(SECOND / 2), 100);
        loudness.hear(SECOND);
        assert_eq!(loudness.per_second(SECOND), 100);
        assert_eq!(loudness.per_second(2 * SECOND), 1);
        assert_eq!(loudness.per_second(9 * SECOND), 0);
    }
}
