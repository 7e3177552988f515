//! The peer book: what the whole node knows of the hosts around it.
//!
//! Which host holds which segment and for how long that is believed, which segments nobody holds, how many requests
//! a host may have at once, and which host is not to be asked for a while. Pure: time is an argument.

mod claims;
mod host;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::{Availability, EndpointAddress};
use serde::Serialize;

use claims::Claims;
pub use claims::{
    Basis, CLAIM_LIFETIME, Holding, Knowledge, MAX_HOLDERS, MAX_LISTS, NEGATIVE_LIFETIME, UNASKED_LIFETIME,
};
use host::{Host, Kind};
pub use host::{OutCause, Outcome, Standing};

use super::Moment;

/// Hosts in the book beside hosted caches. A host that is out stays in preference to one that is not.
pub const MAX_HOSTS: usize = 1024;

/// What a host that never delivered is expected to need for a block: a guess that is worth a try beside a host
/// that has several requests under way already.
const UNPROVEN_LATENCY: Duration = Duration::from_millis(20);

/// A host in the book. Numbers are not used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u64);

impl HostId {
    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What the node knows of the hosts around it.
#[derive(Debug, Default)]
pub struct PeerBook {
    hosts: BTreeMap<HostId, Host>,
    by_endpoint: HashMap<EndpointAddress, HostId>,
    by_address: HashMap<SocketAddr, HostId>,
    claims: Claims,
    next_host: u64,
}

impl PeerBook {
    /// A book without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A host answered a Probe. `endpoint` is the EndpointReference's Address, which is the same on both families;
    /// an address that is known already tells a restarted host from a new one.
    ///
    /// `None` where the answer has no address to ask at.
    pub fn matched(
        &mut self,
        now: Moment,
        endpoint: &EndpointAddress,
        addresses: &[SocketAddr],
        segments: impl IntoIterator<Item = (SegmentId, Availability)>,
    ) -> Option<HostId> {
        let host = self.identify(now, endpoint, addresses)?;
        for (id, availability) in segments {
            self.claims.claim(now, &id, host, Holding::Claimed(availability));
        }
        Some(host)
    }

    /// Adds a hosted cache of the configuration. It stays in the book, and no host that answers a Probe is taken for it.
    pub fn add_hosted_cache(&mut self, now: Moment) -> HostId {
        let id = self.next_id();
        self.hosts.insert(id, Host::new(Kind::HostedCache, now));
        id
    }

    /// Where a hosted cache is from now on.
    pub fn set_addresses(&mut self, host: HostId, addresses: Vec<SocketAddr>) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.set_addresses(addresses);
        }
    }

    /// A hosted cache answered a MSG_GETSEGLIST: it holds at least some of these segments.
    pub fn has_segments<'a>(&mut self, now: Moment, host: HostId, ids: impl IntoIterator<Item = &'a SegmentId>) {
        for id in ids {
            let some = Availability { blocks: None, complete: None, age: None };
            self.claims.claim(now, id, host, Holding::Claimed(some));
        }
    }

    /// A hosted cache cannot be asked for a list of segments: it may hold these, but for those that it was found not to
    /// hold a moment ago.
    pub fn may_have_segments<'a>(&mut self, now: Moment, host: HostId, ids: impl IntoIterator<Item = &'a SegmentId>) {
        for id in ids {
            if !self.claims.is_absent(now, id, host) {
                self.claims.claim(now, id, host, Holding::Possible);
            }
        }
    }

    /// Whether a hosted cache that works says that it holds a block. To offer the block then would be a complaint.
    #[must_use]
    pub fn is_in_hosted_cache(&self, now: Moment, id: &SegmentId, block: BlockIndex, block_count: u32) -> bool {
        self.claims.holders(now, id).any(|(host, holding)| {
            self.is_hosted_cache(host)
                && !self.is_lost(now, host)
                && holding.basis(block, block_count) == Some(Basis::Sure)
        })
    }

    /// What a host delivered as a block is something else: it does not count as holding it.
    pub fn lacks(&mut self, id: &SegmentId, host: HostId, block: BlockIndex) {
        self.claims.lacks(id, host, block);
    }

    /// Whether it is a hosted cache.
    #[must_use]
    pub fn is_hosted_cache(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.kind == Kind::HostedCache)
    }

    /// Whether a host was out and has not delivered anything since.
    #[must_use]
    pub fn is_on_probation(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(Host::is_on_probation)
    }

    /// Whether there are hosted caches, and each is out or on probation.
    #[must_use]
    pub fn has_lost_hosted_caches(&self, now: Moment) -> bool {
        let mut caches = self.hosts.values().filter(|host| host.kind == Kind::HostedCache).peekable();
        let is_lost = |host: &Host| matches!(host.standing(now), Standing::Out { .. }) || host.is_on_probation();
        caches.peek().is_some() && caches.all(is_lost)
    }

    /// A Probe for the segment ended without an answer, or the hosted cache does not list it. Where one listed it and went
    /// out since, the question stays open: the next one has to be asked.
    pub fn nobody(&mut self, now: Moment, id: &SegmentId) {
        if !self.drop_lost(now, id) {
            self.claims.nobody(now, id, NEGATIVE_LIFETIME);
        }
    }

    /// No hosted cache could be asked for the segment.
    pub fn unasked(&mut self, now: Moment, id: &SegmentId) {
        self.drop_lost(now, id);
        self.claims.nobody(now, id, UNASKED_LIFETIME);
    }

    /// A Probe of another host asked for the segment: "nobody holds it" may soon be wrong.
    pub fn overheard(&mut self, id: &SegmentId) {
        self.claims.overheard(id);
    }

    /// A host answered a MSG_GETBLKLIST.
    pub fn listed(&mut self, now: Moment, id: &SegmentId, host: HostId, blocks: BlockRanges) {
        self.claims.claim(now, id, host, Holding::Listed(Box::new(blocks)));
    }

    /// A host turned out not to hold the segment at all.
    pub fn withdraw(&mut self, now: Moment, id: &SegmentId, host: HostId) {
        self.claims.withdraw(now, id, host);
    }

    /// A host delivered a block of the segment, although perhaps nothing but a neighbour hinted at it.
    pub fn confirm(&mut self, now: Moment, id: &SegmentId, host: HostId, basis: Basis) {
        if basis == Basis::Hint {
            let some = Availability { blocks: None, complete: None, age: None };
            self.claims.claim(now, id, host, Holding::Claimed(some));
        } else {
            self.claims.confirm(now, id, host);
        }
    }

    /// What is known of the segment's holders. That of hosted caches that are out counts for nothing: others take their
    /// place, and have to be asked.
    #[must_use]
    pub fn knowledge(&self, now: Moment, id: &SegmentId) -> Knowledge {
        match self.claims.knowledge(now, id) {
            Knowledge::Somebody if self.claims.holders(now, id).all(|(host, _)| self.is_lost(now, host)) => {
                Knowledge::Unknown
            }
            knowledge => knowledge,
        }
    }

    fn is_lost(&self, now: Moment, host: HostId) -> bool {
        let host = self.hosts.get(&host).filter(|host| host.kind == Kind::HostedCache);
        host.is_some_and(|host| matches!(host.standing(now), Standing::Out { .. }))
    }

    /// Forgets what hosted caches claimed that are out. Returns whether there was any.
    fn drop_lost(&mut self, now: Moment, id: &SegmentId) -> bool {
        let lost: Vec<_> =
            self.claims.holders(now, id).map(|(host, _)| host).filter(|host| self.is_lost(now, *host)).collect();
        lost.iter().for_each(|host| self.claims.forget(id, *host));
        !lost.is_empty()
    }

    /// The hosts that claim to hold some of the segment, whatever their standing.
    pub fn holders(&self, now: Moment, id: &SegmentId) -> impl Iterator<Item = (HostId, &Holding)> {
        self.claims.holders(now, id).filter(|(host, _)| self.hosts.contains_key(host))
    }

    /// Whether the host turned out a moment ago not to hold the segment.
    #[must_use]
    pub fn is_absent(&self, now: Moment, id: &SegmentId, host: HostId) -> bool {
        self.claims.is_absent(now, id, host)
    }

    /// Whether a host can take a request now; `None` where it left the book.
    #[must_use]
    pub fn standing(&self, now: Moment, host: HostId) -> Option<Standing> {
        self.hosts.get(&host).map(|host| host.standing(now))
    }

    /// Whether some host can take a request now.
    #[must_use]
    pub fn any_ready(&self, now: Moment) -> bool {
        self.hosts.values().any(|host| host.standing(now) == Standing::Ready)
    }

    /// When the next busy host is to be asked again.
    #[must_use]
    pub fn next_busy_end(&self, now: Moment) -> Option<Moment> {
        let busy = self.hosts.values().filter_map(|host| match host.standing(now) {
            Standing::Busy { until } => Some(until),
            _ => None,
        });
        busy.min()
    }

    /// Where to ask a host.
    #[must_use]
    pub fn address(&self, host: HostId) -> Option<SocketAddr> {
        self.hosts.get(&host)?.address()
    }

    /// What one more request to the host is expected to take; lower is better.
    #[must_use]
    pub fn load(&self, host: HostId) -> Duration {
        self.hosts.get(&host).map_or(Duration::MAX, |host| host.load(UNPROVEN_LATENCY))
    }

    /// How long the host's requests take, where it answered any.
    #[must_use]
    pub fn latency(&self, host: HostId) -> Option<Duration> {
        self.hosts.get(&host)?.latency()
    }

    /// A request goes to the host. Every call is followed by one of [`PeerBook::finish`].
    pub fn begin(&mut self, now: Moment, host: HostId) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.begin(now);
        }
    }

    /// A request to the host ended.
    pub fn finish(&mut self, now: Moment, host: HostId, outcome: Outcome) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.finish(now, outcome);
        }
    }

    /// All hosts, for people to read.
    #[must_use]
    pub fn summary(&self, now: Moment) -> Vec<PeerSummary> {
        self.hosts.values().map(|host| PeerSummary::of(host, now)).collect()
    }

    /// One host, for people to read.
    #[must_use]
    pub fn summary_of(&self, now: Moment, host: HostId) -> Option<PeerSummary> {
        self.hosts.get(&host).map(|host| PeerSummary::of(host, now))
    }

    fn identify(&mut self, now: Moment, endpoint: &EndpointAddress, addresses: &[SocketAddr]) -> Option<HostId> {
        let known = self.by_endpoint.get(endpoint).or_else(|| addresses.iter().find_map(|a| self.by_address.get(a)));
        let id = match known {
            Some(id) => *id,
            None if addresses.is_empty() => return None,
            None => self.add_host(now),
        };
        let host = self.hosts.get_mut(&id)?;
        host.seen = now;
        for address in addresses {
            // First seen wins: nobody moves another host's address to a name of its own.
            if !self.by_address.contains_key(address) && host.add_address(*address) {
                self.by_address.insert(*address, id);
            }
        }
        if self.by_endpoint.get(endpoint) != Some(&id) {
            self.by_endpoint.retain(|_, host| *host != id);
            self.by_endpoint.insert(endpoint.clone(), id);
        }
        Some(id)
    }

    fn add_host(&mut self, now: Moment) -> HostId {
        let peers = self.hosts.iter().filter(|(_, host)| host.kind == Kind::Peer);
        if peers.clone().count() >= MAX_HOSTS {
            let idle = peers.filter(|(_, host)| host.in_flight() == 0);
            let out = |host: &Host| matches!(host.standing(now), Standing::Out { .. });
            let oldest = idle.min_by_key(|(_, host)| (out(host), host.seen)).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.hosts.remove(&oldest);
                self.by_endpoint.retain(|_, host| *host != oldest);
                self.by_address.retain(|_, host| *host != oldest);
            }
        }
        let id = self.next_id();
        self.hosts.insert(id, Host::new(Kind::Peer, now));
        id
    }

    fn next_id(&mut self) -> HostId {
        let id = HostId(self.next_host);
        self.next_host += 1;
        id
    }
}

/// One host of the book, for people to read.
#[derive(Debug, Clone, Serialize)]
pub struct PeerSummary {
    /// Where it can be asked; the first one that works is used.
    pub addresses: Vec<SocketAddr>,
    /// Blocks and lists that it delivered.
    pub delivered: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Requests that it may have at once.
    pub limit: u32,
    /// How long a request takes, in milliseconds, where it answered any.
    pub latency_ms: Option<u64>,
    /// Why it is not asked now.
    pub out: Option<OutCause>,
    /// For how many more seconds.
    pub out_for_s: Option<u64>,
}

impl PeerSummary {
    fn of(host: &Host, now: Moment) -> Self {
        let out = match host.standing(now) {
            Standing::Out { until, cause } => Some((cause, until.saturating_sub(now).as_secs())),
            _ => None,
        };
        Self {
            addresses: host.addresses.clone(),
            delivered: host.delivered(),
            in_flight: host.in_flight(),
            limit: host.limit(),
            latency_ms: host.latency().map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            out: out.map(|(cause, _)| cause),
            out_for_s: out.map(|(_, seconds)| seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Moment {
        Moment::from_secs(seconds)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn name(number: u64) -> EndpointAddress {
        EndpointAddress::from_random(number.into())
    }

    fn nothing() -> [(SegmentId, Availability); 0] {
        []
    }

    #[test]
    fn one_host_on_both_families_is_one_host() {
        let mut book = PeerBook::new();
        let four = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
        let six = book.matched(s(0), &name(1), &[address("[fd00::1]:80")], nothing()).unwrap();
        assert_eq!(four, six);
        assert_eq!(book.summary(s(0))[0].addresses.len(), 2);
        book.begin(s(0), six);
        book.finish(s(0), six, Outcome::BadHash);
        assert!(matches!(book.standing(s(1), four), Some(Standing::Out { cause: OutCause::BadHash, .. })));
    }

    #[test]
    fn a_new_name_does_not_clear_a_penalty() {
        let mut book = PeerBook::new();
        let liar = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
        book.begin(s(0), liar);
        book.finish(s(0), liar, Outcome::BadHash);
        let again = book.matched(s(1), &name(2), &[address("10.0.0.1:80")], nothing()).unwrap();
        assert_eq!(again, liar);
        // The old name is free again, and the new one leads to the same host.
        let other = book.matched(s(2), &name(1), &[address("10.0.0.2:80")], nothing()).unwrap();
        assert_ne!(other, liar);
        assert_eq!(book.matched(s(2), &name(2), &[], nothing()), Some(liar));
    }

    #[test]
    fn an_address_stays_with_the_host_that_had_it_first() {
        let mut book = PeerBook::new();
        let honest = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
        let liar = book.matched(s(0), &name(2), &[address("10.0.0.2:80")], nothing()).unwrap();
        book.matched(s(0), &name(2), &[address("10.0.0.1:80")], nothing());
        assert_eq!(book.address(liar), Some(address("10.0.0.2:80")));
        assert_eq!(book.address(honest), Some(address("10.0.0.1:80")));
        assert_eq!(book.matched(s(0), &name(3), &[], nothing()), None);
    }

    #[test]
    fn a_peer_is_never_taken_for_a_hosted_cache() {
        let mut book = PeerBook::new();
        let cache = book.add_hosted_cache(s(0));
        book.set_addresses(cache, vec![address("10.0.0.1:80")]);
        let peer = book.matched(s(0), &name(1), &[address("10.0.0.1:80"), address("10.0.0.2:80")], nothing()).unwrap();
        assert_ne!(peer, cache);
        assert_eq!(book.summary_of(s(0), cache).unwrap().addresses, [address("10.0.0.1:80")]);
        assert!(!book.is_hosted_cache(peer));
    }

    #[test]
    fn what_a_hosted_cache_was_found_not_to_hold_it_does_not_possibly_hold() {
        let id = SegmentId::from_slice(&[1; 32]).unwrap();
        let mut book = PeerBook::new();
        let cache = book.add_hosted_cache(s(0));
        book.may_have_segments(s(0), cache, [&id]);
        assert_eq!(book.holders(s(0), &id).next().unwrap().1.basis(0, 1), Some(Basis::Perhaps));
        book.withdraw(s(1), &id, cache);
        book.may_have_segments(s(1), cache, [&id]);
        assert_eq!(book.knowledge(s(1), &id), Knowledge::Unknown);
        book.may_have_segments(s(1) + NEGATIVE_LIFETIME, cache, [&id]);
        assert_eq!(book.knowledge(s(1) + NEGATIVE_LIFETIME, &id), Knowledge::Somebody);
        // A list says more than that.
        book.listed(s(20), &id, cache, BlockRanges::first(2));
        book.may_have_segments(s(20), cache, [&id]);
        assert_eq!(book.holders(s(20), &id).next().unwrap().1.basis(2, 8), None);
    }

    #[test]
    fn a_wrong_block_is_not_in_the_hosted_cache_and_all_others_are() {
        let id = SegmentId::from_slice(&[1; 32]).unwrap();
        let mut book = PeerBook::new();
        let cache = book.add_hosted_cache(s(0));
        book.may_have_segments(s(0), cache, [&id]);
        assert!(!book.is_in_hosted_cache(s(0), &id, 0, 8), "it did not say so");
        book.listed(s(0), &id, cache, BlockRanges::first(3));
        book.lacks(&id, cache, 1);
        let held =
            |book: &PeerBook| (0..4).map(|block| book.is_in_hosted_cache(s(0), &id, block, 8)).collect::<Vec<_>>();
        assert_eq!(held(&book), [true, false, true, false]);
        book.begin(s(0), cache);
        book.finish(s(0), cache, Outcome::Unreachable);
        assert_eq!(held(&book), [false; 4]);
        let peer = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
        book.listed(s(0), &id, peer, BlockRanges::first(8));
        assert_eq!(held(&book), [false; 4], "what peers hold is offered");
    }

    #[test]
    fn hosted_caches_are_lost_once_all_of_them_failed() {
        let mut book = PeerBook::new();
        assert!(!book.has_lost_hosted_caches(s(0)));
        let caches = [book.add_hosted_cache(s(0)), book.add_hosted_cache(s(0))];
        for cache in caches {
            assert!(!book.has_lost_hosted_caches(s(0)));
            book.begin(s(0), cache);
            book.finish(s(0), cache, Outcome::Unreachable);
        }
        assert!(book.has_lost_hosted_caches(s(0)));
        assert!(book.has_lost_hosted_caches(s(100)), "they have to prove that they are back");
        book.begin(s(100), caches[1]);
        book.finish(s(100), caches[1], Outcome::Delivered { took: s(0) });
        assert!(!book.has_lost_hosted_caches(s(100)));
    }

    #[test]
    fn hosts_are_bounded_and_penalties_are_kept() {
        let mut book = PeerBook::new();
        let cache = book.add_hosted_cache(s(0));
        let add = |book: &mut PeerBook, number: u64| {
            let address = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 80));
            book.matched(s(number), &name(number), &[address], nothing()).unwrap()
        };
        let liar = add(&mut book, 0);
        book.begin(s(0), liar);
        book.finish(s(0), liar, Outcome::BadHash);
        let innocent = add(&mut book, 1);
        for number in 2..MAX_HOSTS as u64 {
            add(&mut book, number);
        }
        assert!(book.standing(s(2), innocent).is_some());
        // The penalty lasts 600 s; the book fills at 1 s per host, so look at it while it still holds.
        let late = book.matched(s(500), &name(9_999), &[address("10.9.9.9:80")], nothing()).unwrap();
        assert!(book.standing(s(500), late).is_some());
        assert_eq!(book.standing(s(500), innocent), None);
        assert!(book.standing(s(500), liar).is_some());
        assert!(book.standing(s(500), cache).is_some());
        assert_eq!(book.hosts.len(), MAX_HOSTS + 1);
        assert_eq!(book.by_endpoint.len(), MAX_HOSTS);
        assert_eq!(book.by_address.len(), MAX_HOSTS);
    }
}
