//! What is known of the hosts that make offers: whose offers are taken, and how much of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sources that are remembered.
const MAX_SOURCES: usize = 65_536;
/// So many strikes in [`STRIKE_TIME`] put a source out for as long.
const MAX_STRIKES: u32 = 16;
const STRIKE_TIME: Duration = Duration::from_secs(10 * 60);
/// A source that cannot be reached, or has nothing of what it offered, so many times in a row is no longer asked, until
/// it makes another offer.
const MAX_FAILURES: u32 = 3;
/// The period of the quota of bytes.
const QUOTA_TIME: Duration = Duration::from_secs(60 * 60);

/// Why nothing is taken from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    /// It sent too much that is wrong.
    Strikes,
    /// It used its bytes of this hour up.
    Quota,
    /// There are too many sources.
    Sources,
}

impl Shut {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Strikes => "strikes",
            Self::Quota => "quota",
            Self::Sources => "sources",
        }
    }
}

/// Every source that is remembered.
#[derive(Debug)]
pub(super) struct Sources {
    max_bytes: u64,
    sources: HashMap<IpAddr, Source>,
}

#[derive(Debug)]
struct Source {
    /// When its strikes and its bytes were counted from.
    strikes_since: Instant,
    bytes_since: Instant,
    strikes: u32,
    bytes: u64,
    failures: u32,
    out_until: Option<Instant>,
}

impl Source {
    fn new(now: Instant) -> Self {
        Self { strikes_since: now, bytes_since: now, strikes: 0, bytes: 0, failures: 0, out_until: None }
    }

    /// Forgets what is long ago.
    fn refresh(&mut self, now: Instant) {
        if now.saturating_duration_since(self.strikes_since) >= STRIKE_TIME {
            (self.strikes, self.strikes_since) = (0, now);
        }
        if now.saturating_duration_since(self.bytes_since) >= QUOTA_TIME {
            (self.bytes, self.bytes_since) = (0, now);
        }
        if self.out_until.is_some_and(|until| until <= now) {
            (self.out_until, self.strikes) = (None, 0);
        }
    }

    fn is_forgettable(&self) -> bool {
        self.strikes == 0 && self.bytes == 0 && self.out_until.is_none()
    }
}

impl Sources {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, sources: HashMap::new() }
    }

    /// Whether something is taken from a source now; if not, why.
    pub(super) fn admit(&mut self, ip: IpAddr, now: Instant) -> Result<(), Shut> {
        let max_bytes = self.max_bytes;
        let source = self.source(ip, now).ok_or(Shut::Sources)?;
        match source {
            Source { out_until: Some(_), .. } => Err(Shut::Strikes),
            Source { bytes, .. } if *bytes >= max_bytes => Err(Shut::Quota),
            _ => Ok(()),
        }
    }

    /// It sent a block of so many bytes.
    pub(super) fn sent(&mut self, ip: IpAddr, bytes: u64, now: Instant) {
        if let Some(source) = self.source(ip, now) {
            source.bytes += bytes;
            source.failures = 0;
        }
    }

    /// It sent something wrong, or offers again what it gave. Returns whether that puts it out.
    pub(super) fn strike(&mut self, ip: IpAddr, now: Instant) -> bool {
        let Some(source) = self.source(ip, now) else { return false };
        source.failures = 0;
        source.strikes += 1;
        if source.strikes < MAX_STRIKES || source.out_until.is_some() {
            return false;
        }
        source.out_until = Some(now + STRIKE_TIME);
        true
    }

    /// It could not be reached, or had nothing of a segment that it offered. Returns whether it is to be given up.
    pub(super) fn failed(&mut self, ip: IpAddr, now: Instant) -> bool {
        let Some(source) = self.source(ip, now) else { return false };
        source.failures += 1;
        if source.failures < MAX_FAILURES {
            return false;
        }
        source.failures = 0;
        true
    }

    /// How many are out because of their strikes.
    pub(super) fn out(&self, now: Instant) -> usize {
        self.sources.values().filter(|source| source.out_until.is_some_and(|until| until > now)).count()
    }

    fn source(&mut self, ip: IpAddr, now: Instant) -> Option<&mut Source> {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&ip) {
            self.sources.retain(|_, source| {
                source.refresh(now);
                !source.is_forgettable()
            });
            if self.sources.len() >= MAX_SOURCES {
                return None;
            }
        }
        let source = self.sources.entry(ip).or_insert_with(|| Source::new(now));
        source.refresh(now);
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn strikes_put_a_source_out_for_ten_minutes() {
        let start = Instant::now();
        let mut sources = Sources::new(u64::MAX);
        let outs: Vec<bool> = (0..MAX_STRIKES).map(|_| sources.strike(SOURCE, start)).collect();
        assert_eq!(outs.iter().filter(|out| **out).count(), 1);
        assert!(outs.last().unwrap());
        assert_eq!(sources.admit(SOURCE, start), Err(Shut::Strikes));
        assert_eq!(sources.out(start), 1);
        assert_eq!(sources.admit(SOURCE, start + STRIKE_TIME / 2), Err(Shut::Strikes));
        assert_eq!(sources.admit(SOURCE, start + STRIKE_TIME), Ok(()));
        assert_eq!(sources.out(start + STRIKE_TIME), 0);
        // Few of them in a long time do nothing.
        for minutes in 0..60 {
            assert!(!sources.strike(SOURCE, start + STRIKE_TIME * 2 + Duration::from_secs(60 * minutes)));
        }
    }

    #[test]
    fn bytes_have_a_quota_of_an_hour() {
        let start = Instant::now();
        let mut sources = Sources::new(1000);
        sources.sent(SOURCE, 999, start);
        assert_eq!(sources.admit(SOURCE, start), Ok(()));
        sources.sent(SOURCE, 1, start);
        assert_eq!(sources.admit(SOURCE, start), Err(Shut::Quota));
        assert_eq!(sources.admit("192.0.2.2".parse().unwrap(), start), Ok(()));
        assert_eq!(sources.admit(SOURCE, start + QUOTA_TIME), Ok(()));
    }

    #[test]
    fn failures_count_in_a_row() {
        let now = Instant::now();
        let mut sources = Sources::new(1000);
        for _ in 0..5 {
            assert!(!sources.failed(SOURCE, now));
            assert!(!sources.failed(SOURCE, now));
            sources.sent(SOURCE, 1, now);
        }
        assert_eq!([0, 1, 2].map(|_| sources.failed(SOURCE, now)), [false, false, true]);
        assert!(!sources.failed(SOURCE, now));
    }

    #[test]
    fn sources_are_bounded_and_harmless_ones_forgotten() {
        let now = Instant::now();
        let mut sources = Sources::new(1000);
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..MAX_SOURCES as u32 {
            sources.sent(ip(number), 1, now);
        }
        assert_eq!(sources.admit(SOURCE, now), Err(Shut::Sources));
        assert_eq!(sources.admit(ip(1), now), Ok(()));
        assert_eq!(sources.admit(SOURCE, now + QUOTA_TIME), Ok(()));
        assert_eq!(sources.sources.len(), 1);
    }
}
