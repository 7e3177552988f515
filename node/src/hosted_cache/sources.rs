//! What is known of the hosts that make offers: whose offers are taken, and how much of them.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::turns::Standing;

/// Sources that are remembered. One that is new takes the place of a harmless one.
const MAX_SOURCES: usize = 65_536;
/// Addresses of one IPv6 subnet that are remembered each by itself. All others of it count as one source, since a host
/// can take any of them.
pub(super) const MAX_IN_SUBNET: usize = 256;
/// Sources that are looked at to make room for a new one.
const LOOK: usize = 16;
/// So many strikes in [`STRIKE_TIME`] put a source out for as long.
const MAX_STRIKES: u32 = 16;
const STRIKE_TIME: Duration = Duration::from_secs(10 * 60);
/// A source that cannot be reached, or has nothing of what it offered, so many times in a row is no longer asked, until
/// it makes another offer.
const MAX_FAILURES: u32 = 3;
/// A source whose run took too long is slow for so long: others come first, and little of it waits.
const SLOW_TIME: Duration = Duration::from_secs(10 * 60);
/// The period of the quota of bytes.
const QUOTA_TIME: Duration = Duration::from_secs(60 * 60);

/// Why nothing is taken from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    /// It sent too much that is wrong.
    Strikes,
    /// It used its bytes of this hour up.
    Quota,
}

impl Shut {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Strikes => "strikes",
            Self::Quota => "quota",
        }
    }
}

/// How many strikes a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strikes {
    /// Nothing follows from them.
    Few,
    /// They are too many, since this one.
    Enough,
    /// They were too many before.
    More,
}

/// A host that made an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Host {
    /// Where its retrieval server is.
    pub(super) address: SocketAddr,
    /// As which source it counts: its address, or that of its subnet.
    pub(super) source: IpAddr,
}

/// Every source that is remembered.
#[derive(Debug)]
pub(super) struct Sources {
    max_bytes: u64,
    sources: HashMap<IpAddr, Source>,
    /// All of them, those first that were looked at longest ago.
    turns: VecDeque<IpAddr>,
    /// How many of them each IPv6 subnet has.
    subnets: HashMap<Ipv6Addr, usize>,
}

#[derive(Debug)]
struct Source {
    /// When its strikes and failures, and its bytes, were counted from.
    strikes_since: Instant,
    bytes_since: Instant,
    strikes: u32,
    bytes: u64,
    failures: u32,
    out_until: Option<Instant>,
    slow_until: Option<Instant>,
    /// Whether a block of it was kept since it was slow.
    delivered: bool,
}

impl Source {
    fn new(now: Instant) -> Self {
        let (strikes, bytes, failures, out_until, slow_until, delivered) = Default::default();
        let (strikes_since, bytes_since) = (now, now);
        Self { strikes_since, bytes_since, strikes, bytes, failures, out_until, slow_until, delivered }
    }

    /// Forgets what is long ago.
    fn refresh(&mut self, now: Instant) {
        if now.saturating_duration_since(self.strikes_since) >= STRIKE_TIME {
            (self.strikes, self.failures, self.strikes_since) = (0, 0, now);
        }
        if now.saturating_duration_since(self.bytes_since) >= QUOTA_TIME {
            (self.bytes, self.bytes_since) = (0, now);
        }
        if self.out_until.is_some_and(|until| until <= now) {
            (self.out_until, self.strikes) = (None, 0);
        }
        self.slow_until = self.slow_until.filter(|until| *until > now);
    }

    fn is_forgettable(&self) -> bool {
        let has_harmed = self.strikes > 0 || self.failures > 0 || self.out_until.is_some() || self.slow_until.is_some();
        self.bytes == 0 && !has_harmed
    }

    /// What would be lost with it, as an order.
    fn harm(&self) -> (bool, u32, bool, bool) {
        (self.out_until.is_some(), self.strikes, self.slow_until.is_some(), self.delivered)
    }
}

impl Sources {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, sources: HashMap::new(), turns: VecDeque::new(), subnets: HashMap::new() }
    }

    /// The host at an address.
    pub(super) fn host(&mut self, address: SocketAddr, now: Instant) -> Host {
        Host { address, source: self.key(address.ip(), now) }
    }

    /// Whether something is taken from a source now; if not, why.
    pub(super) fn admit(&mut self, ip: IpAddr, now: Instant) -> Result<(), Shut> {
        let max_bytes = self.max_bytes;
        match self.source(ip, now) {
            Source { out_until: Some(_), .. } => Err(Shut::Strikes),
            Source { bytes, .. } if *bytes >= max_bytes => Err(Shut::Quota),
            _ => Ok(()),
        }
    }

    /// It sent a block of so many bytes.
    pub(super) fn sent(&mut self, ip: IpAddr, bytes: u64, now: Instant) {
        let source = self.source(ip, now);
        source.bytes += bytes;
        source.failures = 0;
    }

    /// A block of it was kept. Returns whether that is news.
    pub(super) fn delivered(&mut self, ip: IpAddr, now: Instant) -> bool {
        !std::mem::replace(&mut self.source(ip, now).delivered, true)
    }

    /// A run of it took too long.
    pub(super) fn slow(&mut self, ip: IpAddr, now: Instant) {
        let source = self.source(ip, now);
        (source.slow_until, source.delivered) = (Some(now + SLOW_TIME), false);
    }

    /// What came of it so far.
    pub(super) fn standing(&mut self, ip: IpAddr, now: Instant) -> Standing {
        match self.source(ip, now) {
            Source { slow_until: Some(_), .. } => Standing::Slow,
            Source { delivered: true, .. } => Standing::Proven,
            _ => Standing::Fresh,
        }
    }

    /// It sent something wrong, or offers again what it gave. Too much of that puts it out, unless others share it: who
    /// has a subnet could shut them all out.
    pub(super) fn strike(&mut self, ip: IpAddr, now: Instant) -> Strikes {
        let key = self.key(ip, now);
        let source = self.source(key, now);
        source.failures = 0;
        source.strikes += 1;
        if source.strikes >= MAX_STRIKES && !is_shared(key) {
            source.out_until.get_or_insert(now + STRIKE_TIME);
        }
        match source.strikes.cmp(&MAX_STRIKES) {
            Ordering::Less => Strikes::Few,
            Ordering::Equal => Strikes::Enough,
            Ordering::Greater => Strikes::More,
        }
    }

    /// It could not be reached, or had nothing of a segment that it offered. Returns whether it is to be given up.
    pub(super) fn failed(&mut self, ip: IpAddr, now: Instant) -> bool {
        let source = self.source(ip, now);
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

    /// As which source an address counts.
    fn key(&mut self, ip: IpAddr, now: Instant) -> IpAddr {
        if self.sources.contains_key(&ip) {
            return ip;
        }
        self.make_room(now);
        let mut key = ip;
        if let Some(subnet) = subnet(ip) {
            let count = self.subnets.entry(subnet).or_default();
            if *count >= MAX_IN_SUBNET {
                key = subnet.into();
            }
            *count += usize::from(!self.sources.contains_key(&key));
        }
        if let Entry::Vacant(new) = self.sources.entry(key) {
            self.turns.push_back(key);
            new.insert(Source::new(now));
        }
        key
    }

    fn source(&mut self, ip: IpAddr, now: Instant) -> &mut Source {
        let key = self.key(ip, now);
        let source = self.sources.entry(key).or_insert_with(|| Source::new(now));
        source.refresh(now);
        source
    }

    /// Forgets those of a few sources of which nothing has to be known any more, and where that is not enough the one
    /// of which least is known.
    fn make_room(&mut self, now: Instant) {
        let mut looked = 0;
        for _ in 0..LOOK.min(self.turns.len()) {
            let Some(ip) = self.turns.pop_front() else { break };
            let Some(source) = self.sources.get_mut(&ip) else { continue };
            source.refresh(now);
            if source.is_forgettable() {
                self.forget(ip);
            } else {
                self.turns.push_back(ip);
                looked += 1;
            }
        }
        if self.sources.len() < MAX_SOURCES {
            return;
        }
        let harm = |at: &usize| self.turns.get(*at).and_then(|ip| self.sources.get(ip)).map(Source::harm);
        let least = (self.turns.len() - looked..self.turns.len()).min_by_key(harm);
        if let Some(ip) = least.and_then(|at| self.turns.remove(at)) {
            self.forget(ip);
        }
    }

    fn forget(&mut self, ip: IpAddr) {
        self.sources.remove(&ip);
        if let Some(subnet) = subnet(ip)
            && let Entry::Occupied(mut count) = self.subnets.entry(subnet)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The first address of the /64 that an IPv6 address is in.
pub(super) fn subnet(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

/// Whether a source is all addresses of an IPv6 subnet that are not remembered each by itself.
pub(super) fn is_shared(source: IpAddr) -> bool {
    subnet(source).is_some_and(|subnet| subnet == source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn strikes_put_a_source_out_for_ten_minutes() {
        let start = Instant::now();
        let mut sources = Sources::new(u64::MAX);
        let strikes: Vec<_> = (0..=MAX_STRIKES).map(|_| sources.strike(SOURCE, start)).collect();
        assert_eq!(strikes[..15], [Strikes::Few; 15]);
        assert_eq!(strikes[15..], [Strikes::Enough, Strikes::More]);
        assert_eq!(sources.admit(SOURCE, start), Err(Shut::Strikes));
        assert_eq!(sources.out(start), 1);
        assert_eq!(sources.admit(SOURCE, start + STRIKE_TIME / 2), Err(Shut::Strikes));
        assert_eq!(sources.admit(SOURCE, start + STRIKE_TIME), Ok(()));
        assert_eq!(sources.out(start + STRIKE_TIME), 0);
        // Few of them in a long time do nothing.
        for minutes in 0..60 {
            let now = start + STRIKE_TIME * 2 + Duration::from_secs(60 * minutes);
            assert_eq!(sources.strike(SOURCE, now), Strikes::Few);
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
    fn what_came_of_a_source_is_its_standing_and_nothing_of_it_is_for_ever() {
        let start = Instant::now();
        let mut sources = Sources::new(1000);
        assert_eq!(sources.standing(SOURCE, start), Standing::Fresh);
        assert_eq!([0, 1].map(|_| sources.delivered(SOURCE, start)), [true, false]);
        assert_eq!(sources.standing(SOURCE, start), Standing::Proven);
        sources.slow(SOURCE, start);
        assert_eq!(sources.standing(SOURCE, start + SLOW_TIME / 2), Standing::Slow);
        assert_eq!(sources.standing(SOURCE, start + SLOW_TIME), Standing::Fresh);
        sources.slow(SOURCE, start);
        assert!(sources.delivered(SOURCE, start));
        assert_eq!(sources.standing(SOURCE, start), Standing::Slow);
        assert_eq!(sources.standing(SOURCE, start + SLOW_TIME), Standing::Proven);
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
    fn many_sources_shut_no_other_out_and_make_none_that_is_out_forgotten() {
        let now = Instant::now();
        let mut sources = Sources::new(1000);
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        assert_eq!((0..MAX_STRIKES).map(|_| sources.strike(SOURCE, now)).last(), Some(Strikes::Enough));
        for number in 0..2 * MAX_SOURCES as u32 {
            assert_eq!(sources.admit(ip(number), now), Ok(()));
            sources.sent(ip(number), 1, now);
        }
        assert_eq!(sources.admit(SOURCE, now), Err(Shut::Strikes));
        assert_eq!((sources.sources.len(), sources.turns.len()), (MAX_SOURCES, MAX_SOURCES));
        // Where nothing has to be known of them any more they are forgotten, a few with each new one.
        let later = now + QUOTA_TIME;
        for number in 0..MAX_SOURCES as u32 / 8 {
            sources.sent(ip(0xf000_0000 + number), 1, later);
        }
        assert_eq!(sources.sources.len(), MAX_SOURCES / 8);
        assert_eq!(sources.admit(SOURCE, later), Ok(()));
    }

    #[test]
    fn the_addresses_of_an_ipv6_subnet_beyond_some_are_one_source() {
        let now = Instant::now();
        let mut sources = Sources::new(1000);
        let ip = |subnet: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, subnet, 0, 0, 7, host]);
        for host in 0..1000 {
            sources.sent(ip(1, host), 20, now);
        }
        assert_eq!(sources.sources.len(), MAX_IN_SUBNET + 1);
        assert_eq!(sources.admit(ip(1, 0), now), Ok(()), "it is remembered by itself");
        assert_eq!(sources.admit(ip(1, 5000), now), Err(Shut::Quota));
        assert_eq!(sources.admit(ip(2, 5000), now), Ok(()));
        // Once those are forgotten there is room for others.
        let later = now + QUOTA_TIME;
        (0..100).for_each(|host| sources.sent(ip(1, 5000 + host), 20, later));
        assert_eq!((sources.sources.len(), sources.subnets.len()), (100, 1));
    }
}
