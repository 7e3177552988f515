//! What one peer, one subnet, and all of them together, may take.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerdist_protocol::retrieval::VersionRange;

/// The bounds of a retrieval server. The size of a request is bounded by
/// [`MAX_REQUEST_SIZE`](peerdist_protocol::retrieval::MAX_REQUEST_SIZE) beside them.
///
/// A host can take any address of its IPv6 subnet, and all hosts of a LAN are in one: of whatever is counted by address,
/// a /64 may have three quarters, so that the others always have the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// The versions that are spoken; others are answered with MSG_NEGO_RESP.
    pub versions: VersionRange,
    /// Connections at a time. Further ones are closed as they come. Listeners for offers alone get half of them at most,
    /// so that retrieval always has the other half.
    pub connections: usize,
    /// Connections at a time from one address. Clients in the field open 32 at once.
    pub connections_per_source: usize,
    /// Answers at a time that carry something ([MS-PCCRR] 3.2.1). Further requests get empty answers.
    pub uploads: usize,
    /// Such answers at a time to one address.
    pub uploads_per_source: usize,
    /// TLS handshakes at a time. The oldest one ends where another begins.
    pub handshakes: usize,
    /// TLS handshakes at a time with one address. A client may begin one for each of many offers.
    pub handshakes_per_source: usize,
    /// How long a TLS handshake may take.
    pub handshake_time: Duration,
    /// From the first byte of a request, or from the connection's start, to the end of its headers.
    pub header_time: Duration,
    /// From the end of the headers to the end of the body.
    pub body_time: Duration,
    /// The Upload Timer ([MS-PCCRR] 3.2.2): from the end of the request until the answer is written.
    pub upload_time: Duration,
    /// How long a connection is kept without a request: at most 2 s from when on three quarters of the connections
    /// are open, so that those who only keep theirs do not shut others out.
    pub idle_time: Duration,
    /// How long requests under way may take once the server has to stop.
    pub shutdown_time: Duration,
}

/// How long a connection is kept without a request where connections are scarce.
pub(super) const CROWDED_IDLE_TIME: Duration = Duration::from_secs(2);

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            versions: VersionRange::ALL,
            connections: 512,
            connections_per_source: 128,
            uploads: 64,
            uploads_per_source: 64,
            handshakes: 512,
            handshakes_per_source: 32,
            handshake_time: Duration::from_secs(5),
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            upload_time: Duration::from_secs(15),
            idle_time: Duration::from_secs(60),
            shutdown_time: Duration::from_secs(5),
        }
    }
}

/// Which limit a new connection met; where it met both, the second: for its source alone nobody else has to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Full {
    Connections,
    Source,
}

/// Who holds how many connections, or something else that is scarce.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    most_per_source: usize,
    most_per_subnet: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
    by_subnet: HashMap<Ipv6Addr, usize>,
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    source: IpAddr,
}

impl Slots {
    pub(super) fn new(most: usize, most_per_source: usize) -> Self {
        let most_per_subnet = most.saturating_sub(most.div_ceil(4)).max(most_per_source);
        Self { most, most_per_source, most_per_subnet, taken: Mutex::default() }
    }

    pub(super) fn take(slots: &Arc<Self>, source: IpAddr) -> Result<Slot, Full> {
        // The same host on a dual-stack listener and on an IPv4 one.
        let source = source.to_canonical();
        let mut taken = slots.lock();
        let by_source = taken.by_source.get(&source).copied().unwrap_or(0);
        let by_subnet = subnet(source).and_then(|subnet| taken.by_subnet.get(&subnet)).copied().unwrap_or(0);
        if by_source >= slots.most_per_source || by_subnet >= slots.most_per_subnet {
            return Err(Full::Source);
        }
        if taken.all >= slots.most {
            return Err(Full::Connections);
        }
        taken.by_source.insert(source, by_source + 1);
        if let Some(subnet) = subnet(source) {
            taken.by_subnet.insert(subnet, by_subnet + 1);
        }
        taken.all += 1;
        Ok(Slot { slots: Arc::clone(slots), source })
    }

    /// Whether less than a quarter is free.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken() > self.most - self.most / 4
    }

    pub(super) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all -= 1;
        give_back(&mut taken.by_source, self.source);
        if let Some(subnet) = subnet(self.source) {
            give_back(&mut taken.by_subnet, subnet);
        }
    }
}

fn give_back<K: Eq + Hash>(taken: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = taken.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// The first address of the /64 that an IPv6 address is in. This host itself is in none.
fn subnet(source: IpAddr) -> Option<Ipv6Addr> {
    match source {
        IpAddr::V6(ip) if !ip.is_loopback() => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_and_their_timer_are_those_of_the_document() {
        let ServerLimits { uploads, upload_time, .. } = ServerLimits::default();
        assert_eq!((uploads, upload_time), (64, Duration::from_secs(15)));
    }

    #[test]
    fn slots_are_bounded_in_all_and_by_source_and_given_back() {
        let slots = Arc::new(Slots::new(3, 2));
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let first = Slots::take(&slots, a).unwrap();
        let second = Slots::take(&slots, mapped).unwrap();
        assert_eq!(Slots::take(&slots, a).unwrap_err(), Full::Source);
        let third = Slots::take(&slots, b).unwrap();
        assert_eq!(Slots::take(&slots, b).unwrap_err(), Full::Connections);
        assert_eq!(slots.taken(), 3);
        drop(second);
        drop(third);
        let again = Slots::take(&slots, a).unwrap();
        drop((first, again));
        assert_eq!(slots.taken(), 0);
        assert!(slots.lock().by_source.is_empty());
    }
    #[test]
    fn an_ipv6_subnet_leaves_a_quarter_to_all_others() {
        let slots = Arc::new(Slots::new(16, 4));
        let take = |text: &str| Slots::take(&slots, text.parse().unwrap());
        let of_one_subnet: Vec<_> = (0..16).map_while(|host| take(&format!("2001:db8::{host:x}")).ok()).collect();
        assert_eq!(of_one_subnet.len(), 12);
        assert_eq!(take("2001:db8::1:2:3:4").unwrap_err(), Full::Source);
        let others = ["2001:db8:0:1::1", "192.0.2.1", "::1", "::1"].map(|other| take(other).unwrap());
        assert_eq!(take("2001:db8:0:2::1").unwrap_err(), Full::Connections);
        drop(others);
        drop(of_one_subnet);
        assert!(slots.lock().by_subnet.is_empty());
        // One address may have its share whatever that is of all.
        let slots = Arc::new(Slots::new(4, 4));
        let one: Vec<_> = (0..4).map(|_| Slots::take(&slots, "2001:db8::1".parse().unwrap()).unwrap()).collect();
        assert_eq!(one.len(), 4);
    }
}
