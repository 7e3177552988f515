//! The peer book: what the whole node knows of the hosts around it.
//!
//! Which host holds which segment and for how long that is believed, which segments nobody holds, how many requests
//! a host may have at once, and which host is not to be asked for a while. Pure: time is an argument.

mod claims;
mod host;
mod outages;
mod summary;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::{Availability, EndpointAddress};

use claims::Claims;
pub use claims::{
    Basis, CLAIM_LIFETIME, Holding, Knowledge, MAX_HOLDERS, MAX_LISTS, NEGATIVE_LIFETIME, UNASKED_LIFETIME,
};
use host::{Host, Kind};
pub use host::{Outcome, Standing};
pub use outages::OutCause;
pub use summary::PeerSummary;

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

    /// Whether it is time to look whether a host is back that failed.
    #[must_use]
    pub fn is_to_be_looked_after(&self, now: Moment, host: HostId) -> bool {
        let is_due = |host: &Host| host.has_yet_to_answer() && !matches!(host.standing(now), Standing::Out { .. });
        self.hosts.get(&host).is_some_and(is_due)
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
            self.claims.nobody(now, id);
        }
    }

    /// The hosted cache that the segment belongs to could not be asked for it, and no other one holds it.
    pub fn unasked(&mut self, now: Moment, id: &SegmentId) {
        self.drop_lost(now, id);
        self.claims.unasked(now, id);
    }

    /// When it was found out last that nobody holds the segment.
    #[must_use]
    pub fn nobody_since(&self, id: &SegmentId) -> Option<Moment> {
        self.claims.nobody_since(id)
    }

    /// Whether nobody is known to hold the segment because a hosted cache could not be asked.
    #[must_use]
    pub fn is_unasked(&self, now: Moment, id: &SegmentId) -> bool {
        self.claims.is_unasked(now, id)
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

    /// Whether everybody who claims to hold some of the segment is out.
    #[must_use]
    pub fn holders_are_out(&self, now: Moment, id: &SegmentId) -> bool {
        self.holders(now, id).all(|(host, _)| matches!(self.standing(now, host), Some(Standing::Out { .. })))
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

    /// A reader waited since then, in vain, for a block that the host says it holds, while the host was busy or had the
    /// request.
    pub fn kept_waiting(&mut self, now: Moment, host: HostId, since: Moment) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.kept_waiting(now, since);
        }
    }

    /// A reader waited since then for what the host was asked for, in vain or not.
    pub fn was_waited_for(&mut self, now: Moment, host: HostId, since: Moment) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.was_waited_for(now, since);
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

#[cfg(test)]
mod tests;
