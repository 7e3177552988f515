//! The client's side ([MS-PCCRD] 3.1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::hearing::{Bucket, Loudness, interval};
use super::random::Random;
use super::{
    Availability, DropReason, EndpointAddress, Form, MAX_PROBE_SIZE, MessageId, Moment, Probe, ProbeError,
    ProbeMatches, Segments,
};
use crate::content::SegmentId;

/// How many hosts are reported for one Probe, the list limit of MS-CCRSO 5.1.2.2.
const MAX_HOSTS_PER_PROBE: usize = 256;
/// How many addresses are reported of one host in answer to one Probe.
const MAX_PEERS_PER_HOST: usize = 8;
/// How far a loud LAN stretches the time between two discoveries.
const MAX_STRETCH: u32 = 20;

/// What a [`ProbeClient`] may do.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// How long answers are waited for; not below the 65 ms that a server may take (3.1.2). 300 ms.
    pub request_timer: Duration,
    /// The earliest moment of the second copy after the first. 50 ms.
    pub repeat_after_min: Duration,
    /// The latest moment of the second copy after the first. 100 ms.
    pub repeat_after_max: Duration,
    /// New discoveries a second on a quiet LAN (MS-CCRSO 5.1.2.2, Fmax). 100.
    pub discoveries_per_second: u32,
    /// How many discoveries may start at once after a pause. 32.
    pub burst: u32,
    /// So many Probes of others a second are quiet; at twice as many own discoveries come half as often, down to a
    /// twentieth. 500.
    pub loud_probes_per_second: u32,
    /// How many discoveries may be under way at once (MS-CCRSO 5.1.2.2, note <11>). 512.
    pub max_outstanding: usize,
    /// How many discoveries may wait for their turn. 256.
    pub max_waiting: usize,
    /// This host's own endpoint Address: its answers are dropped.
    pub own_address: Option<EndpointAddress>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            request_timer: Duration::from_millis(300),
            repeat_after_min: Duration::from_millis(50),
            repeat_after_max: Duration::from_millis(100),
            discoveries_per_second: 100,
            burst: 32,
            loud_probes_per_second: 500,
            max_outstanding: 512,
            max_waiting: 256,
            own_address: None,
        }
    }
}

/// Names one discovery of one [`ProbeClient`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeKey(u64);

/// Why a discovery cannot be started; the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FindError {
    /// The ids do not make a Probe.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The Probe would not go into one packet; ask for fewer ids.
    #[error("a Probe of {size} bytes would be fragmented, at most {MAX_PROBE_SIZE}")]
    TooLarge {
        /// The size of the datagram in bytes.
        size: usize,
    },
    /// Too many discoveries wait for their turn; try again when one has expired.
    #[error("too many discoveries are waiting")]
    Busy,
}

/// What a [`ProbeClient`] found out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum ClientEvent {
    /// A host holds something. The same host is reported again where it answers over another family or interface, or
    /// with more segments: [`Self::Match::host`] tells that it is one.
    Match {
        /// The discovery.
        probe: ProbeKey,
        /// The host.
        host: EndpointAddress,
        /// Where it serves, in its own order; on-link and never empty.
        peers: Vec<SocketAddr>,
        /// What it says it holds of the ids asked for; never empty.
        segments: Vec<(SegmentId, Availability)>,
    },
    /// The request timer ran out; no further match will come for this discovery (3.1.5).
    Expired {
        /// The discovery.
        probe: ProbeKey,
        /// The ids that nobody claimed to hold.
        unanswered: Vec<SegmentId>,
    },
}

/// A Probe to be sent to both groups on every interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ProbeTransmit {
    /// Its MessageID, for the server of the same host to know it as its own.
    pub message_id: MessageId,
    /// The datagram.
    pub payload: Bytes,
    /// Whether it was sent before.
    pub is_repeat: bool,
}

/// The client machine: paces Probes, repeats them once, relates answers to them.
#[derive(Debug)]
pub struct ProbeClient {
    config: ClientConfig,
    random: Random,
    next_key: u64,
    bucket: Bucket,
    loudness: Loudness,
    waiting: VecDeque<(ProbeKey, Probe, Bytes)>,
    outstanding: BTreeMap<ProbeKey, Outstanding>,
    by_message_id: BTreeMap<MessageId, ProbeKey>,
    /// The next moment of each outstanding discovery.
    timers: BTreeSet<(Moment, ProbeKey)>,
    transmits: VecDeque<ProbeTransmit>,
    events: VecDeque<ClientEvent>,
}

/// An entry of the Outstanding Probe List (3.1.1).
#[derive(Debug)]
struct Outstanding {
    probe: Probe,
    payload: Bytes,
    repeat_at: Option<Moment>,
    expires_at: Moment,
    answered: Vec<bool>,
    hosts: BTreeMap<EndpointAddress, Host>,
}

/// What a host has said in answer to one Probe.
#[derive(Debug, Default)]
struct Host {
    peers: Vec<SocketAddr>,
    segments: BTreeSet<usize>,
}

impl ProbeClient {
    /// A client. The same seed gives the same datagrams.
    #[must_use]
    pub fn new(config: ClientConfig, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            next_key: 0,
            bucket: Bucket::default(),
            loudness: Loudness::default(),
            waiting: VecDeque::new(),
            outstanding: BTreeMap::new(),
            by_message_id: BTreeMap::new(),
            timers: BTreeSet::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Starts a discovery for `ids` (3.1.6.1); an id that stands there twice is asked for once.
    ///
    /// The Probe leaves when the pace allows it; its request timer starts then.
    pub fn find(&mut self, now: Moment, ids: Vec<SegmentId>, form: Form) -> Result<ProbeKey, FindError> {
        if self.waiting.len() >= self.config.max_waiting {
            return Err(FindError::Busy);
        }
        let mut known = BTreeSet::new();
        let ids = ids.into_iter().filter(|id| known.insert(*id));
        let probe = Probe::new(MessageId::random(&mut self.random), form, ids)?;
        let payload = Bytes::from(probe.emit());
        if payload.len() > MAX_PROBE_SIZE {
            return Err(FindError::TooLarge { size: payload.len() });
        }
        let key = ProbeKey(self.next_key);
        self.next_key += 1;
        self.waiting.push_back((key, probe, payload));
        self.start_waiting(now);
        Ok(key)
    }

    /// A Probe of somebody else was heard: the more of them, the slower the own pace.
    pub fn handle_overheard(&mut self, now: Moment) {
        self.loudness.hear(now);
    }

    /// Takes a datagram that came to one of the sockets Probes are sent from (3.1.4.1).
    ///
    /// `on_link` says whether an address belongs to a subnet of the interface that received it.
    pub fn handle_datagram(
        &mut self,
        now: Moment,
        from: SocketAddr,
        on_link: impl Fn(IpAddr) -> bool,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        if !on_link(from.ip()) {
            return Err(DropReason::OffLink);
        }
        let matches = ProbeMatches::parse(payload)?;
        if self.config.own_address.as_ref() == Some(&matches.address) {
            return Err(DropReason::Own);
        }
        let key = *self.by_message_id.get(&matches.relates_to).ok_or(DropReason::Unsolicited)?;
        let outstanding = self.outstanding.get_mut(&key).ok_or(DropReason::Unsolicited)?;
        // The timer may be due and not yet handled.
        if outstanding.expires_at <= now {
            return Err(DropReason::Unsolicited);
        }
        if matches.form() != outstanding.probe.form() {
            return Err(DropReason::OtherForm);
        }
        let peers = peers(&matches.xaddrs, from, on_link)?;
        let segments = outstanding.claimed(&matches.segments);
        if segments.is_empty() {
            return Err(DropReason::NoSegment);
        }
        outstanding.note_host(&matches.address, &peers, &segments)?;
        let id_at = |index: usize| outstanding.probe.scopes().get(index).map(super::Scope::id);
        let segments = segments.into_iter().filter_map(|(index, available)| Some((id_at(index)?, available))).collect();
        self.events.push_back(ClientEvent::Match { probe: key, host: matches.address, peers, segments });
        Ok(())
    }

    /// Does what is due: second copies, expiry, and Probes whose turn has come.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(&(due, key)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            let Some(outstanding) = self.outstanding.get_mut(&key) else { continue };
            if outstanding.expires_at <= now {
                self.expire(key);
                continue;
            }
            outstanding.repeat_at = None;
            self.timers.insert((outstanding.expires_at, key));
            if outstanding.answered.contains(&false) {
                self.transmits.push_back(outstanding.transmit(true));
            }
        }
        self.start_waiting(now);
    }

    /// The next Probe to send, on every interface and family.
    pub fn poll_transmit(&mut self) -> Option<ProbeTransmit> {
        self.transmits.pop_front()
    }

    /// The next thing found out.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let turn =
            (!self.waiting.is_empty() && self.outstanding.len() < self.config.max_outstanding).then(|| self.turn());
        [timer, turn].into_iter().flatten().min()
    }

    fn start_waiting(&mut self, now: Moment) {
        while self.outstanding.len() < self.config.max_outstanding && self.turn() <= now {
            let Some((key, probe, payload)) = self.waiting.pop_front() else { return };
            let pace = self.pace(now);
            self.bucket.take(now, pace);
            let (low, high) = (self.config.repeat_after_min, self.config.repeat_after_max);
            let repeat_after = Duration::from_micros(self.random.between(micros(low), micros(high)));
            let expires_at = now + self.config.request_timer;
            let repeat_at = Some(now + repeat_after).filter(|repeat| *repeat < expires_at);
            self.timers.insert((repeat_at.unwrap_or(expires_at), key));
            self.by_message_id.insert(probe.message_id().clone(), key);
            let answered = vec![false; probe.ids().len()];
            let outstanding = Outstanding { probe, payload, repeat_at, expires_at, answered, hosts: BTreeMap::new() };
            self.transmits.push_back(outstanding.transmit(false));
            self.outstanding.insert(key, outstanding);
        }
    }

    /// When the next Probe may leave. What a loud LAN stretches is the time each Probe takes, not the burst.
    fn turn(&self) -> Moment {
        self.bucket.ready_at(interval(self.config.discoveries_per_second), self.config.burst)
    }

    /// The time that a Probe takes from the bucket, as loud as the LAN is now.
    fn pace(&mut self, now: Moment) -> Duration {
        let quiet = self.config.loud_probes_per_second.max(1);
        let loudness = self.loudness.per_second(now).clamp(quiet, quiet.saturating_mul(MAX_STRETCH));
        interval(self.config.discoveries_per_second).mul_f64(f64::from(loudness) / f64::from(quiet))
    }

    fn expire(&mut self, key: ProbeKey) {
        let Some(outstanding) = self.outstanding.remove(&key) else { return };
        self.by_message_id.remove(outstanding.probe.message_id());
        let unanswered = outstanding.probe.ids().zip(&outstanding.answered);
        let unanswered = unanswered.filter(|(_, answered)| !**answered).map(|(id, _)| *id).collect();
        self.events.push_back(ClientEvent::Expired { probe: key, unanswered });
    }
}

impl Outstanding {
    fn transmit(&self, is_repeat: bool) -> ProbeTransmit {
        ProbeTransmit { message_id: self.probe.message_id().clone(), payload: self.payload.clone(), is_repeat }
    }

    /// Which of the Probe's ids an answer claims to hold, by position.
    fn claimed(&self, segments: &Segments) -> Vec<(usize, Availability)> {
        let ids = self.probe.ids();
        match segments {
            Segments::V1(scopes) => {
                let count =
                    |id: &SegmentId| scopes.iter().find(|(scope, _)| scope.id() == *id).map(|(_, count)| *count);
                let held = ids.enumerate().filter_map(|(index, id)| Some((index, count(id)?)));
                held.filter(|(_, blocks)| *blocks != Some(0))
                    .map(|(index, blocks)| (index, Availability { blocks, complete: None, age: None }))
                    .collect()
            }
            Segments::V2 { bits, ages } => {
                let count = ids.len();
                let held = (0..count).filter_map(|index| Some((index, bits.get(index, count)?)));
                held.map(|(index, complete)| {
                    let age = ages.as_ref().and_then(|ages| ages.get(index));
                    (index, Availability { blocks: None, complete: Some(complete), age })
                })
                .collect()
            }
        }
    }

    /// Takes note of an answer, unless it says nothing new.
    fn note_host(
        &mut self,
        address: &EndpointAddress,
        peers: &[SocketAddr],
        segments: &[(usize, Availability)],
    ) -> Result<(), DropReason> {
        if !self.hosts.contains_key(address) && self.hosts.len() >= MAX_HOSTS_PER_PROBE {
            return Err(DropReason::TooManyHosts);
        }
        let host = self.hosts.entry(address.clone()).or_default();
        let mut new = false;
        for peer in peers {
            if !host.peers.contains(peer) && host.peers.len() < MAX_PEERS_PER_HOST {
                host.peers.push(*peer);
                new = true;
            }
        }
        for (index, _) in segments {
            new |= host.segments.insert(*index);
            if let Some(answered) = self.answered.get_mut(*index) {
                *answered = true;
            }
        }
        if new { Ok(()) } else { Err(DropReason::Repeated) }
    }
}

/// The usable addresses of an answer: on the receiving interface's subnets, or that of the datagram itself.
fn peers(
    xaddrs: &[SocketAddr],
    from: SocketAddr,
    on_link: impl Fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, DropReason> {
    if xaddrs.is_empty() {
        return Err(DropReason::NoAddress);
    }
    let mut peers = Vec::new();
    for xaddr in xaddrs {
        let Some(peer) = scoped(*xaddr, from) else { continue };
        if (peer.ip() == from.ip() || on_link(peer.ip())) && !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    if peers.is_empty() { Err(DropReason::OffLink) } else { Ok(peers) }
}

/// A link-local address is on the link that the datagram came in on; one that came over IPv4 does not name it.
fn scoped(xaddr: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
    match (xaddr, from) {
        (SocketAddr::V6(mut address), SocketAddr::V6(from)) if address.ip().is_unicast_link_local() => {
            address.set_scope_id(from.scope_id());
            Some(address.into())
        }
        (SocketAddr::V6(address), SocketAddr::V4(_)) if address.ip().is_unicast_link_local() => None,
        _ => Some(xaddr),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
