//! The hosted caches of the configuration: where they are, which of them a segment belongs to, and what came of asking them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peerdist_protocol::content::SegmentId;
use peerdist_protocol::crypto::HashAlgorithm;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::config::ServerName;
use crate::fetch::peers::OutCause;

/// How long the addresses of a name are used before it is looked up again.
const ADDRESS_LIFETIME: Duration = Duration::from_secs(300);
/// How long looking up a name may take.
const LOOKUP_TIME: Duration = Duration::from_secs(2);
/// Addresses of one name.
const MAX_ADDRESSES: usize = 8;

/// The order in which hosted caches are asked for a segment, and offered it: all clients of a branch come to the same one,
/// today and after a restart, and the segments spread evenly (rendezvous hashing). With one more hosted cache, none moves
/// but those that become its own.
#[must_use]
pub fn order(names: &[ServerName], id: &SegmentId) -> Vec<usize> {
    let weight = |name: &ServerName| {
        let name = name.as_str().to_ascii_lowercase();
        let mut text = name.strip_suffix('.').unwrap_or(&name).as_bytes().to_vec();
        // No name holds a zero, so that no two pairs make the same text.
        text.push(0);
        text.extend_from_slice(id.as_bytes());
        HashAlgorithm::Sha256.hash(&text)
    };
    let mut order: Vec<_> = names.iter().map(weight).enumerate().collect();
    order.sort_by(|(one, a), (other, b)| b.as_bytes().cmp(a.as_bytes()).then(one.cmp(other)));
    order.into_iter().map(|(index, _)| index).collect()
}

/// One hosted cache.
#[derive(Debug)]
pub struct Server {
    name: ServerName,
    port: u16,
    known: Mutex<Option<Known>>,
    /// Why the name could not be looked up the last time.
    lookup_error: Mutex<Option<String>>,
    /// One look-up of the name at once.
    looking_up: tokio::sync::Mutex<()>,
    /// Whether it answered that it speaks version 1.0 alone.
    has_no_list: AtomicBool,
    counters: Mutex<Counters>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    since: Instant,
}

/// What retrieving from a hosted cache came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    /// Questions and requests for blocks whose end is known.
    pub(super) asked: u64,
    /// Those that failed.
    pub(super) failures: u64,
    pub(super) lists: u64,
    pub(super) segments: u64,
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    /// What went wrong since it answered last, and when.
    pub(super) last_error: Option<(String, Instant)>,
    /// Whether it was logged that it is out, and not yet that it is back.
    is_out: bool,
    /// The same for offers to it.
    takes_no_offers: bool,
}

impl Counters {
    fn was_answered(&mut self) {
        self.asked += 1;
        self.last_error = None;
    }
}

impl Server {
    pub(super) fn new(name: ServerName, port: u16) -> Self {
        Self {
            name,
            port,
            known: Mutex::default(),
            lookup_error: Mutex::default(),
            looking_up: tokio::sync::Mutex::default(),
            has_no_list: AtomicBool::new(false),
            counters: Mutex::default(),
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// Where its blocks are, looked up where that is not known, or not known any more. `again`: it could not be reached
    /// where it was. Old addresses are better than none.
    ///
    /// # Errors
    /// Where the name leads nowhere, or nobody said where in time.
    pub async fn resolve(&self, again: bool) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.name.as_str().parse::<IpAddr>() {
            let addresses = vec![SocketAddr::new(ip, self.port)];
            *lock(&self.known) = Some(Known { addresses: addresses.clone(), since: Instant::now() });
            return Ok(addresses);
        }
        let asked = Instant::now();
        let fresh = |not_before: Option<Instant>| {
            let known = lock(&self.known);
            let fresh = known.as_ref().filter(|known| match not_before {
                Some(moment) => known.since >= moment,
                None => known.since.elapsed() < ADDRESS_LIFETIME,
            });
            fresh.map(|known| known.addresses.clone())
        };
        if let Some(addresses) = fresh(again.then_some(asked)) {
            return Ok(addresses);
        }
        let _turn = self.looking_up.lock().await;
        // Somebody else may have looked it up meanwhile.
        if let Some(addresses) = fresh(again.then_some(asked)) {
            return Ok(addresses);
        }
        let found = timeout(LOOKUP_TIME, lookup_host((self.name.as_str(), self.port))).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let found = found.map(|found| found.take(MAX_ADDRESSES).collect::<Vec<_>>()).and_then(|addresses| {
            if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
        });
        *lock(&self.lookup_error) = found.as_ref().err().map(io::Error::to_string);
        let mut known = lock(&self.known);
        match (found, &*known) {
            (Ok(addresses), _) => {
                *known = Some(Known { addresses: addresses.clone(), since: Instant::now() });
                Ok(addresses)
            }
            (Err(_), Some(known)) => Ok(known.addresses.clone()),
            (Err(error), None) => Err(error),
        }
    }

    /// Why its name could not be looked up, where the last attempt failed.
    #[must_use]
    pub fn lookup_error(&self) -> Option<String> {
        lock(&self.lookup_error).clone()
    }

    /// Where it was found last.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        lock(&self.known).as_ref().map(|known| known.addresses.clone()).unwrap_or_default()
    }

    /// Whether that is an address of it.
    #[must_use]
    pub fn is_at(&self, address: SocketAddr) -> bool {
        lock(&self.known).as_ref().is_some_and(|known| known.addresses.contains(&address))
    }

    /// Whether it speaks version 1.0 alone, as far as is known.
    #[must_use]
    pub fn has_no_list(&self) -> bool {
        self.has_no_list.load(Ordering::Relaxed)
    }

    /// It speaks version 1.0 alone; or it may have been replaced by one that speaks 2.0.
    pub fn set_has_no_list(&self, has_none: bool) {
        self.has_no_list.store(has_none, Ordering::Relaxed);
    }

    /// It answered, without a list or a block.
    pub fn answered(&self) {
        lock(&self.counters).was_answered();
    }

    /// It said which of a list of segments it holds.
    pub fn listed(&self, segments: usize) {
        let mut counters = lock(&self.counters);
        counters.lists += 1;
        counters.segments += segments as u64;
        counters.was_answered();
    }

    /// A verified block came from it.
    pub fn delivered(&self, bytes: usize) {
        let mut counters = lock(&self.counters);
        counters.blocks += 1;
        counters.bytes += bytes as u64;
        counters.was_answered();
    }

    /// Asking it failed.
    pub fn failed(&self, error: String) {
        let mut counters = lock(&self.counters);
        counters.asked += 1;
        counters.failures += 1;
        counters.last_error = Some((error, Instant::now()));
    }

    /// It is not asked for a while: an outage is logged once.
    pub fn is_out(&self, cause: OutCause) {
        let mut counters = lock(&self.counters);
        if std::mem::replace(&mut counters.is_out, true) {
            return;
        }
        let error = match (cause, &counters.last_error) {
            (OutCause::BadHash, _) => "it sends wrong bytes",
            (OutCause::KeptWaiting, _) => "it keeps readers waiting for what it says it has",
            (OutCause::Failures, Some((error, _))) => error,
            (OutCause::Failures, None) => "it fails",
        };
        tracing::warn!(server = %self.name, error, "a hosted cache is left alone for a while");
    }

    /// It works, and if it was out, that is logged.
    pub fn is_in_use(&self) {
        if std::mem::take(&mut lock(&self.counters).is_out) {
            tracing::info!(server = %self.name, "a hosted cache works again");
        }
    }

    /// An offer to it failed: an outage is logged once, and of one that is logged already only what somebody has to do
    /// something about.
    pub(super) fn offer_failed(&self, error: &str, is_lasting: bool) {
        let mut counters = lock(&self.counters);
        if counters.takes_no_offers || counters.is_out && !is_lasting {
            return;
        }
        counters.takes_no_offers = true;
        tracing::warn!(server = %self.name, error, "a hosted cache does not take offers");
    }

    /// It took an offer, and if that it does not was logged, this is, too.
    pub(super) fn took_offer(&self) {
        if std::mem::take(&mut lock(&self.counters).takes_no_offers) {
            tracing::info!(server = %self.name, "a hosted cache takes offers again");
        }
    }

    pub(super) fn counters(&self) -> Counters {
        lock(&self.counters).clone()
    }
}

/// Every critical section leaves its data whole, so a panic elsewhere is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<ServerName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn id(number: u32) -> SegmentId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SegmentId::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_order_is_the_same_on_every_host_and_after_every_restart() {
        // The numbers are those of SHA-256 over "name\0id", so that a change of them would part a branch in two.
        let three = names(&["cache-1.example", "cache-2.example", "192.0.2.7"]);
        let found: Vec<_> = (0..6).map(|number| order(&three, &id(number))).collect();
        assert_eq!(found, EXPECTED);
        // However the names are written, and in whatever order.
        let written = names(&["192.0.2.7", "CACHE-2.Example.", "Cache-1.EXAMPLE"]);
        let same = (0..6).map(|number| order(&written, &id(number)).into_iter().map(|index| 2 - index).collect());
        assert_eq!(same.map(|order: Vec<usize>| order).collect::<Vec<_>>(), EXPECTED);
    }

    const EXPECTED: [[usize; 3]; 6] = [[2, 0, 1], [0, 2, 1], [0, 2, 1], [2, 0, 1], [2, 0, 1], [1, 0, 2]];

    #[test]
    fn segments_are_spread_evenly_and_stay_where_they_are() {
        let two = names(&["cache-1", "cache-2"]);
        let three = names(&["cache-1", "cache-2", "cache-3"]);
        let mut firsts = [0; 3];
        for number in 0..3000 {
            let (before, after) = (order(&two, &id(number)), order(&three, &id(number)));
            firsts[after[0]] += 1;
            assert!(after[0] == 2 || after[0] == before[0], "it moved between two that were there before");
        }
        assert!(firsts.iter().all(|count| (900..1100).contains(count)), "{firsts:?}");
    }

    #[tokio::test]
    async fn an_address_needs_no_look_up_and_a_name_is_looked_up() {
        let server = Server::new("192.0.2.1".parse().unwrap(), 80);
        assert_eq!(server.resolve(false).await.unwrap(), ["192.0.2.1:80".parse().unwrap()]);
        assert!(server.is_at("192.0.2.1:80".parse().unwrap()) && !server.is_at("192.0.2.1:81".parse().unwrap()));
        let server = Server::new("2001:db8::1".parse().unwrap(), 80);
        assert_eq!(server.resolve(true).await.unwrap(), ["[2001:db8::1]:80".parse().unwrap()]);
        let local = Server::new("localhost".parse().unwrap(), 81);
        let found = local.resolve(false).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        assert_eq!(local.resolve(true).await.unwrap(), found);
    }
}
